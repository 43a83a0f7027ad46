/**
 * The part of a calibration that describes a multiplier other than one exponentiator at one gate node: see product-table.ts.
 */
import { z } from 'zod';
import { residualSchema } from './residual.ts';
import { CORNERS } from './technology.ts';

const number = z.number();

const numbers = z.array(number).max(200_000);

const cornerTableSchema = z.strictObject({
  /** [supply][temp] full-scale bias that a replica finds. */
  bias: numbers,
  /** [supply][temp][tap][magnitude] ln of current over ideal product. */
  lnDeviation: numbers,
  /** [temp][off level][tap] ln of the current of a cell whose row is off, A, at the nominal supply. */
  lnOffA: numbers,
});

export type CornerTable = z.infer<typeof cornerTableSchema>;

export const productTableSchema = z.strictObject({
  driver: z.enum(['ideal', 'transistor']),
  biasQuantity: z.string(),
  biasUnit: z.string(),
  /** Current of the top tap at full input, A (all fingers). */
  fullScaleA: number,
  /** Volts per e-fold over Ut at the typical corner and reference temperature, then proportional to T. */
  dacSlopeFactor: number,
  ladderSlopeFactor: number,
  /** Nodes. */
  supplyV: numbers,
  tempK: numbers,
  lnMagnitude: numbers,
  /** Levels of an off row; empty where the driver itself sets it (a transistor driver pulls to ground). */
  offLevelV: numbers,
  /** Drain voltage over supply: the bit line follows the supply. */
  vdsOfSupply: number,
  /** Unit transistors of tap m is m: their mismatch averages. */
  fingersByTap: z.boolean(),
  tables: z.array(
    z.strictObject({
      taps: z.int().min(1).max(63),
      corners: z.partialRecord(z.enum(CORNERS), cornerTableSchema),
      /** TT, nominal supply, [temp][tap][magnitude]: -d ln I / dVt of one unit transistor's threshold. */
      thresholdSlopePerV: numbers,
      /** d ln I / dV of an offset of the whole row. */
      rowSlopePerV: numbers,
    }),
  ),
  /** Interpolated against simulated ln I where there is no node: temperatures, supplies, 63 linear codes. */
  heldOut: z.strictObject({ temp: residualSchema, supply: residualSchema, codes: residualSchema }),
  /** Supply current of one row's driver at full input, TT, A, by temperature; empty with ideal sources. */
  rowSupplyA: numbers,
  /** The same of the reference that rows share. */
  sharedSupplyA: numbers,
});

export type ProductTable = z.infer<typeof productTableSchema>;
