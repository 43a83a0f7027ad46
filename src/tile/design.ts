/**
 * The tiles of a log-domain chip in its design: the cell and where it is operated, and the circuits around it.
 * The rest of a design (its weights, its head, ...) is that of every fabric: src/fabric/common-design.ts.
 */
import { z } from 'zod';

const positive = z.number().positive();
const nonNegative = z.number().nonnegative();
const share = z.number().min(0).max(1);

/** Keys of the cell and its operating point, and the tile's extent. */
export const cellShape = {
  /** File below calibration/<process>/. */
  cell: z.string(),
  /** Operating point at which the calibration is evaluated. */
  corner: z.enum(['TT', 'FF', 'SS', 'FS', 'SF']).default('TT'),
  tempK: positive.default(300.15),
  /** Drain-source voltage of a cell: the clamp's level above the source line. */
  vdsV: positive.default(0.4),
  supplyV: positive.default(0.8),
  /** Current of a cell at the largest input level and the top tap. */
  fullScaleA: positive.default(3e-9),
  tile: z
    .strictObject({
      rows: z.int().min(4).max(4096).default(256),
      sign: z.enum(['integrate', 'two-conversion', 'paired-rows']).default('integrate'),
    })
    .prefault({}),
};

/** Keys of everything around the cells. */
export const circuitShape = {
  input: z
    .strictObject({
      bits: z.union([z.int().min(2).max(10), z.literal('float')]).default(6),
      codes: z.enum(['linear', 'log']).default('linear'),
      /** Largest over smallest level of the log codes. */
      dynamicRange: z.number().gt(1).default(63),
      /** Scaling group: the rows of one tile and token, or the whole token. */
      scale: z.enum(['tile', 'token']).default('tile'),
    })
    .prefault({}),
  driver: z
    .strictObject({
      /** Gate level of an off row, relative to the source line. */
      offVgsV: z.number().default(-0.1),
      /** Static offset of a row's buffer; there is one per row and `ladder.columns` columns. */
      offsetSigmaV: nonNegative.default(0.5e-3),
      /** Relative mismatch of a ladder segment. */
      resistorSigma: nonNegative.default(0.005),
      /** Noise of a row's level, drawn per row and token: of the level that all its buffers get. */
      noiseV: nonNegative.default(20e-6),
      /** Ladder drop n Ut ln(m): follows temperature (PTAT) or stays at its 27 C value. */
      ladder: z.enum(['ptat', 'fixed']).default('ptat'),
    })
    .prefault({}),
  response: z
    .strictObject({
      model: z.enum(['calibrated', 'ideal']).default('calibrated'),
      /** Largest residual of the separable response, share of full scale; sets the rank. */
      residualBound: positive.default(0.002),
    })
    .prefault({}),
  mismatch: z
    .strictObject({
      /** Multiplies sigma(Vt) and sigma(beta) of the calibration; 0 is a chip of nominal cells. */
      scale: nonNegative.default(1),
      /** Divide the design-known mean gain exp(sigma^2 / 2) out digitally. */
      meanGain: z.boolean().default(true),
    })
    .prefault({}),
  bias: z
    .strictObject({
      /** Full-scale gate level from a replica per tile, or fixed at its 27 C value. */
      mode: z.enum(['replica', 'fixed']).default('replica'),
      /** Cells in parallel in a replica: its offset is sigma(Vt) / sqrt(replicaCells). */
      replicaCells: z.int().positive().default(64),
      /** Temperature of a tile against its replica (replica) or against the die (fixed). */
      tileTempSigmaK: nonNegative.default(0.1),
      /** Threshold gradient across the die, edge to edge; a replica per tile follows it. */
      gradientSigmaV: nonNegative.default(2e-3),
      /** Noise of the source line and of the reference, per tile and phase. */
      sourceNoiseV: nonNegative.default(50e-6),
      referenceNoiseV: nonNegative.default(50e-6),
      /**
       * m, 0.8 to 2: d ln I / dVs = 1 / (m Ut), the body effect of a source moving against a fixed bulk; `measured` takes
       * it from the calibration's cell law at the design's temperature.
       */
      sourceSlopeFactor: z.union([z.literal('measured'), z.number().min(0.8).max(2)]).default('measured'),
    })
    .prefault({}),
  column: z
    .strictObject({
      /** The clamp of a bit line: a resistance, or a transistor whose source is the line. */
      clamp: z.enum(['resistance', 'cascode']).default('resistance'),
      /** Of `resistance`: what the clamp puts in series with the line. */
      clampOhm: nonNegative.default(10e3),
      /** Of `cascode`: gain in front of its gate (an op-amp clamp), 0 to 10^4; 0 is a fixed gate. */
      cascodeGain: z.number().min(0).max(1e4).default(0),
      /** Of `cascode`: current at which the line rests at vdsV, 1 pA to 1 mA. */
      cascodeMiddleA: z.number().min(1e-12).max(1e-3).default(15e-9),
      /** Of a bit-line segment between two rows, 0 to 1000 ohm. */
      bitWireOhm: z.number().min(0).max(1000).default(2),
      /** Of a source-line segment between two rows, 0 to 1000 ohm. */
      sourceWireOhm: z.number().min(0).max(1000).default(2),
      /** Between a column's source line and ground. */
      sourceOhm: nonNegative.default(100),
      /** Noise of the bit-line level held by the clamp. */
      clampNoiseV: nonNegative.default(100e-6),
      /**
       * Most current of both bit lines that the clamps carry; more is an error of the design. Their bias, and so their
       * energy, follows from it (class A, analog.clampBiasRatio in cost.yaml).
       */
      clampMaxA: positive.default(1e-6),
    })
    .prefault({}),
  noise: z
    .strictObject({
      white: z.boolean().default(true),
      /** kT/C of the integration capacitor. */
      sampling: z.boolean().default(true),
      flicker: z.boolean().default(true),
      /** Active single-charge traps per gate area (random telegraph noise). */
      trapsPerM2: nonNegative.default(1e15),
      /** Lowest frequency of the flicker band: one over the time between two trims. */
      lowestFrequencyHz: positive.default(1e-3),
    })
    .prefault({}),
  adc: z
    .strictObject({
      bits: z.union([z.int().min(3).max(14), z.literal('float')]).default(8),
      /** Quantile of |D| on the nominal chip that becomes the full scale. */
      rangeQuantile: z.number().gt(0.5).max(1).default(0.9995),
      /** Voltage of the integration capacitor at full scale, to either side; its capacitance follows (integrator.ts). */
      swingV: positive.default(0.3),
      gainSigma: nonNegative.default(0.005),
      offsetSigmaLsb: nonNegative.default(0.5),
      /** Test vectors per column for a digital gain and offset trim; 0 = no trim. */
      trimVectors: z.int().min(0).max(4096).default(0),
      /** Columns that share one converter. */
      columnsShared: z.int().positive().default(16),
    })
    .prefault({}),
  timing: z
    .strictObject({
      integrationTimeS: positive.default(100e-9),
      settleTimeS: positive.default(50e-9),
    })
    .prefault({}),
  ladder: z
    .strictObject({
      currentA: positive.default(1e-6),
      /** Columns that a row's ladder and the buffer before it feed: they are drawn and costed by this number. */
      columns: z.int().min(16).max(65_536).multipleOf(16).default(256),
      /** Share of the time that a row ladder is powered. */
      duty: share.default(1 / 32),
    })
    .prefault({}),
};

const tileSchema = z.strictObject({ ...cellShape, ...circuitShape });

export type TileDesign = z.infer<typeof tileSchema>;
