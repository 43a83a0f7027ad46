/**
 * The tiles of a log-domain chip in its design: the cell and where it is operated, and the circuits around it.
 * The rest of a design (its weights, its head, ...) is that of every fabric: src/fabric/common-design.ts.
 */
import { z } from 'zod';

const positive = z.number().positive();
const nonNegative = z.number().nonnegative();
const share = z.number().min(0).max(1);
const gateLength = z.union([z.literal('cell'), z.number().min(1e-9).max(1e-3)]).default('cell');

/** Keys of the cell and its operating point, and the tile's extent. */
export const cellShape = {
  cell: z.string().describe('File below calibration/<process>/.'),
  gate: z
    .strictObject({
      widthM: gateLength.describe("Gate of a cell, across; `cell`: the process file's."),
      lengthM: gateLength.describe("Gate of a cell, along the current; `cell`: the process file's."),
    })
    .prefault({}),
  corner: z
    .enum(['TT', 'FF', 'SS', 'FS', 'SF'])
    .default('TT')
    .describe('Operating point at which the calibration is evaluated.'),
  tempK: positive.default(300.15).describe('Temperature of the die, K.'),
  vdsV: positive
    .default(0.4)
    .describe("Drain-source voltage of a cell: the clamp's level above the source line."),
  supplyV: positive.default(0.8).describe('Supply of drivers and converters, V.'),
  fullScaleA: positive
    .default(6e-9)
    .describe('Current of a cell at the largest input level and the top tap.'),
  tile: z
    .strictObject({
      rows: z
        .int()
        .min(4)
        .max(4096)
        .default(256)
        .describe('Rows of a tile: the inputs that one bit line sums.'),
      sign: z
        .enum(['integrate', 'two-conversion', 'paired-rows'])
        .default('integrate')
        .describe(
          'How signed products come about: two phases integrated with opposite polarity, one conversion for each phase, or two rows per input.',
        ),
    })
    .prefault({}),
};

/** Keys of everything around the cells. */
export const circuitShape = {
  input: z
    .strictObject({
      bits: z
        .union([z.int().min(2).max(10), z.literal('float')])
        .default(6)
        .describe('Magnitude bits of the row DAC, beside the sign; float: real-valued.'),
      codes: z
        .enum(['linear', 'log'])
        .default('linear')
        .describe('Levels of the row DAC: evenly spaced magnitudes, or evenly spaced logarithms.'),
      dynamicRange: z.number().gt(1).default(63).describe('Largest over smallest level of the log codes.'),
      scale: z
        .enum(['tile', 'token'])
        .default('tile')
        .describe('Scaling group: the rows of one tile and token, or the whole token.'),
    })
    .prefault({}),
  driver: z
    .strictObject({
      buffer: z
        .enum(['follower', 'auto-zero'])
        .default('follower')
        .describe(
          "A follower for each ladder, as it is or with the process's simulated auto-zero (calibration/<process>/auto-zero.json).",
        ),
      widthM: positive
        .default(4e-6)
        .describe('Gate of the follower, across: its area sets its offset, A_VT / sqrt(W L).'),
      lengthM: positive.default(0.4e-6).describe('Gate of the follower, along the current.'),
      biasA: nonNegative
        .default(1e-6)
        .describe('Bias of the follower beside the current of its ladder: both together drive the row.'),
      offVgsV: z.number().default(-0.1).describe('Gate level of an off row, relative to the source line.'),
      offsetSigmaV: z
        .union([z.literal('derived'), nonNegative])
        .default('derived')
        .describe(
          "Static offset of a row's buffer, one per row and `ladder.columns` columns; `derived`: that of the buffer.",
        ),
      resistorSigma: nonNegative.default(0.005).describe('Relative mismatch of a ladder segment.'),
      noiseV: nonNegative
        .default(65e-6)
        .describe("Noise of a row's level, drawn per row and token: of the level that all its buffers get."),
      ladder: z
        .enum(['ptat', 'fixed'])
        .default('ptat')
        .describe('Ladder drop n Ut ln(m): follows temperature (PTAT) or stays at its 27 C value.'),
    })
    .prefault({}),
  response: z
    .strictObject({
      model: z
        .enum(['calibrated', 'ideal'])
        .default('calibrated')
        .describe('The calibrated current of every level and tap, or their exact product.'),
      residualBound: positive
        .default(0.002)
        .describe('Largest residual of the separable response, share of full scale; sets the rank.'),
    })
    .prefault({}),
  mismatch: z
    .strictObject({
      scale: nonNegative
        .default(1)
        .describe('Multiplies sigma(Vt) and sigma(beta) of the calibration; 0 is a chip of nominal cells.'),
      meanGain: z
        .boolean()
        .default(true)
        .describe('Divide the design-known mean gain exp(sigma^2 / 2) out digitally.'),
    })
    .prefault({}),
  bias: z
    .strictObject({
      mode: z
        .enum(['replica', 'fixed'])
        .default('replica')
        .describe('Full-scale gate level from a replica per tile, or fixed at its 27 C value.'),
      replicaCells: z
        .int()
        .positive()
        .default(64)
        .describe('Cells in parallel in a replica: its offset is sigma(Vt) / sqrt(replicaCells).'),
      tileTempSigmaK: nonNegative
        .default(0.1)
        .describe('Temperature of a tile against its replica (replica) or against the die (fixed).'),
      gradientSigmaV: nonNegative
        .default(2e-3)
        .describe('Threshold gradient across the die, edge to edge; a replica per tile follows it.'),
      sourceNoiseV: nonNegative
        .default(50e-6)
        .describe('Noise of the source line and of the reference, per tile and phase.'),
      referenceNoiseV: nonNegative
        .default(50e-6)
        .describe('Noise of the reference level, per tile and phase.'),
      sourceSlopeFactor: z
        .union([z.literal('measured'), z.number().min(0.8).max(2)])
        .default('measured')
        .describe(
          "m, 0.8 to 2: d ln I / dVs = 1 / (m Ut), the body effect of a source moving against a fixed bulk; `measured` takes it from the calibration's cell law at the design's temperature.",
        ),
    })
    .prefault({}),
  column: z
    .strictObject({
      clamp: z
        .enum(['regulated', 'cascode', 'class-a', 'resistance'])
        .default('regulated')
        .describe(
          'Circuit that holds a bit line: its noise, settling, droop, bias and area follow from it (src/tile/bit-line.ts); `resistance` is an ideal without noise or price.',
        ),
      clampOhm: nonNegative
        .default(10e3)
        .describe('Of `resistance`: what the clamp puts in series with the line.'),
      cascodeGain: z
        .number()
        .min(1)
        .max(1e4)
        .default(10)
        .describe("Of `regulated`: gain in front of the cascode's gate, 1 to 10^4."),
      amplifierA: positive.default(3e-6).describe('Of `regulated`: current of the amplifier of a bit line.'),
      amplifierWidthM: positive
        .default(1e-6)
        .describe('Of `regulated` and `class-a`: gate of a transistor, across.'),
      amplifierLengthM: positive
        .default(0.2e-6)
        .describe('Of `regulated` and `class-a`: gate of a transistor, along the current.'),
      sinkA: positive.default(1e-6).describe('Of `class-a`: current of the sink on a bit line.'),
      sinkOverdriveV: positive.default(0.2).describe('Of `class-a`: gate overdrive of the sink.'),
      cascodeMiddleA: z
        .union([z.literal('derived'), z.number().min(1e-12).max(1e-3)])
        .default('derived')
        .describe(
          'Current at which a clamp rests at vdsV and settles, 1 pA to 1 mA; `derived`: that of a typical bit line.',
        ),
      bitWireOhm: z
        .number()
        .min(0)
        .max(1000)
        .default(2)
        .describe('Of a bit-line segment between two rows, 0 to 1000 ohm.'),
      sourceWireOhm: z
        .number()
        .min(0)
        .max(1000)
        .default(2)
        .describe('Of a source-line segment between two rows, 0 to 1000 ohm.'),
      sourceOhm: nonNegative.default(100).describe("Between a column's source line and ground."),
      clampMaxA: z
        .union([z.literal('derived'), positive])
        .default('derived')
        .describe(
          'Most current of both bit lines that the clamps carry; more is an error of the design. `derived`: every row at full scale on the top tap.',
        ),
    })
    .prefault({}),
  noise: z
    .strictObject({
      white: z.boolean().default(true).describe('Shot noise of the currents that are drawn.'),
      sampling: z.boolean().default(true).describe('kT/C of the integration capacitor.'),
      flicker: z.boolean().default(true).describe('Flicker noise of the cells, from lowestFrequencyHz up.'),
      trapsPerM2: nonNegative
        .default(1e15)
        .describe('Active single-charge traps per gate area (random telegraph noise).'),
      lowestFrequencyHz: positive
        .default(1e-3)
        .describe('Lowest frequency of the flicker band: one over the time between two trims.'),
    })
    .prefault({}),
  adc: z
    .strictObject({
      bits: z
        .union([z.int().min(3).max(14), z.literal('float')])
        .default(8)
        .describe('Bits of the column ADC; float: no steps, clipping only.'),
      rangeQuantile: z
        .number()
        .gt(0.5)
        .max(1)
        .default(0.9999)
        .describe('Quantile of |D| on the nominal chip that becomes the full scale.'),
      swingV: positive
        .default(0.3)
        .describe(
          'Voltage of the integration capacitor at full scale, to either side; its capacitance follows (integrator.ts).',
        ),
      gainSigma: nonNegative
        .default(0.005)
        .describe('Relative gain error of a converter, drawn once per column.'),
      offsetSigmaLsb: nonNegative
        .default(0.5)
        .describe('Offset of a converter in steps, drawn once per column.'),
      trimVectors: z
        .int()
        .min(0)
        .max(4096)
        .default(0)
        .describe('Test vectors per column for a digital gain and offset trim; 0 = no trim.'),
      columnsShared: z.int().positive().default(64).describe('Columns that share one converter.'),
    })
    .prefault({}),
  timing: z
    .strictObject({
      integrationTimeS: positive
        .default(100e-9)
        .describe('Time of one phase in which currents are integrated.'),
      settleTimeS: z
        .union([z.literal('derived'), positive])
        .default('derived')
        .describe(
          'From the change of the rows to the start of integration; `derived`: until every tap is within 1 % (src/tile/settling.ts). Of a number the charge that is missing then is missing in the products.',
        ),
    })
    .prefault({}),
  ladder: z
    .strictObject({
      currentA: positive.default(2e-6).describe('Current of a row ladder while it is powered.'),
      columns: z
        .int()
        .min(16)
        .max(65_536)
        .multipleOf(16)
        .default(256)
        .describe(
          "Columns that a row's ladder and the buffer before it feed: they are drawn and costed by this number.",
        ),
      duty: share
        .default(0)
        .describe('Share of the time that a row ladder is powered; at least its own step.'),
    })
    .prefault({}),
};

const tileSchema = z.strictObject({ ...cellShape, ...circuitShape });

/** With the constants of cost, whose layout rules say how long the wires across the cells are. */
export type TileDesign = z.infer<typeof tileSchema> & { readonly costs: string };
