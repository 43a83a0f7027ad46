/**
 * The circuit at the end of a bit line: the clamp that holds the line while its current is integrated. One object for
 * what accuracy assumes and what cost pays for: droop, noise, settling, bias and devices.
 *
 *   resistance  a level behind a resistance, without noise, bias or devices: to look at one error at a time, not a circuit
 *   cascode     a transistor with a fixed gate, biased by the cells' own current: small, and slow where that is small
 *   class-a     the same with a sink that keeps it fast: the sink's noise is integrated with the signal
 *   regulated   the same with a differential pair in front of its gate: its gain divides movement, time and the cascode's noise
 *
 * With C the line's capacitance, U = m Ut its volts per e-fold of current, A the gain, N bit lines times phases of a conversion:
 *
 *   movement    U / (1 + A) per e-fold
 *   settling    C U / ((1 + A) I)
 *   cascode     its noise is integrated as the charge of the line at the ends of the window: k T C / (1 + A) per line and phase
 *               (a cascode holds its line to k T / 2C, at both ends)
 *   sink        2 q I F in white noise, F = min(1, (8/3) Ut / Vov) in strong inversion: q I T F per line and phase
 *   amplifier   8 q (n Ut)^2 (1 + load) / I_amp at its input, up to the loop's bandwidth (1 + A) I / (C U): as much as
 *               4 (n Ut)^2 (1 + load) (1 + A) C / (U T I_amp) of the cells' shot noise. An upper bound: the
 *               amplifier's own pole is taken as beyond the loop
 *
 * The two transistors' shot-noise laws: Sarpeshkar, Delbrueck, Mead, IEEE Circuits and Devices 9 (1993).
 */
import { BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C } from '../physical-constants.ts';
import type { TileDesign } from './design.ts';

export interface BitLine {
  readonly clamp: TileDesign['column']['clamp'];
  /** Of one bit line, F. */
  readonly lineF: number;
  /** Volts that the line moves per e-fold of its current; 0 behind a resistance. */
  readonly slopeV: number;
  /** Static current of the clamp of one bit line while it is powered, A. */
  readonly biasA: number;
  /** Most current that flows besides that of the cells: it speeds the line up, A. */
  readonly keepA: number;
  /** White noise beside the cells' shot noise, as a share of it at coth = 1. */
  readonly amplifierShare: number;
  /** Variance of the integrated charge of one conversion that does not depend on the signal, C^2. */
  readonly chargeVarianceC2: number;
  /** Mean square of the line's level, V^2: what its cells' output conductance makes of it. */
  readonly levelVarianceV2: number;
  /** Transistors of the clamp of one bit line. */
  readonly devices: readonly { readonly count: number; readonly widthM: number; readonly lengthM: number }[];
}

/** Noise of the amplifier's load over that of its pair. */
const LOAD_NOISE = 0.5;

export interface BitLineOperation {
  readonly lineF: number;
  /** m Ut and n Ut, V. */
  readonly sourceSlopeV: number;
  readonly gateSlopeV: number;
  readonly tempK: number;
  /** Of a cell: the cascode is made of five. */
  readonly device: { readonly widthM: number; readonly lengthM: number };
}

/** Bit lines times phases that one conversion integrates: each adds its charge. */
export function linePhases(sign: TileDesign['tile']['sign']): number {
  // Two phases of two lines in one conversion; or one phase each.
  return sign === 'integrate' ? 4 : 2;
}

export function bitLine(design: TileDesign, at: BitLineOperation): BitLine {
  const { column, timing, tile } = design;
  const { clamp } = column;
  const { lineF, sourceSlopeV, tempK } = at;
  const timeS = timing.integrationTimeS;
  const kTJ = BOLTZMANN_J_PER_K * tempK;
  const gain = clamp === 'regulated' ? column.cascodeGain : 0;
  const sinkA = clamp === 'class-a' ? column.sinkA : 0;
  if (clamp === 'resistance') {
    return {
      ...{ clamp, lineF, slopeV: 0, biasA: 0, keepA: 0 },
      ...{ amplifierShare: 0, chargeVarianceC2: 0, levelVarianceV2: 0, devices: [] },
    };
  }
  const sinkFactor = Math.min(1, ((8 / 3) * (kTJ / ELEMENTARY_CHARGE_C)) / column.sinkOverdriveV);
  const perLineC2 = (kTJ * lineF) / (1 + gain) + ELEMENTARY_CHARGE_C * sinkA * timeS * sinkFactor;
  const amplifierShare =
    clamp === 'regulated'
      ? (4 * at.gateSlopeV ** 2 * (1 + LOAD_NOISE) * (1 + gain) * lineF) /
        (sourceSlopeV * timeS * column.amplifierA)
      : 0;
  const { amplifierWidthM, amplifierLengthM } = column;
  return {
    clamp,
    lineF,
    slopeV: sourceSlopeV / (1 + gain),
    biasA: clamp === 'regulated' ? column.amplifierA : sinkA,
    keepA: sinkA,
    amplifierShare,
    chargeVarianceC2: linePhases(tile.sign) * perLineC2,
    levelVarianceV2: kTJ / (2 * lineF * (1 + gain)),
    devices: [
      { count: 1, widthM: CASCODE_WIDTHS * at.device.widthM, lengthM: at.device.lengthM },
      // A pair, its mirror and its tail.
      ...(clamp === 'regulated' ? [{ count: 5, widthM: amplifierWidthM, lengthM: amplifierLengthM }] : []),
      ...(clamp === 'class-a' ? [{ count: 1, widthM: amplifierWidthM, lengthM: amplifierLengthM }] : []),
    ],
  };
}

/** Current of a typical bit line over that of its rows at full scale. SPICE: 256 random cells at 3 nA, 14.9 nA RMS. */
const TYPICAL_SHARE = 14.9 / (256 * 3);

/** Current at which a clamp rests and settles: the design's, or that of a typical bit line, A. */
export function typicalLineA({ column, tile, fullScaleA }: TileDesign): number {
  return column.cascodeMiddleA === 'derived' ? TYPICAL_SHARE * tile.rows * fullScaleA : column.cascodeMiddleA;
}

/** Most current of both bit lines of a column: every row at full scale on the top tap, with the mean gain that mismatch gives, A. */
export const largestColumnA = ({ tile, fullScaleA }: TileDesign, meanGain: number): number =>
  meanGain * tile.rows * fullScaleA;

/** Widths of the cascode over a cell's, as in the transients (src/calibrate/studies/column/transient-study.ts). */
const CASCODE_WIDTHS = 5;

/** Time constant of the line at a current of its cells, s. */
export function lineTauS({ lineF, slopeV, keepA }: BitLine, currentA: number): number {
  return (lineF * slopeV) / (currentA + keepA);
}
