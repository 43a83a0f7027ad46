/**
 * The circuits of the benchmark: one text for both simulators, what must come back, and which numbers must agree.
 */
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { requireDataFile } from '../files.ts';
import { gaussian, streamKey } from '../random.ts';
import { assembleText, type Deck } from '../spice/deck.ts';
import type { ExpectedOutput } from '../spice/job.ts';
import type { RawPlot } from '../spice/raw-file.ts';

export interface BenchDefinition {
  readonly name: 'dc' | 'monte-carlo' | 'noise' | 'transient';
  readonly what: string;
  readonly deck: Deck;
  readonly outputs: readonly ExpectedOutput[];
  readonly points: (own: readonly RawPlot[]) => number;
  readonly of: string;
  readonly limit: number;
  /** Pairs of numbers to compare. */
  readonly pairs: (own: readonly RawPlot[], theirs: readonly RawPlot[]) => [number, number][];
}

const LEAST_CURRENT_A = 1e-12;

/** Currents above 1 pA, point by point. */
function currentPairs(names: readonly string[]) {
  return ([a]: readonly RawPlot[], [b]: readonly RawPlot[]): [number, number][] => {
    const pairs: [number, number][] = [];
    for (const name of names) {
      const [mine, other] = [a.real.get(name)!, b.real.get(name)];
      if (other === undefined || other.length !== mine.length) {
        throw new OnefetError(
          'simulation',
          'BENCH_NATIVE',
          `native result has ${other?.length ?? 0} points of ${name} instead of ${mine.length}`,
        );
      }
      mine.forEach((value, i) => {
        if (Math.abs(value) > LEAST_CURRENT_A) pairs.push([value, other[i]]);
      });
    }
    return pairs;
  };
}

const DEVICE = 'nch w=0.2u l=0.1u ad=16f as=16f pd=0.36u ps=0.36u';
const OPTIONS = '.options gmin=1e-18 abstol=1e-18 reltol=1e-5';
/** As in mismatch.cir: the second Newton iteration does not evaluate again what has not moved. Both simulators get it. */
const BYPASS = 'bypass=1';

export function benchCases(): BenchDefinition[] {
  const library = requireDataFile(join('spice', 'planar32lp', 'models.lib'), 'model library of planar32lp');
  const deckOf = (title: string, body: string, control: string): Deck =>
    assembleText(`${title}\n.lib models.lib TT\n${body}\n.control\n${control}\n.endc\n.end\n`, library);
  const dc: BenchDefinition = {
    name: 'dc',
    what: '241 gate x 100 drain voltages of one cell',
    deck: deckOf(
      'transfer plane',
      `${OPTIONS} vntol=1e-9\nvg g 0 0\nvd d 0 0\nm1 d g 0 0 ${DEVICE}`,
      'save i(vd)\ndc vg -0.4 0.8025 0.005 vd 0.006 0.603 0.006\nwrite dc.raw',
    ),
    outputs: [{ file: 'dc.raw', plot: 'DC transfer characteristic', variables: ['i(vd)'], points: 24_100 }],
    points: ([plot]) => plot.points,
    of: 'drain currents above 1 pA',
    limit: 1e-6,
    pairs: currentPairs(['i(vd)']),
  };
  const devices = 500;
  const gates = 120;
  const key = streamKey(1);
  const names = Array.from({ length: devices }, (_, i) => `i(vd${i})`);
  const monteCarlo: BenchDefinition = {
    name: 'monte-carlo',
    what: `${devices} devices with drawn thresholds in one netlist x ${gates} gate voltages`,
    deck: deckOf(
      'flattened Monte Carlo',
      `${OPTIONS} ${BYPASS}\nvg g 0 0\n${names
        .map(
          (_, i) =>
            `vd${i} d${i} 0 0.4\nm${i} d${i} g 0 0 ${DEVICE} delvto=${(0.0177 * gaussian(key, i)).toPrecision(9)}`,
        )
        .join('\n')}`,
      `save ${names.join(' ')}\ndc vg 0.1 0.2195 0.001\nwrite mc.raw`,
    ),
    outputs: [{ file: 'mc.raw', plot: 'DC transfer characteristic', variables: names, points: gates }],
    points: ([plot]) => plot.points * devices,
    of: 'drain currents above 1 pA',
    limit: 1e-6,
    pairs: currentPairs(names),
  };
  const biases = Array.from({ length: 40 }, (_, i) => (0.1 + 0.006 * i).toFixed(3));
  const noise: BenchDefinition = {
    name: 'noise',
    what: `${biases.length} bias points x 81 frequencies`,
    deck: deckOf(
      'noise of the drain current',
      `${OPTIONS}\nvg g 0 0 ac 1\nvd supply 0 0.4\nvsense supply d 0\nm1 d g 0 0 ${DEVICE}\nh1 out 0 vsense 1\nrout out 0 1g`,
      `foreach vgs ${biases.join(' ')}\n  alter vg = $vgs\n  noise v(out) vg dec 10 1 100meg\n  setplot noise1\n  write noise_{$vgs}.raw onoise_spectrum\n  destroy all\nend`,
    ),
    outputs: biases.map((v) => ({
      file: `noise_${v}.raw`,
      plot: 'Noise Spectral Density',
      variables: ['onoise_spectrum'],
      points: 81,
    })),
    points: (plots) => plots.reduce((sum, { points }) => sum + points, 0),
    of: 'spectral density at every frequency and bias',
    limit: 0.01,
    // The density is in V/sqrt(Hz) through 1 ohm: its square is S_I.
    pairs: (own, theirs) =>
      own.flatMap((plot, k) => {
        const [a, b] = [plot.real.get('onoise_spectrum')!, theirs[k].real.get('onoise_spectrum')!];
        return Array.from(a, (value, i): [number, number] => [value ** 2, b[i] ** 2]);
      }),
  };
  const cells = 64;
  const transient: BenchDefinition = {
    name: 'transient',
    what: `step of a 36 kohm tap with ${cells} gates, drains on one clamp of 1 kohm`,
    deck: deckOf(
      'settling of a row and a column',
      `${OPTIONS.replace('1e-18 reltol', '1e-15 reltol')}\nvin in 0 pulse(0.1 0.27 1n 0.1n 0.1n 1 2)\nrtap in g 36k\nvclamp supply 0 0.4\nrclamp supply d 1k\n${Array.from({ length: cells }, (_, i) => `m${i} d g 0 0 ${DEVICE}`).join('\n')}`,
      'save v(g) i(vclamp)\ntran 0.05n 60n\nwrite tran.raw',
    ),
    outputs: [
      {
        file: 'tran.raw',
        plot: 'Transient Analysis',
        variables: ['time', 'v(g)', 'i(vclamp)'],
        points: { min: 200, max: 1e6 },
      },
    ],
    points: ([plot]) => plot.points,
    of: 'times at which gate and current cross 50, 90 and 99 %',
    limit: 0.01,
    pairs: ([a], [b]) =>
      ['v(g)', 'i(vclamp)'].flatMap((name) =>
        [0.5, 0.9, 0.99].map((share): [number, number] => [
          crossing(a, name, share),
          crossing(b, name, share),
        ]),
      ),
  };
  return [dc, monteCarlo, noise, transient];
}

/** Time from the input step at 1 ns to a share of the swing of a signal, linear between time points. */
function crossing(plot: RawPlot, name: string, share: number): number {
  const time = plot.real.get('time')!;
  const y = plot.real.get(name)!;
  const target = y[0] + share * (y[y.length - 1] - y[0]);
  const rising = y[y.length - 1] > y[0];
  for (let i = 1; i < y.length; i++) {
    if (rising ? y[i] >= target : y[i] <= target) {
      const fraction = (target - y[i - 1]) / (y[i] - y[i - 1]);
      const at = time[i - 1] + fraction * (time[i] - time[i - 1]) - 1e-9;
      if (at > 0) return at;
    }
  }
  throw new OnefetError('simulation', 'BENCH_NATIVE', `${name} never crosses ${share} of its swing`);
}
