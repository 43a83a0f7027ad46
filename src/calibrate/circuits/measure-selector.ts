/**
 * The selector of "multiplication by routing": delay from the input edge to the accumulator's input and energy per
 * selected bit, from a transient of one product wire with all its columns.
 */
import type { SelectorCondition, SelectorResult } from '../../cell/circuits/selector.ts';
import { REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import type { Corner } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { celsius, runDeck } from '../testbench.ts';
import {
  type CircuitTestbench,
  circuitConditions,
  parameterSlots,
  requireCount,
  requireModel,
  requireParameter,
} from './circuit-testbench.ts';
import { crossing, integrate, valueAt } from './waveform.ts';

const PARAMETERS = [
  'pass_w_m',
  'pass_l_m',
  'driver_w_m',
  'receiver_w_m',
  'gate_l_m',
  'select_share',
  'columns',
  'selected_columns',
  'wire_f',
  'line_f',
] as const;

export async function measureSelector(testbench: CircuitTestbench): Promise<SelectorResult> {
  const selectedColumns = requireCount(testbench, 'selected_columns', 2, 65_536);
  const { supplyV } = testbench.process.technology;
  const conditions = await Promise.all([
    ...circuitConditions(testbench.process).map(({ corner, tempK }) =>
      select(testbench, corner, tempK, supplyV.value, selectedColumns),
    ),
    ...[0.9, 1.1].map((share) =>
      select(testbench, 'TT', REFERENCE_TEMP_K, share * supplyV.value, selectedColumns),
    ),
  ]);
  const typical = conditions.find(
    (c) => c.corner === 'TT' && c.tempK === REFERENCE_TEMP_K && c.supplyV === supplyV.value,
  )!;
  return { selectedColumns, conditions, energyPerSelectedBitJ: typical.energyPerToggleJ / 4 };
}

async function select(
  testbench: CircuitTestbench,
  corner: Corner,
  tempK: number,
  supplyV: number,
  selectedColumns: number,
): Promise<SelectorCondition> {
  const halfS = 20e-9;
  const [plot] = await runDeck(testbench, {
    file: 'select.cir',
    corner,
    slots: {
      ...parameterSlots(testbench, PARAMETERS),
      nmos: requireModel(testbench, 'nmos'),
      pmos: requireModel(testbench, 'pmos'),
      temp_c: celsius(tempK),
      supply_v: supplyV,
      half_s: halfS,
      period_s: 2 * halfS + 40e-12,
      step_s: 10e-12,
      stop_s: 1e-9 + 2 * halfS,
    },
    outputs: [
      {
        file: 'select.raw',
        plot: 'Transient Analysis',
        variables: ['time', 'v(in)', 'v(line)', 'v(xwatched.out)', 'i(vdd)', 'i(vdd2)', 'i(vdd3)'],
        points: { min: 100, max: 200_000 },
      },
    ],
  });
  const time = plot.real.get('time')!;
  const of = (name: string) => plot.real.get(name)!;
  const half = supplyV / 2;
  const start = 1e-9;
  const back = start + halfS;
  // The driver inverts: the input falls, the product bit rises, the receiver's output falls.
  const rise = delay(time, of('v(xwatched.out)'), half, start + 10e-12, 'falling');
  const fall = delay(time, of('v(xwatched.out)'), half, back + 30e-12, 'rising');
  if (rise === undefined || fall === undefined) {
    throw new OnefetError(
      'simulation',
      'SELECTOR_STUCK',
      `${testbench.process.technology.name}/${testbench.device}: the receiver does not switch at ${supplyV} V, ${corner}, ${tempK} K`,
      { hint: `raise select_share (${requireParameter(testbench, 'select_share')})` },
    );
  }
  const supplies = ['i(vdd)', 'i(vdd2)', 'i(vdd3)'];
  const drawn = (from: number, to: number) =>
    supplies.reduce((sum, name) => sum - supplyV * integrate(time, of(name), from, to), 0);
  // Standing power: the last 2 ns before each edge.
  const leakHigh = drawn(back - 2.2e-9, back - 0.2e-9) / 2e-9;
  const end = time[time.length - 1];
  const leakLow = drawn(end - 2.2e-9, end - 0.2e-9) / 2e-9;
  const total = drawn(0.5e-9, end);
  return {
    corner,
    tempK,
    supplyV,
    riseS: rise,
    fallS: fall,
    oneLevel: valueAt(time, of('v(line)'), back - 0.2e-9) / supplyV,
    energyPerToggleJ: (total - leakHigh * halfS - leakLow * halfS) / selectedColumns,
    leakageW: (leakHigh + leakLow) / 2,
  };
}

function delay(
  time: Float64Array,
  out: Float64Array,
  level: number,
  from: number,
  direction: 'rising' | 'falling',
): number | undefined {
  const at = crossing(time, out, level, from, direction);
  return at === undefined ? undefined : at - from;
}
