/**
 * The cells of a process side by side, as measured: calibration/<process>/comparison.json.
 */

import type { CircuitCalibration } from './circuits/circuit.ts';
import type { Corner } from './technology.ts';

export interface ErrorAt {
  readonly corner: Corner;
  readonly tempK: number;
  readonly supplyV: number;
  readonly rms: number;
  readonly max: number;
  /** ln of the common gain over that of TT, 27 C, nominal supply, at the bias of the mode. */
  readonly lnGain: number;
}

/** Bias found by a replica at each condition, or kept at that of TT, 27 C; converter and ladder PTAT, or kept. */
export type Mode = 'replica+ptat' | 'fixed+ptat' | 'replica+fixed' | 'fixed+fixed';

/** One corner over all temperatures and supplies, in one mode. */
export interface CornerErrors {
  readonly corner: Corner;
  /** 27 C, nominal supply. */
  readonly nominal: ErrorAt;
  readonly worstBelow85C: ErrorAt;
  readonly worst: ErrorAt;
  readonly leastLnGain: number;
  readonly mostLnGain: number;
}

export interface CellComparison {
  readonly cell: string;
  readonly topology: string;
  readonly driver: 'ideal' | 'transistor';
  readonly widthM: number;
  readonly lengthM: number;
  readonly fullScaleA: number;
  readonly dacSlopeFactor: number;
  readonly ladderSlopeFactor: number;
  /** TT, 27 C, nominal supply. */
  readonly nominal: { readonly rms: number; readonly max: number };
  /** Largest over all corners at 27 C; over all corners, temperatures and supplies, replica and PTAT. */
  readonly corners: ErrorAt;
  readonly worst: ErrorAt;
  readonly worstBelow85C: ErrorAt;
  /** TT, nominal supply, by temperature. */
  readonly modes: Readonly<Partial<Record<Mode, readonly ErrorAt[]>>>;
  /** Every corner of the process x -40, 27, 85, 125 C x 0.9, 1, 1.1 supplies. */
  readonly cornersByMode: Readonly<Partial<Record<Mode, readonly CornerErrors[]>>>;
  /** Decades within 5 % of an exponential (EKV cells: of the transistor). */
  readonly exponentialDecades: number;
  /** Per weight: device, tracks, resistors, wells; undefined without a cost.yaml of the process. */
  readonly areaM2: number | undefined;
  /** Sigma of ln I of one cell at full scale from mismatch. */
  readonly lnSigma: number;
  /** Mean static power of one weight at uniformly distributed codes, W: cell current and resistors. */
  readonly cellPowerW: number;
  /** Static power of one row's driver, and of the reference that rows share, W; undefined with ideal sources. */
  readonly rowPowerW: number | undefined;
  readonly sharedPowerW: number | undefined;
  /** Largest change of the common gain at fixed bias, TT: ln over the temperatures, and for +-10 % supply. */
  readonly gainDriftFixed: number;
  readonly gainDriftReplica: number;
  readonly supplyGain: number;
  /**
   * Sigma of one row's ln gain from the driver's offset, without auto-zero and with what the process's auto-zero
   * leaves (undefined: the process has none); undefined for ideal sources.
   */
  readonly rowOffsetLnSigma: { readonly plain: number; readonly autoZero: number | undefined } | undefined;
  /** Mean error with random ladder steps of this relative sigma; empty without a ladder of resistors or taps. */
  readonly ladderMismatch: readonly { readonly sigma: number; readonly rms: number; readonly max: number }[];
  /** Interpolation error of the table, or held-out error of the fitted equation: ln I. */
  readonly interpolation: { readonly rms: number; readonly max: number };
}

export interface Comparison {
  readonly schema: 'onefet.comparison/1';
  readonly process: string;
  readonly codes: number;
  readonly taps: number;
  readonly supplyV: number;
  readonly cells: readonly CellComparison[];
  readonly blocks: readonly CircuitCalibration[];
}
