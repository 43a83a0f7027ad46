/**
 * Noise of a cell from the simulator beside the analytic law: calibration/<process>/<cell>.noise.json.
 *
 *   white    S_I = 2 q I coth(Vds / 2 Ut)          shot noise of forward and reverse current, Sarpeshkar et al. 1993
 *   flicker  S_I / I^2 = c / f^e                     taken from the simulator; c scales with 1/(W L)
 *   telegraph  one trapped charge shifts Vt by q / (Cox W L); two levels with occupancy p have variance step^2 p (1 - p)
 *
 * BSIM4's thermal options were made for strong inversion: none gives 2 q I in weak inversion. What each gives is shown.
 */
import { z } from 'zod';
import { REFERENCE_TEMP_K, thermalVoltageV } from '../../cell/ekv.ts';
import { gateVoltage, gmOverIPerV, operatingPoint } from '../../cell/operating-point.ts';
import type { CellDescription } from '../../cell/technology.ts';
import { roundDigits } from '../../numbers.ts';
import {
  BOLTZMANN_J_PER_K,
  ELEMENTARY_CHARGE_C,
  VACUUM_PERMITTIVITY_F_PER_M,
} from '../../physical-constants.ts';
import { hashSources } from '../../sources.ts';
import { spiceNumber } from '../../spice/deck.ts';
import { engineId } from '../../spice/job.ts';
import { SpiceError } from '../../spice/spice-error.ts';
import { thresholdResponse } from '../measure-law.ts';
import { type CalibratedTestbench, CODES, cellSlots, celsius, runDeck, TAPS } from '../testbench.ts';
import { calibrationFingerprint, loadStudy, type StudyOptions, withTestbench } from './study.ts';

/** Relative permittivity of SiO2 (3.9) times that of vacuum, F/m. */
const OXIDE_F_PER_M = 3.9 * VACUUM_PERMITTIVITY_F_PER_M;

const number = z.number();
const numbers = z.array(number).max(10_000);

const noiseStudySchema = z.strictObject({
  schema: z.literal('onefet.noise/1'),
  process: z.string(),
  cell: z.string(),
  engine: z.string(),
  sources: z.record(z.string(), z.string()),
  calibrationSha256: z.string(),
  /** S of a resistor over 4 k T R: the analysis itself. */
  resistorRatio: number,
  /** White S_I over 2 q I by model option; the law is coth(Vds / 2 Ut). */
  white: z.array(
    z.strictObject({
      /** 'card' is the card as it is; else BSIM4's tnoimod. */
      option: z.enum(['card', '0', '1', '2']),
      tempK: number,
      vdsV: number,
      product: numbers,
      currentA: numbers,
      ratio: numbers,
      law: number,
    }),
  ),
  /** Why BSIM4's options are not among them: what the simulator says of a card that has none, or whose model is binned. */
  optionsRefused: z.string().optional(),
  /** White of five cells on one line over the sum of their own. */
  additivity: number,
  flicker: z.strictObject({
    product: numbers,
    relativePsdAt1Hz: numbers,
    exponent: numbers,
    areaM2: numbers,
    /** S_I / I^2 at 1 Hz and full scale by area. */
    byArea: numbers,
  }),
  /** One trapped charge. */
  telegraph: z.array(
    z.strictObject({
      areaM2: number,
      stepV: number,
      /** 1 - I(with the charge) / I at full scale, and gm/I times the step. */
      spice: number,
      firstOrder: number,
      /** sigma of I / I of one trap occupied half the time. */
      sigma: number,
    }),
  ),
});

export type NoiseStudy = z.infer<typeof noiseStudySchema>;

type ThermalOption = NoiseStudy['white'][number]['option'];
const OPTIONS: readonly ThermalOption[] = ['card', '0', '1', '2'];
const PRODUCTS = [1 / (CODES * TAPS), 0.01, 0.1, 1, 7.5];
const VDS_V = [0.025, 0.05, 0.1, 0.4];
/** White is read where flicker is far below it. */
const WHITE_HZ = 1e8;
const REFERENCE_OHM = 1e6;

interface CellNoise {
  readonly currentA: number;
  readonly frequencyHz: Float64Array;
  readonly densityA2PerHz: Float64Array;
  readonly resistorRatio: number;
}

async function simulateNoise(
  testbench: CalibratedTestbench,
  at: {
    tempK: number;
    vdsV: number;
    vgsV: readonly number[];
    option: ThermalOption;
    cell?: CellDescription;
  },
): Promise<CellNoise> {
  const cell = at.cell ?? testbench.cell;
  const [bias, noise, resistor] = await runDeck(testbench, {
    folder: 'column',
    file: 'noise.cir',
    corner: 'TT',
    slots: {
      ...cellSlots(testbench.process, cell),
      temp_c: celsius(at.tempK),
      vds_v: spiceNumber(at.vdsV),
      reference_ohm: spiceNumber(REFERENCE_OHM),
      instances: at.vgsV
        .map((v, i) => `vg${i} g${i} 0 dc ${spiceNumber(v)} ac 1\nxcell${i} d g${i} s b cell`)
        .join('\n'),
      noise_option:
        at.option === 'card' ? '* the card as it is' : `altermod ${cell.model} tnoimod=${at.option}`,
      points_per_decade: 1,
      freq_start_hz: 1,
      freq_stop_hz: WHITE_HZ,
    },
    outputs: [
      { file: 'bias.raw', plot: 'Operating Point', variables: ['i(vsense)'], points: 1 },
      {
        file: 'noise.raw',
        plot: 'Noise Spectral Density',
        variables: ['onoise_spectrum', 'frequency'],
        points: 9,
      },
      { file: 'resistor.raw', plot: 'Noise Spectral Density', variables: ['onoise_spectrum'], points: 2 },
    ],
  });
  const density = resistor.real.get('onoise_spectrum')![0] ** 2;
  return {
    currentA: Math.abs(bias.real.get('i(vsense)')![0]),
    frequencyHz: noise.real.get('frequency')!,
    densityA2PerHz: noise.real.get('onoise_spectrum')!.map((x) => x * x),
    resistorRatio: density / (4 * BOLTZMANN_J_PER_K * at.tempK * REFERENCE_OHM),
  };
}

const whiteOf = ({ densityA2PerHz }: CellNoise): number => densityA2PerHz[densityA2PerHz.length - 1];

/** Errors: SPICE_*, CALIBRATION_*, OUT_OF_RANGE. A card without BSIM4's options is shown as it is. */
export function characteriseNoise(options: StudyOptions): Promise<NoiseStudy> {
  return withTestbench(options, async (testbench) => {
    const { cal } = testbench;
    const tempK = REFERENCE_TEMP_K;
    const op = operatingPoint(cal, 'TT', tempK);
    const vgsV = PRODUCTS.map(gateVoltage(cal, op));
    const nominal = { tempK, vdsV: op.vdsV, option: 'card' as const };
    const [lowK, highK] = cal.validRange.tempK;
    const { options: thermal, refused } = await thermalOptions(testbench, { ...nominal, vgsV: [vgsV[3]] });
    const conditions = [
      ...thermal.flatMap((option) => VDS_V.map((vdsV) => ({ option, tempK, vdsV }))),
      ...[lowK, highK].flatMap((t) => thermal.map((option) => ({ option, tempK: t, vdsV: op.vdsV }))),
    ];
    const white = await Promise.all(
      conditions.map(async (condition) => {
        const gates = PRODUCTS.map(gateVoltage(cal, operatingPoint(cal, 'TT', condition.tempK)));
        const cells = await Promise.all(
          gates.map((v) => simulateNoise(testbench, { ...condition, vgsV: [v] })),
        );
        return {
          ...condition,
          product: PRODUCTS,
          currentA: cells.map(({ currentA }) => currentA),
          ratio: cells.map((cell) => whiteOf(cell) / (2 * ELEMENTARY_CHARGE_C * cell.currentA)),
          law: 1 / Math.tanh(condition.vdsV / (2 * thermalVoltageV(condition.tempK))),
        };
      }),
    );
    const singles = await Promise.all(vgsV.map((v) => simulateNoise(testbench, { ...nominal, vgsV: [v] })));
    const together = await simulateNoise(testbench, { ...nominal, vgsV });
    const flicker = singles.map(fitFlicker);
    const scales = [1, 2, 3, 4, 6];
    const byArea = await Promise.all(
      scales.map(async (scale) => {
        const cell = {
          ...testbench.cell,
          widthM: testbench.cell.widthM * scale,
          lengthM: testbench.cell.lengthM * scale,
        };
        const result = await simulateNoise(testbench, { ...nominal, vgsV: [vgsV[3]], cell });
        return { areaM2: cell.widthM * cell.lengthM, psd: fitFlicker(result).relativePsdAt1Hz };
      }),
    );
    return noiseStudySchema.parse(
      roundDigits(
        {
          schema: 'onefet.noise/1',
          process: cal.process,
          cell: cal.cell,
          engine: engineId(),
          sources: hashSources(testbench.sources),
          calibrationSha256: calibrationFingerprint(cal),
          resistorRatio: together.resistorRatio,
          white,
          ...(refused === undefined ? {} : { optionsRefused: refused }),
          additivity: whiteOf(together) / singles.reduce((sum, cell) => sum + whiteOf(cell), 0),
          flicker: {
            product: PRODUCTS,
            relativePsdAt1Hz: flicker.map(({ relativePsdAt1Hz }) => relativePsdAt1Hz),
            exponent: flicker.map(({ exponent }) => exponent),
            areaM2: byArea.map(({ areaM2 }) => areaM2),
            byArea: byArea.map(({ psd }) => psd),
          },
          telegraph: await measureTelegraph(testbench, vgsV[3]),
        },
        6,
      ),
    );
  });
}

/** The options that the card's model takes: all, or 'card' alone with the simulator's reason. */
async function thermalOptions(
  testbench: CalibratedTestbench,
  at: { tempK: number; vdsV: number; vgsV: readonly number[] },
): Promise<{ options: readonly ThermalOption[]; refused?: string }> {
  try {
    await simulateNoise(testbench, { ...at, option: '0' });
    return { options: OPTIONS };
  } catch (error) {
    const reason = error instanceof SpiceError ? error.stderr : '';
    const refused = reason.match(/no such (device or model name|parameter)[^\n]*/i)?.[0];
    if (refused === undefined) throw error;
    return { options: ['card'], refused };
  }
}

/** Errors: FILE_MISSING, STUDY_INVALID, STUDY_STALE. */
export function loadNoiseStudy(process: string, cell: string): NoiseStudy {
  return loadStudy(noiseStudySchema, process, cell, 'noise');
}

function fitFlicker(cell: CellNoise): { relativePsdAt1Hz: number; exponent: number } {
  const white = whiteOf(cell);
  const [at1, at10] = [0, 1].map((i) => cell.densityA2PerHz[i] - white);
  return { relativePsdAt1Hz: at1 / cell.currentA ** 2, exponent: Math.log10(at1 / at10) };
}

/**
 * The step of one charge on the calibrated device and on devices of a fraction of its area. The smaller ones are the same
 * transistor with a larger shift: a card's short-channel behaviour is not mixed in.
 */
async function measureTelegraph(
  testbench: CalibratedTestbench,
  vgsV: number,
): Promise<NoiseStudy['telegraph']> {
  const { cal } = testbench;
  const op = operatingPoint(cal, 'TT', REFERENCE_TEMP_K);
  const capacitanceFPerM2 = OXIDE_F_PER_M / cal.device.oxideM;
  const area = cal.device.widthM * cal.device.lengthM;
  return Promise.all(
    [1, 0.5, 0.25, 0.1].map(async (share) => {
      const stepV = ELEMENTARY_CHARGE_C / (capacitanceFPerM2 * area * share);
      const { slopePerV, curvaturePerV2 } = await thresholdResponse(testbench, {
        corner: 'TT',
        tempK: op.tempK,
        vdsV: op.vdsV,
        vgsV: [vgsV],
        stepV,
      });
      // thresholdResponse differences three simulated points, so this is the simulated current at the full step.
      const spice = -Math.expm1(-slopePerV[0] * stepV - curvaturePerV2[0] * stepV * stepV);
      return {
        areaM2: area * share,
        stepV,
        spice,
        firstOrder: gmOverIPerV(cal, op, vgsV) * stepV,
        sigma: spice / 2,
      };
    }),
  );
}
