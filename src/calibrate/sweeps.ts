/**
 * The simulations behind a calibration: each function fills one netlist of the topology, runs it and returns arrays
 * in SI units. Many points share a run, since starting a run costs more than a hundred operating points.
 */
import type { CellDescription, Corner } from '../cell/technology.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';
import { spiceNumber } from '../spice/deck.ts';
import { type CellTestbench, cellSlots, celsius, runDeck } from './testbench.ts';

export interface Grid {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

export const gridValue = ({ start, step }: Grid, i: number): number => start + i * step;
export const gridValues = (grid: Grid): number[] =>
  Array.from({ length: grid.count }, (_, i) => gridValue(grid, i));
const gridStop = (grid: Grid): number => gridValue(grid, grid.count - 1);

export interface TransferSweep {
  readonly tempK: readonly number[];
  readonly vgs: Grid;
  readonly vds: Grid;
  /** [tempK][vds][vgs] drain current, A. */
  readonly drainA: readonly Float64Array[];
  /** [tempK][vds][vgs] current into the gate, A. */
  readonly gateA: readonly Float64Array[];
}

/** Drain and gate current over the whole plane at each temperature. */
export async function sweepTransfer(
  testbench: CellTestbench,
  corner: Corner,
  tempK: readonly number[],
  vgs: Grid,
  vds: Grid,
): Promise<TransferSweep> {
  const plots = await runDeck(testbench, {
    file: 'transfer.cir',
    corner,
    slots: {
      temps_c: tempK.map(celsius).join(' '),
      vgs_start_v: spiceNumber(vgs.start),
      // Half a step more: the last point must not be lost to rounding.
      vgs_stop_v: spiceNumber(gridStop(vgs) + vgs.step / 2),
      vgs_step_v: spiceNumber(vgs.step),
      vds_start_v: spiceNumber(vds.start),
      vds_stop_v: spiceNumber(gridStop(vds) + vds.step / 2),
      vds_step_v: spiceNumber(vds.step),
    },
    outputs: tempK.map((t) => ({
      file: `transfer_${celsius(t)}.raw`,
      plot: 'DC transfer characteristic',
      variables: ['i(vd)', 'i(vg)'],
      points: vgs.count * vds.count,
    })),
  });
  const column = (name: string) => plots.map((plot) => plot.real.get(name)!.map((value) => -value));
  return { tempK, vgs, vds, drainA: column('i(vd)'), gateA: column('i(vg)') };
}

export interface MultiplySweep {
  readonly tempK: number;
  readonly codes: number;
  readonly levels: number;
  readonly fullScaleVgsV: number;
  readonly ladderSlopeV: number;
  /** [levels][codes] drain current, A. */
  readonly drainA: Float64Array;
}

/** Every input code times every weight tap, through the netlist's own logarithms. */
export async function sweepMultiply(
  testbench: CellTestbench,
  corner: Corner,
  at: {
    tempK: number;
    vdsV: number;
    fullScaleVgsV: number;
    ladderSlopeV: number;
    codes: number;
    levels: number;
  },
): Promise<MultiplySweep> {
  const [plot] = await runDeck(testbench, {
    file: 'multiply.cir',
    corner,
    slots: {
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      full_scale_vgs_v: spiceNumber(at.fullScaleVgsV),
      ladder_slope_v: spiceNumber(at.ladderSlopeV),
      codes: String(at.codes),
      levels: String(at.levels),
    },
    outputs: [
      {
        file: 'multiply.raw',
        plot: 'DC transfer characteristic',
        variables: ['i(vd)'],
        points: at.codes * at.levels,
      },
    ],
  });
  const { tempK, codes, levels, fullScaleVgsV, ladderSlopeV } = at;
  return {
    tempK,
    codes,
    levels,
    fullScaleVgsV,
    ladderSlopeV,
    drainA: plot.real.get('i(vd)')!.map((x) => -x),
  };
}

/** Devices that share one netlist: 15,000 samples/s against 500 with a netlist each. */
export const DEVICES_PER_NETLIST = 250;

/** Instances of mismatch.cir: devices first .. first + count - 1, each with a drain source of its own. */
function mismatchLines(
  vdsV: number,
  thresholdShiftV: ArrayLike<number>,
  lnGain: ArrayLike<number>,
  first: number,
  count: number,
): string[] {
  return Array.from({ length: count }, (_, i) => [
    `vd${i} d${i} 0 ${spiceNumber(vdsV)}`,
    `xcell${i} d${i} g s b cell dvt=${spiceNumber(thresholdShiftV[first + i])} gain=${spiceNumber(Math.exp(lnGain[first + i]))}`,
  ]).flat();
}

export interface MismatchSample {
  readonly vgs: Grid;
  /** [devices] the draws. */
  readonly thresholdShiftV: Float64Array;
  readonly lnGain: Float64Array;
  /** [devices][vgs] drain current, A. */
  readonly drainA: readonly Float64Array[];
}

/** Drain currents [devices][vgs], A, of cells with the shifts given: many devices in one netlist. */
export async function simulateDrawn(
  testbench: CellTestbench,
  at: {
    /** Below netlists/; default: the cell's topology. */
    folder?: string;
    corner: Corner;
    tempK: number;
    vdsV: number;
    vgs: Grid;
    /** Device other than the testbench's. */
    cell?: CellDescription;
    thresholdShiftV: Float64Array;
    lnGain: Float64Array;
  },
): Promise<Float64Array[]> {
  const { thresholdShiftV, lnGain, vgs, cell, folder } = at;
  const batches: Promise<Float64Array[]>[] = [];
  for (let first = 0; first < thresholdShiftV.length; first += DEVICES_PER_NETLIST) {
    const count = Math.min(DEVICES_PER_NETLIST, thresholdShiftV.length - first);
    const currents = Array.from({ length: count }, (_, i) => `i(vd${i})`);
    batches.push(
      runDeck(testbench, {
        ...(folder === undefined ? {} : { folder }),
        file: 'mismatch.cir',
        corner: at.corner,
        slots: {
          ...(cell === undefined ? {} : cellSlots(testbench.process, cell)),
          temp_c: celsius(at.tempK),
          vgs_start_v: spiceNumber(vgs.start),
          vgs_stop_v: spiceNumber(gridStop(vgs) + vgs.step / 2),
          vgs_step_v: spiceNumber(vgs.step),
          instances: mismatchLines(at.vdsV, thresholdShiftV, lnGain, first, count).join('\n'),
          currents: currents.join(' '),
        },
        outputs: [
          {
            file: 'mismatch.raw',
            plot: 'DC transfer characteristic',
            variables: currents,
            points: vgs.count,
          },
        ],
      }).then(([plot]) => currents.map((name) => plot.real.get(name)!.map((x) => -x))),
    );
  }
  return (await Promise.all(batches)).flat();
}

/**
 * Cells with drawn threshold shifts (sigma sigmaVtV) and current factors (lognormal, sigma sigmaBeta). The draws
 * come from a counter stream of the seed: ngspice's own random functions differ between its versions.
 */
export async function sampleMismatch(
  testbench: CellTestbench,
  corner: Corner,
  at: {
    tempK: number;
    vdsV: number;
    vgs: Grid;
    devices: number;
    seed: number;
    sigmaVtV: number;
    sigmaBeta: number;
  },
): Promise<MismatchSample> {
  const key = streamKey(at.seed, nameCoordinate('mismatch'));
  const draw = (sigma: number, which: number) =>
    Float64Array.from({ length: at.devices }, (_, i) => sigma * gaussian(key, 2 * i + which));
  const thresholdShiftV = draw(at.sigmaVtV, 0);
  const lnGain = draw(at.sigmaBeta, 1);
  const drainA = await simulateDrawn(testbench, { ...at, corner, thresholdShiftV, lnGain });
  return { vgs: at.vgs, thresholdShiftV, lnGain, drainA };
}

export interface NoiseSpectrum {
  readonly vgsV: number;
  readonly currentA: number;
  readonly frequencyHz: Float64Array;
  /** Spectral density of the drain current, A^2/Hz. */
  readonly densityA2PerHz: Float64Array;
}

/** Noise of the drain current at each gate voltage, 1 Hz to 100 MHz. */
export async function sweepNoise(
  testbench: CellTestbench,
  corner: Corner,
  at: { tempK: number; vdsV: number; vgsV: readonly number[] },
): Promise<NoiseSpectrum[]> {
  const decades = 8;
  const points = 2 * decades + 1;
  const names = at.vgsV.map(spiceNumber);
  const plots = await runDeck(testbench, {
    file: 'noise.cir',
    corner,
    slots: {
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      vgs_list_v: names.join(' '),
      points_per_decade: '2',
      freq_start_hz: '1',
      freq_stop_hz: spiceNumber(10 ** decades),
    },
    outputs: names.flatMap((name) => [
      { file: `bias_${name}.raw`, plot: 'Operating Point', variables: ['i(vsense)'], points: 1 },
      {
        file: `noise_${name}.raw`,
        plot: 'Noise Spectral Density',
        variables: ['onoise_spectrum', 'frequency'],
        points,
      },
    ]),
  });
  return at.vgsV.map((vgsV, i) => ({
    vgsV,
    currentA: Math.abs(plots[2 * i].real.get('i(vsense)')![0]),
    frequencyHz: plots[2 * i + 1].real.get('frequency')!,
    densityA2PerHz: plots[2 * i + 1].real.get('onoise_spectrum')!.map((x) => x * x),
  }));
}

/** Gate and drain capacitance with the other terminals at signal ground, F. */
export async function measureCapacitance(
  testbench: CellTestbench,
  corner: Corner,
  at: { tempK: number; vdsV: number; vgsV: number },
): Promise<{ gateF: number; drainF: number }> {
  const frequencyHz = 1e6;
  const [plot] = await runDeck(testbench, {
    file: 'capacitance.cir',
    corner,
    slots: {
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      vgs_v: spiceNumber(at.vgsV),
      freq_hz: spiceNumber(frequencyHz),
    },
    outputs: [
      { file: 'capacitance.raw', plot: 'AC Analysis', variables: ['i(vgate)', 'i(vdrain)'], points: 1 },
    ],
  });
  const farad = (name: string) => Math.abs(plot.imaginary.get(name)![0]) / (2 * Math.PI * frequencyHz);
  return { gateF: farad('i(vgate)'), drainF: farad('i(vdrain)') };
}
