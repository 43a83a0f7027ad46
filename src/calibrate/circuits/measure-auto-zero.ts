/**
 * Auto-zero of a row's follower: what it leaves of the drawn offsets, the charge that its switches inject, how fast the
 * stored voltage droops, and the energy of one zeroing. Rows with drawn mismatch share a transient.
 */
import type { AutoZeroResult } from '../../cell/circuits/auto-zero.ts';
import { REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import type { Corner } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { deviation, mean } from '../../numbers.ts';
import { BOLTZMANN_J_PER_K } from '../../physical-constants.ts';
import { gaussian, nameCoordinate, streamKey } from '../../random.ts';
import { spiceNumber } from '../../spice/deck.ts';
import { celsius, runDeck } from '../testbench.ts';
import {
  type CircuitTestbench,
  circuitConditions,
  parameterSlots,
  requireModel,
  requireParameter,
} from './circuit-testbench.ts';
import { integrate, valueAt } from './waveform.ts';

const ROWS_PER_NETLIST = 20;
const ROWS = 20;
const TYPICAL_ROWS = 200;
/** Length of the first zero phase, which starts settled, and of the use before the zeroing that is measured. */
const START_S = 0.2e-6;
const USE_S = 1e-6;
/** A level is read this long after its change. */
const SETTLE_S = 1e-6;

interface Reading {
  /** Row line at the end of zeroing, V. */
  readonly zeroV: number;
  /** Row line at full scale after zeroing and after the hold time, and at the low level, V. */
  readonly fullV: number;
  readonly heldV: number;
  readonly lowV: number;
}

/** Rows with drawn mismatch in the waveforms of one zeroing. */
interface ZeroingPlan {
  readonly testbench: CircuitTestbench;
  readonly supplyV: number;
  readonly wave: ReturnType<typeof waveforms>;
  /** Sigma of the threshold shift of each transistor, by the row's parameter that shifts it. */
  readonly sigmasV: readonly (readonly [parameter: string, sigmaV: number])[];
  /** Standard normal draw of a row: of the transistors in the order of sigmasV, then of its sink. */
  readonly drawn: (row: number, which: number) => number;
}

/**
 * Measures the circuit. `typicalRows`: rows at TT, 27 C, a multiple of 20; the other conditions take 20.
 * Errors: SPICE_*, TOPOLOGY_INVALID, TECHNOLOGY_INVALID, AUTO_ZERO_STUCK.
 */
export async function measureAutoZero(
  testbench: CircuitTestbench,
  typicalRows = TYPICAL_ROWS,
): Promise<AutoZeroResult> {
  const plan = planZeroing(testbench);
  const results = await Promise.all(
    circuitConditions(testbench.process).map(({ corner, tempK }) =>
      measureCondition(
        plan,
        corner,
        tempK,
        corner === 'TT' && tempK === REFERENCE_TEMP_K ? typicalRows : ROWS,
      ),
    ),
  );
  const typical = results.find(({ condition: c }) => c.corner === 'TT' && c.tempK === REFERENCE_TEMP_K)!;
  const noiseV = Math.sqrt((BOLTZMANN_J_PER_K * REFERENCE_TEMP_K) / requireParameter(testbench, 'store_f'));
  const [[, plainSigmaV]] = plan.sigmasV;
  return {
    plainSigmaV,
    drawnSigmaV: deviation(Array.from({ length: typicalRows }, (_, row) => plainSigmaV * plan.drawn(row, 0))),
    conditions: results.map(({ condition }) => condition),
    noiseV,
    rowSigmaV: Math.hypot(typical.condition.heldSigmaV, noiseV),
    energyJ: typical.energyJ,
    zeroS: requireParameter(testbench, 'zero_s'),
  };
}

function planZeroing(testbench: CircuitTestbench): ZeroingPlan {
  const { mismatch, supplyV } = testbench.process.technology;
  const value = (name: string) => requireParameter(testbench, name);
  const sigma = (widthM: number, lengthM: number) => mismatch.avtVm.value / Math.sqrt(widthM * lengthM);
  const ofSwitch = (width: string) => sigma(value(width), value('switch_l_m'));
  const sigmasV = [
    // The follower, whose offset it is, first.
    ['dvf', sigma(value('follower_w_m'), value('follower_l_m'))],
    ['dvz', ofSwitch('zero_switch_w_m')],
    ['dvd', ofSwitch('dummy_w_m')],
    ['dvsn', ofSwitch('pass_w_m')],
    ['dvsp', ofSwitch('pass_w_m')],
    ['dvun', ofSwitch('pass_w_m')],
    ['dvup', ofSwitch('pass_w_m')],
  ] as const;
  const key = streamKey(1, nameCoordinate('auto-zero'));
  return {
    testbench,
    supplyV: supplyV.value,
    wave: waveforms(testbench, supplyV.value),
    sigmasV,
    drawn: (row, which) => gaussian(key, row * (sigmasV.length + 1) + which),
  };
}

/** Lines of the rows first .. first + ROWS_PER_NETLIST - 1. */
function rowLines({ testbench, sigmasV, drawn }: ZeroingPlan, tempK: number, first: number): string[] {
  const sinkA = (requireParameter(testbench, 'sink_a') * tempK) / REFERENCE_TEMP_K;
  return Array.from({ length: ROWS_PER_NETLIST }, (_, i) => {
    const shifts = sigmasV.map(([name, sigmaV], k) => `${name}=${spiceNumber(sigmaV * drawn(first + i, k))}`);
    const sink = sinkA * (1 + requireParameter(testbench, 'sink_sigma') * drawn(first + i, sigmasV.length));
    return `xrow${i} x${i} vdd ref dac zb z s sb u ub row ${shifts.join(' ')} sink=${spiceNumber(sink)}`;
  });
}

/** Readings of ROWS_PER_NETLIST rows that share a transient, and the energy of one zeroing of one row. */
async function simulateRows(
  plan: ZeroingPlan,
  corner: Corner,
  tempK: number,
  first: number,
): Promise<{ readings: Reading[]; energyJ: number }> {
  const { testbench, supplyV, wave } = plan;
  const rows = rowLines(plan, tempK, first);
  const outputs = rows.map((_, i) => `v(x${i})`);
  const sources = ['i(vref)', 'i(vdac)', ...CLOCKS.map((clock) => `i(v${clock})`)];
  const [plot] = await runDeck(testbench, {
    file: 'zero.cir',
    corner,
    slots: {
      ...parameterSlots(testbench, DECK_PARAMETERS),
      temp_c: celsius(tempK),
      supply_v: supplyV,
      nmos: requireModel(testbench, 'nmos'),
      pmos: requireModel(testbench, 'pmos'),
      ...wave.slots,
      rows: rows.join('\n'),
      outputs: outputs.join(' '),
      step_s: wave.stepS,
      stop_s: wave.stopS,
    },
    outputs: [
      {
        file: 'zero.raw',
        plot: 'Transient Analysis',
        variables: ['time', ...outputs, ...sources],
        points: { min: 200, max: 200_000 },
      },
    ],
  });
  const time = plot.real.get('time')!;
  const readings = outputs.map((name): Reading => {
    const v = plot.real.get(name)!;
    const [zeroV, fullV, heldV, lowV] = [wave.useS, wave.fullS, wave.heldS, wave.lowS].map((t) =>
      valueAt(time, v, t),
    );
    return { zeroV, fullV, heldV, lowV };
  });
  // What the sources give from the start of the zeroing until the row is back in use.
  const levels: Record<string, number> = {
    'i(vref)': requireParameter(testbench, 'reference_v'),
    'i(vdac)': requireParameter(testbench, 'full_scale_v'),
  };
  const energyJ = sources.reduce((sum, name) => {
    const current = plot.real.get(name)!.map((i) => Math.max(0, -i));
    return sum + (levels[name] ?? supplyV) * integrate(time, current, wave.zeroS, wave.fullS);
  }, 0);
  return { readings, energyJ: energyJ / ROWS_PER_NETLIST };
}

/** One corner and temperature with `rows` rows. Error: AUTO_ZERO_STUCK. */
async function measureCondition(
  plan: ZeroingPlan,
  corner: Corner,
  tempK: number,
  rows: number,
): Promise<{ condition: AutoZeroResult['conditions'][number]; energyJ: number }> {
  const { testbench, wave } = plan;
  const value = (name: string) => requireParameter(testbench, name);
  const parts = await Promise.all(
    Array.from({ length: rows / ROWS_PER_NETLIST }, (_, b) =>
      simulateRows(plan, corner, tempK, b * ROWS_PER_NETLIST),
    ),
  );
  const readings = parts.flatMap((part) => part.readings);
  const full = readings.map(({ fullV }) => fullV);
  const step = readings.map(({ heldV, lowV }) => heldV - lowV);
  const stepV = value('full_scale_v') - value('low_v');
  const gain = mean(step) / stepV;
  const zeroV = mean(readings.map((reading) => reading.zeroV));
  const meanV = mean(full) - value('full_scale_v');
  if (!(gain > 0.3 && gain < 1.05) || Math.abs(meanV) > 0.1) {
    throw new OnefetError(
      'simulation',
      'AUTO_ZERO_STUCK',
      `${testbench.process.technology.name}/${testbench.device}: the row stands ${(1e3 * meanV).toFixed(1)} mV off full scale and follows a step by ${(100 * gain).toFixed(0)} % at ${corner}, ${celsius(tempK)} C`,
      { hint: 'a longer zero_s, wider switches or a reference_v within the supply' },
    );
  }
  return {
    condition: {
      corner,
      tempK,
      rows,
      residualSigmaV: deviation(full),
      heldSigmaV: deviation(readings.map(({ heldV }) => heldV)),
      stepSigmaV: deviation(step),
      gain,
      meanV,
      injectedC: ((mean(full) - zeroV - gain * (value('full_scale_v') - zeroV)) * value('store_f')) / gain,
      droopVPerS: mean(readings.map(({ heldV, fullV }) => heldV - fullV)) / (wave.heldS - wave.fullS),
    },
    energyJ: parts[0].energyJ,
  };
}

const DECK_PARAMETERS = [
  'reference_v',
  'follower_w_m',
  'follower_l_m',
  'row_f',
  'store_f',
  'zero_switch_w_m',
  'dummy_w_m',
  'pass_w_m',
  'switch_l_m',
] as const;

const CLOCKS = ['zb', 'z', 's', 'sb', 'u', 'ub'] as const;

/**
 * The gate switch opens first, then the plate leaves the source line, then it goes to the converter: what the gate switch
 * injects does not depend on the input. Ten edges lie between the steps.
 */
function waveforms(testbench: CircuitTestbench, supplyV: number) {
  const edge = requireParameter(testbench, 'edge_s');
  const gap = 10 * edge;
  const zeroS = START_S + USE_S;
  const useS = zeroS + requireParameter(testbench, 'zero_s');
  const fullS = useS + SETTLE_S;
  const heldS = fullS + requireParameter(testbench, 'hold_s');
  const lowS = heldS + SETTLE_S;
  const stopS = lowS + 0.1e-6;
  const steps = (start: number, changes: readonly (readonly [number, number])[]) => {
    const points: number[] = [0, start];
    let level = start;
    for (const [t, next] of changes) {
      points.push(t, level, t + edge, next);
      level = next;
    }
    return points.map(spiceNumber).join(' ');
  };
  const v = supplyV;
  // High while zeroing, for the gate switch z and the plate switch s; u is high in use.
  const during = (leave: number, join: number): [number, number][] => [
    [START_S + leave, 0],
    [zeroS + join, v],
    [useS + leave, 0],
  ];
  const inverted = (changes: readonly (readonly [number, number])[]) =>
    changes.map(([t, level]) => [t, v - level] as const);
  const z = during(0, 2 * gap);
  const s = during(gap, gap);
  const u: [number, number][] = [
    [START_S + 2 * gap, v],
    [zeroS, 0],
    [useS + 2 * gap, v],
  ];
  const [full, low] = [requireParameter(testbench, 'full_scale_v'), requireParameter(testbench, 'low_v')];
  return {
    zeroS,
    useS,
    fullS,
    heldS,
    lowS,
    stopS,
    stepS: 20e-9,
    slots: {
      clock_z: steps(v, z),
      clock_zb: steps(0, inverted(z)),
      clock_s: steps(v, s),
      clock_sb: steps(0, inverted(s)),
      clock_u: steps(0, u),
      clock_ub: steps(v, inverted(u)),
      dac: steps(low, [
        [zeroS + 2 * gap, full],
        [heldS + edge, low],
      ]),
    },
  };
}
