/**
 * Monte Carlo of cells in SPICE: many devices with drawn threshold shifts and current factors flattened into one netlist,
 * replicas, and global parameters. Draws come from counter streams: the same seed gives the same devices.
 */
import { join } from 'node:path';
import type { CellDescription, Corner } from '../../../cell/technology.ts';
import { OnefetError } from '../../../error.ts';
import { readTextFile } from '../../../files.ts';
import { gaussian, nameCoordinate, type StreamKey, streamKey } from '../../../random.ts';
import { spiceNumber } from '../../../spice/deck.ts';
import { type Grid, gridValue, simulateDrawn } from '../../sweeps.ts';
import { type CalibratedTestbench, celsius, runDeck } from '../../testbench.ts';

export interface CellDraws {
  readonly thresholdShiftV: Float64Array;
  /** ln of the relative current factor. */
  readonly lnGain: Float64Array;
}

/** Pairs with correlation rho: beta = sigmaBeta (rho z1 + sqrt(1 - rho^2) z2). */
export function drawCells(
  key: StreamKey,
  devices: number,
  sigmaVtV: number,
  sigmaBeta: number,
  rho = 0,
): CellDraws {
  const thresholdShiftV = new Float64Array(devices);
  const lnGain = new Float64Array(devices);
  for (let i = 0; i < devices; i++) {
    const z1 = gaussian(key, 2 * i);
    const z2 = gaussian(key, 2 * i + 1);
    thresholdShiftV[i] = sigmaVtV * z1;
    lnGain[i] = sigmaBeta * (rho * z1 + Math.sqrt(1 - rho * rho) * z2);
  }
  return { thresholdShiftV, lnGain };
}

export const drawKey = (seed: number, what: string, index = 0): StreamKey =>
  streamKey(seed, nameCoordinate(what), index);

/** ln of the drain currents [devices][vgs] of the drawn cells. */
export async function simulateCells(
  testbench: CalibratedTestbench,
  at: {
    corner: Corner;
    tempK: number;
    vdsV: number;
    vgs: Grid;
    draws: CellDraws;
    cell?: CellDescription;
  },
): Promise<Float64Array[]> {
  const { draws, ...where } = at;
  const currents = await simulateDrawn(testbench, { ...where, ...draws, folder: testbench.transistor });
  return currents.map((drainA) => drainA.map(Math.log));
}

/** Gate voltage [replicas] at which each drawn group of `cells` carries cells times fullScaleA. */
export async function simulateReplicas(
  testbench: CalibratedTestbench,
  at: {
    tempK: number;
    vdsV: number;
    fullScaleA: number;
    cells: number;
    replicas: number;
    draws: CellDraws;
  },
): Promise<Float64Array> {
  const lines: string[] = [];
  for (let r = 0; r < at.replicas; r++) {
    lines.push(`ifs${r} 0 d${r} ${spiceNumber(at.cells * at.fullScaleA)}`, `eamp${r} g${r} 0 d${r} ref 1e4`);
    for (let i = 0; i < at.cells; i++) {
      const k = r * at.cells + i;
      lines.push(
        `xcell${r}_${i} d${r} g${r} s b cell dvt=${spiceNumber(at.draws.thresholdShiftV[k])} gain=${spiceNumber(Math.exp(at.draws.lnGain[k]))}`,
      );
    }
  }
  const gates = Array.from({ length: at.replicas }, (_, r) => `v(g${r})`);
  const [plot] = await runDeck(testbench, {
    folder: 'column',
    file: 'replica.cir',
    corner: 'TT',
    slots: {
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      instances: lines.join('\n'),
      saved: gates.join(' '),
    },
    outputs: [{ file: 'replica.raw', plot: 'Operating Point', variables: gates, points: 1 }],
    timeoutS: 120,
  });
  return Float64Array.from(gates, (name) => plot.real.get(name)![0]);
}

/** ln of the cell currents [ladders][taps] on ladders with drawn segments (relative) and top offsets (V). */
export async function simulateLadders(
  testbench: CalibratedTestbench,
  at: {
    tempK: number;
    vdsV: number;
    topVgsV: number;
    ladderSlopeV: number;
    taps: number;
    currentA: number;
    /** [ladders] */
    topOffsetV: Float64Array;
    /** [ladders][taps - 1] from tap 1 up. */
    segmentErrors: readonly Float64Array[];
  },
): Promise<Float64Array[]> {
  const lines: string[] = [];
  const { taps } = at;
  at.segmentErrors.forEach((errors, r) => {
    lines.push(
      `vtop${r} t${r}_${taps} 0 ${spiceNumber(at.topVgsV + at.topOffsetV[r])}`,
      `isink${r} t${r}_1 0 ${spiceNumber(at.currentA)}`,
    );
    for (let m = 1; m < taps; m++) {
      const ohm = (at.ladderSlopeV * Math.log((m + 1) / m) * (1 + errors[m - 1])) / at.currentA;
      lines.push(`rl${r}_${m} t${r}_${m + 1} t${r}_${m} ${spiceNumber(ohm)}`);
    }
    for (let m = 1; m <= taps; m++) {
      lines.push(`vd${r}_${m} d d${r}_${m} 0`, `xcell${r}_${m} d${r}_${m} t${r}_${m} s b cell`);
    }
  });
  const names = at.segmentErrors.map((_, r) => Array.from({ length: taps }, (_v, m) => `i(vd${r}_${m + 1})`));
  const [plot] = await runDeck(testbench, {
    folder: 'column',
    file: 'ladder.cir',
    corner: 'TT',
    slots: {
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      instances: lines.join('\n'),
      currents: names.flat().join(' '),
    },
    outputs: [{ file: 'ladder.raw', plot: 'Operating Point', variables: names.flat(), points: 1 }],
  });
  return names.map((row) => Float64Array.from(row, (name) => Math.log(plot.real.get(name)![0])));
}

export interface GlobalParameters {
  /** Values in the TT section and a third of the larger step from it to FF or SS. */
  readonly parameters: Readonly<Record<string, { nominal: number; sigma: number }>>;
  /** The section's other lines, e.g. `.include mos.inc`. */
  readonly rest: string;
}

/**
 * Global parameters of a corner library: every `.param name=value` of its TT section that FF or SS change. The corners are
 * taken as three sigma of independent normal distributions (stated in the library). Error: GLOBAL_PARAMETERS.
 */
export function globalParameters(testbench: CalibratedTestbench): GlobalParameters {
  const { models } = testbench.process.technology;
  const path = join(testbench.process.folder, models.file);
  const library = readTextFile(path, 'model library', { orLatin1: true });
  testbench.sources.add(path);
  const section = (corner: Corner) => {
    const name = models.corners[corner];
    if (name === undefined) return undefined;
    const found = library.match(
      new RegExp(`^\\.lib[ \\t]+${escaped(name)}[ \\t]*$([\\s\\S]*?)^\\.endl`, 'im'),
    );
    return found?.[1];
  };
  const [tt, ff, ss] = (['TT', 'FF', 'SS'] as const).map(section);
  const refuse = (what: string) =>
    new OnefetError('input', 'GLOBAL_PARAMETERS', `${path}: ${what}`, {
      hint: 'global statistics need corners that differ in .param name=number lines only',
    });
  if (tt === undefined || ff === undefined || ss === undefined) throw refuse('no TT, FF and SS sections');
  const values = (text: string) =>
    new Map(
      [...text.matchAll(/^\.param[ \t]+(.*)$/gim)].flatMap((line) =>
        [...line[1].matchAll(/(\w+)\s*=\s*([-+\d.eE]+)/g)].map(
          ([, name, value]) => [name, Number(value)] as const,
        ),
      ),
    );
  const [nominal, fast, slow] = [tt, ff, ss].map(values);
  const parameters: Record<string, { nominal: number; sigma: number }> = {};
  for (const [name, value] of nominal) {
    const step = Math.max(
      Math.abs((fast.get(name) ?? value) - value),
      Math.abs((slow.get(name) ?? value) - value),
    );
    parameters[name] = { nominal: value, sigma: step / 3 };
  }
  if (Object.values(parameters).every(({ sigma }) => sigma === 0)) throw refuse('FF and SS change no .param');
  return { parameters, rest: tt.replace(/^\.param.*$/gim, '').trim() };
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** ln of the cell's current [samples][vgs] under drawn global parameters; sample -1 is nominal. */
export async function simulateGlobal(
  testbench: CalibratedTestbench,
  at: { tempK: number; vdsV: number; vgs: Grid; samples: number; seed: number },
): Promise<{ nominal: Float64Array; samples: Float64Array[] }> {
  const { parameters, rest } = globalParameters(testbench);
  const names = Object.keys(parameters);
  const run = async (sample: number) => {
    const key = drawKey(at.seed, 'global', sample + 1);
    const line = names.map((name, i) => {
      const { nominal, sigma } = parameters[name];
      return `${name}=${spiceNumber(nominal + (sample < 0 ? 0 : sigma * gaussian(key, i)))}`;
    });
    const [plot] = await runDeck(testbench, {
      folder: 'column',
      file: 'global.cir',
      corner: 'TT',
      withoutLibrary: true,
      slots: {
        globals: `.param ${line.join(' ')}\n${rest}`,
        temp_c: celsius(at.tempK),
        vds_v: spiceNumber(at.vdsV),
        vgs_start_v: spiceNumber(at.vgs.start),
        vgs_stop_v: spiceNumber(gridValue(at.vgs, at.vgs.count - 0.5)),
        vgs_step_v: spiceNumber(at.vgs.step),
      },
      outputs: [
        {
          file: 'global.raw',
          plot: 'DC transfer characteristic',
          variables: ['i(vd)'],
          points: at.vgs.count,
        },
      ],
    });
    return plot.real.get('i(vd)')!.map((x) => Math.log(-x));
  };
  const all = await Promise.all(Array.from({ length: at.samples + 1 }, (_, i) => run(i - 1)));
  return { nominal: all[0], samples: all.slice(1) };
}

export interface Extraction {
  readonly thresholdShiftV: Float64Array;
  readonly lnGain: Float64Array;
}

/**
 * Extracts mismatch from transfer curves as a laboratory does: least squares of ln I - ln I_nominal over the gate voltages on
 * -gm/I(Vgs) and 1, gm/I from the nominal curve's central differences. Curves are [devices][vgs].
 */
export function extractMismatch(
  curves: readonly Float64Array[],
  nominal: Float64Array,
  vgs: Grid,
): Extraction {
  const inner = Array.from({ length: vgs.count - 2 }, (_, k) => k + 1);
  const a = inner.map((k) => (nominal[k + 1] - nominal[k - 1]) / (2 * vgs.step));
  const n = a.length;
  const sa = a.reduce((sum, x) => sum + x, 0);
  const saa = a.reduce((sum, x) => sum + x * x, 0);
  const determinant = n * saa - sa * sa;
  const thresholdShiftV = new Float64Array(curves.length);
  const lnGain = new Float64Array(curves.length);
  curves.forEach((curve, d) => {
    let sy = 0;
    let say = 0;
    inner.forEach((k, i) => {
      const y = curve[k] - nominal[k];
      sy += y;
      say += a[i] * y;
    });
    thresholdShiftV[d] = -(n * say - sa * sy) / determinant;
    lnGain[d] = (saa * sy - sa * say) / determinant;
  });
  return { thresholdShiftV, lnGain };
}
