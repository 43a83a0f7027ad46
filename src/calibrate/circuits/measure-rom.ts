/**
 * A multibit mask-ROM cell read by current levels: the currents of a word on each source rail, the threshold shift that
 * moves each across the next sense level, the probability of a misread that follows, read time and energy.
 */
import { misreadProbability, type RomCondition, type RomResult } from '../../cell/circuits/rom.ts';
import { REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import type { Corner } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
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
import { crossing, integrate } from './waveform.ts';

const SHIFT_STEP_V = 2e-3;
const SIGMAS_V = [0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06];
const MONTE_CARLO_CELLS = 500;

export async function measureRom(testbench: CircuitTestbench): Promise<RomResult> {
  const levels = requireCount(testbench, 'levels', 2, 16);
  const { mismatch } = testbench.process.technology;
  const sites = circuitConditions(testbench.process);
  const conditions = await Promise.all(sites.map((c) => margins(testbench, levels, c.corner, c.tempK)));
  const typical = conditions.find((c) => c.corner === 'TT' && c.tempK === REFERENCE_TEMP_K)!;
  const area = requireParameter(testbench, 'cell_w_m') * requireParameter(testbench, 'cell_l_m');
  const cellSigmaVtV = mismatch.avtVm.value / Math.sqrt(area);
  const read = await Promise.all(sites.map((c) => readCycle(testbench, levels, c.corner, c.tempK)));
  return {
    levels,
    bitsPerCell: Math.log2(levels),
    conditions,
    misread: SIGMAS_V.map((sigmaVtV) => ({ sigmaVtV, probability: misreadProbability(typical, sigmaVtV) })),
    cellSigmaVtV,
    cellProbability: misreadProbability(typical, cellSigmaVtV),
    monteCarlo: await monteCarlo(testbench, levels, typical, cellSigmaVtV),
    read,
  };
}

/** Currents of cells (rail, shift) in one operating point. */
async function currents(
  testbench: CircuitTestbench,
  levels: number,
  corner: Corner,
  tempK: number,
  cells: readonly { level: number; shiftV: number }[],
): Promise<number[]> {
  const { supplyV, junctionLengthM } = testbench.process.technology;
  const w = requireParameter(testbench, 'cell_w_m');
  const l = requireParameter(testbench, 'cell_l_m');
  const step = requireParameter(testbench, 'rail_step_v');
  const bit = requireParameter(testbench, 'bit_v');
  const ad = spiceNumber(w * junctionLengthM.value);
  const pd = spiceNumber(w + 2 * junctionLengthM.value);
  const lines = [
    ...Array.from({ length: levels }, (_, k) => `vrail${k} rail${k} 0 ${spiceNumber(k * step)}`),
    ...cells.flatMap(({ level, shiftV }, i) => [
      `vd${i} d${i} 0 ${spiceNumber(bit)}`,
      `m${i} d${i} word rail${level} 0 ${requireModel(testbench, 'nmos')} w=${spiceNumber(w)} l=${spiceNumber(l)} ad=${ad} as=${ad} pd=${pd} ps=${pd} delvto=${spiceNumber(shiftV)}`,
    ]),
  ];
  const names = cells.map((_, i) => `i(vd${i})`);
  const [plot] = await runDeck(testbench, {
    file: 'levels.cir',
    corner,
    slots: {
      ...parameterSlots(testbench, ['word_share']),
      temp_c: celsius(tempK),
      supply_v: supplyV.value,
      instances: lines.join('\n'),
      currents: names.join(' '),
    },
    outputs: [{ file: 'levels.raw', plot: 'Operating Point', variables: names, points: 1 }],
  });
  return names.map((name) => -plot.real.get(name)![0]);
}

async function margins(
  testbench: CircuitTestbench,
  levels: number,
  corner: Corner,
  tempK: number,
): Promise<RomCondition> {
  const step = requireParameter(testbench, 'rail_step_v');
  const reach = Math.ceil((1.5 * step) / SHIFT_STEP_V);
  const shifts = Array.from({ length: 2 * reach + 1 }, (_, i) => (i - reach) * SHIFT_STEP_V);
  const cells = Array.from({ length: levels }, (_, level) => shifts.map((shiftV) => ({ level, shiftV })));
  const flat = await currents(testbench, levels, corner, tempK, cells.flat());
  const rows = cells.map((_, level) => flat.slice(level * shifts.length, (level + 1) * shifts.length));
  const currentA = rows.map((row) => row[reach]);
  const senseA = currentA.slice(1).map((low, k) => Math.sqrt(low * currentA[k]));
  // Interpolated shift at which ln I of the row passes a sense level.
  const shiftAt = (row: readonly number[], target: number): number => {
    for (let i = 1; i < row.length; i++) {
      if (row[i - 1] >= target && row[i] <= target) {
        const fraction = Math.log(row[i - 1] / target) / Math.log(row[i - 1] / row[i]);
        return shifts[i - 1] + fraction * SHIFT_STEP_V;
      }
    }
    throw new OnefetError(
      'simulation',
      'ROM_LEVELS',
      `${testbench.process.technology.name}/${testbench.device}: the levels do not separate at ${corner}, ${tempK} K`,
      { hint: 'raise rail_step_v, or bit_v above the highest rail' },
    );
  };
  return {
    corner,
    tempK,
    currentA,
    senseA,
    marginDownV: rows.map((row, k) => (k === 0 ? null : -shiftAt(row, senseA[k - 1]))),
    marginUpV: rows.map((row, k) => (k === levels - 1 ? null : shiftAt(row, senseA[k]))),
  };
}

/** Cells with drawn thresholds in SPICE, read against the nominal sense levels. */
async function monteCarlo(
  testbench: CircuitTestbench,
  levels: number,
  typical: RomCondition,
  sigmaVtV: number,
): Promise<RomResult['monteCarlo']> {
  const key = streamKey(1, nameCoordinate('mask-rom'));
  const cells = Array.from({ length: MONTE_CARLO_CELLS }, (_, i) => ({
    level: i % levels,
    shiftV: sigmaVtV * gaussian(key, i),
  }));
  const simulated = await currents(testbench, levels, typical.corner, typical.tempK, cells);
  const misreads = cells.filter(
    ({ level }, i) => typical.senseA.filter((sense) => simulated[i] < sense).length !== level,
  ).length;
  return {
    sigmaVtV,
    cells: MONTE_CARLO_CELLS,
    misreads,
    expected: MONTE_CARLO_CELLS * misreadProbability(typical, sigmaVtV),
  };
}

/** One read and the precharge after it, a bit line per level. */
async function readCycle(
  testbench: CircuitTestbench,
  levels: number,
  corner: Corner,
  tempK: number,
): Promise<RomResult['read'][number]> {
  const { supplyV } = testbench.process.technology;
  const bit = requireParameter(testbench, 'bit_v');
  const step = requireParameter(testbench, 'rail_step_v');
  const readS = 5e-9;
  const lines = Array.from({ length: levels }, (_, k) => [
    `vrail${k} rail${k} 0 ${spiceNumber(k * step)}`,
    `vdd${k} vdd${k} 0 ${spiceNumber(bit)}`,
    `xline${k} bit${k} vdd${k} word rail${k} pre line`,
    `.ic v(bit${k})=${spiceNumber(bit)}`,
  ]).flat();
  const bits = Array.from({ length: levels }, (_, k) => `v(bit${k})`);
  const supplies = Array.from({ length: levels }, (_, k) => `i(vdd${k})`);
  const stopS = 1e-9 + 2 * readS + 2e-9;
  const [plot] = await runDeck(testbench, {
    file: 'read.cir',
    corner,
    slots: {
      ...parameterSlots(testbench, ['word_share', 'cell_w_m', 'cell_l_m', 'rows', 'wire_f', 'word_wire_f']),
      nmos: requireModel(testbench, 'nmos'),
      temp_c: celsius(tempK),
      supply_v: supplyV.value,
      read_s: readS,
      step_s: 5e-12,
      stop_s: stopS,
      instances: lines.join('\n'),
      vectors: [...bits, ...supplies].join(' '),
    },
    outputs: [
      {
        file: 'read.raw',
        plot: 'Transient Analysis',
        variables: ['time', ...bits, ...supplies, 'i(vword)'],
        points: { min: 100, max: 200_000 },
      },
    ],
  });
  const time = plot.real.get('time')!;
  const of = (name: string) => plot.real.get(name)!;
  const sense = requireParameter(testbench, 'sense_v');
  const fallS = bits.map((name) => {
    const at = crossing(time, of(name), bit - sense, 1e-9, 'falling');
    return at === undefined || at > 1e-9 + readS ? null : at - 1e-9;
  });
  const restored = supplies.reduce(
    (sum, name) => sum - bit * integrate(time, of(name), 1e-9 + readS + 0.9e-9, stopS),
    0,
  );
  // The word line's driver draws its charge from the supply on the rising edge.
  const word = -integrate(time, of('i(vword)'), 0.9e-9, 1.5e-9);
  return {
    corner,
    tempK,
    fallS,
    bitEnergyJ: restored / levels,
    wordEnergyJ: (word * supplyV.value * requireParameter(testbench, 'word_share')) / levels,
  };
}
