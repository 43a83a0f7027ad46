/**
 * A string converter: levels against the law they should follow, as magnitudes exp((V - V_fs) / n Ut); what resistor
 * mismatch adds; settling of the loaded row and the energy of a step.
 */
import type { ConverterResult } from '../../cell/circuits/converter.ts';
import { BOLTZMANN_OVER_CHARGE, REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import type { Corner } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { largest, mean, rms } from '../../numbers.ts';
import { gaussian, nameCoordinate, streamKey } from '../../random.ts';
import { spiceNumber } from '../../spice/deck.ts';
import { celsius, runDeck } from '../testbench.ts';
import {
  type CircuitTestbench,
  circuitConditions,
  parameterSlots,
  requireCount,
  requireModel,
  requireParameter,
} from './circuit-testbench.ts';
import { integrate } from './waveform.ts';

const DRAWS = 12;

/** The converter's string: what its levels should be and how its lines in the netlist are written. */
interface StringPlan {
  readonly testbench: CircuitTestbench;
  readonly codes: number;
  readonly supplyV: number;
  /** [codes] magnitudes that the levels stand for, lowest code first. */
  readonly magnitude: readonly number[];
  /** n Ut: volts per e-fold of the magnitude. */
  readonly slopeV: (tempK: number) => number;
  /** Of the string at 27 C, and at a temperature (PTAT). */
  readonly stringA: number;
  readonly stringNowA: (tempK: number) => number;
  /** Model and size of a switch. */
  readonly device: string;
}

/** Measures the converter. Errors: SPICE_*, TOPOLOGY_INVALID, TECHNOLOGY_INVALID. */
export async function measureConverter(
  testbench: CircuitTestbench,
  law: 'uniform' | 'logarithmic',
): Promise<ConverterResult> {
  const plan = planString(testbench, law);
  const { codes, magnitude, stringA, supplyV } = plan;
  const conditions = circuitConditions(testbench.process);
  const sigma = requireParameter(testbench, 'resistor_sigma');
  const key = streamKey(1, nameCoordinate('string-resistor'));
  const [nominal, drawn, settled] = await Promise.all([
    Promise.all(conditions.map(async (c) => ({ ...c, ...(await levelErrors(plan, c.corner, c.tempK)) }))),
    Promise.all(
      Array.from({ length: DRAWS }, (_, d) =>
        levelErrors(
          plan,
          'TT',
          REFERENCE_TEMP_K,
          Array.from({ length: codes - 1 }, (_v, i) => sigma * gaussian(key, d * codes + i)),
        ),
      ),
    ),
    Promise.all(conditions.map(async (c) => ({ ...c, ...(await settle(plan, c.corner, c.tempK)) }))),
  ]);
  const typical = settled.find((s) => s.corner === 'TT' && s.tempK === REFERENCE_TEMP_K)!;
  return {
    law,
    codes,
    magnitude: [...magnitude],
    levels: nominal,
    mismatch: {
      sigma,
      draws: DRAWS,
      rms: mean(drawn.map((draw) => draw.rms)),
      max: mean(drawn.map((draw) => draw.max)),
    },
    settling: settled.map(({ corner, tempK, riseS, fallS }) => ({ corner, tempK, riseS, fallS })),
    switchEnergyJ: typical.energyJ,
    stringPowerW: stringA * supplyV,
  };
}

function planString(testbench: CircuitTestbench, law: 'uniform' | 'logarithmic'): StringPlan {
  const value = (name: string) => requireParameter(testbench, name);
  const codes = requireCount(testbench, 'codes', 2, 1023);
  const range = value('dynamic_range');
  const slopeV = (tempK: number) => value('slope_factor') * BOLTZMANN_OVER_CHARGE * tempK;
  const stringA = value('string_a');
  const magnitude = Array.from({ length: codes }, (_, i) =>
    law === 'uniform' ? range ** (-(codes - 1 - i) / (codes - 1)) : (i + 1) / codes,
  );
  const spanV = -slopeV(REFERENCE_TEMP_K) * Math.log(magnitude[0]);
  const fullScaleV = value('full_scale_v');
  if (spanV >= fullScaleV) {
    throw new OnefetError(
      'input',
      'TOPOLOGY_INVALID',
      `netlists/${testbench.folder}/topology.yaml: the string spans ${spanV.toFixed(3)} V of a full scale of ${fullScaleV} V`,
      { hint: 'raise full_scale_v or lower dynamic_range' },
    );
  }
  return {
    testbench,
    codes,
    supplyV: testbench.process.technology.supplyV.value,
    magnitude,
    slopeV,
    stringA,
    stringNowA: (tempK) => (stringA * tempK) / REFERENCE_TEMP_K,
    device: `${requireModel(testbench, 'nmos')} w=${spiceNumber(value('switch_w_m'))} l=${spiceNumber(value('switch_l_m'))}`,
  };
}

/** Resistor between taps k and k + 1. */
function resistorLine({ slopeV, magnitude, stringA }: StringPlan, k: number, relative: number): string {
  const stepV = slopeV(REFERENCE_TEMP_K) * Math.log(magnitude[k] / magnitude[k - 1]);
  return `r${k} t${k + 1} t${k} ${spiceNumber((stepV / stringA) * (1 + relative))}`;
}

/** Relative error of the levels as magnitudes; `deviations` [codes - 1] of the resistors. */
async function levelErrors(
  plan: StringPlan,
  corner: Corner,
  tempK: number,
  deviations?: readonly number[],
): Promise<{ rms: number; max: number }> {
  const { testbench, codes, supplyV, magnitude, slopeV, device } = plan;
  const lines: string[] = [];
  for (let k = 1; k <= codes; k++) {
    if (k < codes) lines.push(resistorLine(plan, k, deviations?.[k - 1] ?? 0));
    lines.push(
      `m${k} t${k} g${k} out 0 ${device}`,
      `b${k} g${k} 0 v=${spiceNumber(supplyV)}*(abs(v(code)-${k})<0.5)`,
    );
  }
  const [plot] = await runDeck(testbench, {
    file: 'levels.cir',
    corner,
    slots: {
      ...parameterSlots(testbench, ['codes', 'full_scale_v']),
      temp_c: celsius(tempK),
      string_now_a: plan.stringNowA(tempK),
      taps: lines.join('\n'),
    },
    outputs: [
      { file: 'levels.raw', plot: 'DC transfer characteristic', variables: ['v(out)'], points: codes },
    ],
  });
  const out = plot.real.get('v(out)')!;
  const errors = Array.from(out, (v, i) => Math.exp((v - out[codes - 1]) / slopeV(tempK)) / magnitude[i] - 1);
  return {
    rms: rms(errors),
    max: largest(errors),
  };
}

/** Settling of the row between the lowest and the highest code, and the energy of the change. */
async function settle(
  plan: StringPlan,
  corner: Corner,
  tempK: number,
): Promise<{ riseS: number; fallS: number; energyJ: number }> {
  const { testbench, codes, supplyV, slopeV, device } = plan;
  const halfS = 200e-9;
  const stopS = 10e-9 + 2 * halfS;
  const lines: string[] = [];
  for (let k = 1; k <= codes; k++) {
    if (k < codes) lines.push(resistorLine(plan, k, 0));
    lines.push(`m${k} t${k} ${k === 1 ? 'glow' : k === codes ? 'ghigh' : '0'} out 0 ${device}`);
  }
  const [plot] = await runDeck(testbench, {
    file: 'settle.cir',
    corner,
    slots: {
      ...parameterSlots(testbench, ['codes', 'full_scale_v', 'load_f']),
      temp_c: celsius(tempK),
      supply_v: supplyV,
      string_now_a: plan.stringNowA(tempK),
      taps: lines.join('\n'),
      half_s: halfS,
      step_s: 0.1e-9,
      stop_s: stopS,
    },
    outputs: [
      {
        file: 'settle.raw',
        plot: 'Transient Analysis',
        variables: ['time', 'v(out)', 'i(vlow)', 'i(vhigh)'],
        points: { min: 100, max: 100_000 },
      },
    ],
  });
  const time = plot.real.get('time')!;
  const out = plot.real.get('v(out)')!;
  const within = slopeV(tempK) / 100;
  const lastOutside = (from: number, to: number) => {
    let final = 0;
    for (let i = 0; i < time.length; i++) if (time[i] <= to) final = out[i];
    let last = from;
    for (let i = 0; i < time.length; i++) {
      if (time[i] > from && time[i] <= to && Math.abs(out[i] - final) > within) last = time[i];
    }
    return last - from;
  };
  const half = 10e-9 + halfS;
  // The charge that the supply gives to the gate that rises.
  const charge = -integrate(time, plot.real.get('i(vhigh)')!, 9e-9, half - 1e-9);
  return {
    riseS: lastOutside(10e-9, half - 1e-9),
    fallS: lastOutside(half, stopS - 1e-9),
    energyJ: charge * supplyV,
  };
}
