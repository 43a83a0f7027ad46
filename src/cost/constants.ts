/**
 * Constants of the cost model: spice/<process>/cost.yaml, the working folder before the package.
 *
 * Every constant is { low, value, high, source, tag }, the unit is in its key: `value` is the likely one, low and high are
 * what a reader would not be surprised by (bands.ts draws between them). What is chosen has a value and no band. Economics
 * are { low, mid, high, source, tag }.
 * A file of the same name in the working folder replaces the package's as a whole, so that a set of constants is
 * always one file that somebody stands behind; a process may take that of another one (cost-file.ts).
 */
import { z } from 'zod';
import { parseYaml, validate } from '../config.ts';
import { findCostFile } from '../cost-file.ts';
import { OnefetError } from '../error.ts';
import { findDataFile, listDataFolder, readTextFile, sha256 } from '../files.ts';
import { bandedValue, type Provenance, provenanceShape } from '../provenance.ts';

const provenance = { ...provenanceShape, note: z.string().optional() };
const constant = bandedValue;
const positive = constant(z.number().positive());
const nonNegative = constant(z.number().nonnegative());
const share = constant(z.number().min(0).max(1));
const whole = constant(z.int().positive());
const gate = constant(z.union([z.literal(0), z.literal(1)]));
const band = z
  .strictObject({
    low: z.number().nonnegative(),
    mid: z.number().nonnegative(),
    high: z.number().nonnegative(),
    ...provenance,
  })
  .refine(({ low, mid, high }) => low <= mid && mid <= high, 'low <= mid <= high must hold');

const costConstantsSchema = z.strictObject({
  process: z.string(),
  description: z.string(),
  /** Nodes, nm, of what the constants are of: those of one chip are made together. */
  nodesNm: z.strictObject({
    cell: z.number().positive(),
    converters: z.number().positive(),
    digital: z.number().positive(),
  }),
  digital: z.strictObject({
    clockHz: positive,
    /** Select and add a tile's result into a 16-bit accumulator. */
    accumulateJ: positive,
    /** Multiply a tile's result by its column's scale. */
    scaleMultiplyJ: positive,
    /** One operation of the vector units (norm, rotation, activation, softmax, residual). */
    vectorOpJ: positive,
    /** One multiply-accumulate of attention at 16 bits, without the cache. */
    attentionMacJ: positive,
    /** Units that do it in each layer: they and the cache's ports together set the time. */
    attentionMacsPerCycle: whole,
    /** One int8 multiply-accumulate of the head, of adapters and of a digital fabric. */
    macJ: positive,
    /** One int4 multiply-accumulate; other widths lie on the line through this and macJ (components/macs.ts). */
    mac4J: positive,
    vectorDepthCyclesPerLayer: nonNegative,
    headDepthCycles: nonNegative,
    headMacsPerCycle: whole,
    headWeightBits: whole,
    /** Clock distribution as a share of the dynamic energy of what it clocks, itself included. */
    clockShare: constant(z.number().min(0).max(0.9)),
  }),
  memory: z.strictObject({
    sramReadJPerByte: positive,
    sramWriteJPerByte: positive,
    sramCellUm2: positive,
    sramArrayEfficiency: share,
    /** One SRAM macro of the KV cache and its port. */
    kvMacroBytes: whole,
    kvPortBytesPerCycle: whole,
    romReadJPerByte: positive,
    romBitsPerMm2: positive,
    embeddingBits: whole,
  }),
  /** Adders and wires of weights that are not multiplied by units of their own. */
  logic: z.strictObject({
    adderJPerBit: positive,
    registerJPerBit: positive,
    adderUm2: positive,
    registerUm2: positive,
    /** A transistor of a selector with its wires. */
    passGateUm2: positive,
    /** Cells over the area of the rows that they are placed in. */
    placementShare: share,
    /** One level of adders of 3 bits to 2. */
    adderDelayS: positive,
  }),
  /** Mask-ROM cells beyond one bit a transistor. */
  rom: z.strictObject({
    gatePitchM: positive,
    /** Cells over the area of their array, drivers and sense amplifiers included. */
    cellArrayShare: share,
    /** A circuit that tells whether a current is above a level, and one decision of it. */
    senseUm2: nonNegative,
    senseJ: nonNegative,
    /** Restores a bit line after a read. */
    prechargeS: nonNegative,
  }),
  /** How a GPU is used and what its energy is; only in the file of a process that a gpu design names. */
  gpu: z
    .strictObject({
      /** Bytes that come over the peak bandwidth, and operations that are done over the peak rate. */
      bandwidthShare: share,
      operationShare: share,
      /** Power while it waits for the next step. */
      staticW: nonNegative,
      /** Memory to the multipliers. */
      memoryJPerBit: positive,
      /** One addition or multiplication. */
      operationJ: positive,
    })
    .optional(),
  lora: z.strictObject({ rank: constant(z.int().nonnegative()), weightBits: whole }),
  analog: z.strictObject({
    dacJ: nonNegative,
    /** Largest swing of a row's gates. */
    gateSwingV: positive,
    wireFPerM: positive,
  }),
  adc: z.strictObject({
    technologyNm: positive,
    rateHz: positive,
    energyMultiplier: positive,
    areaMultiplier: positive,
  }),
  layout: z.strictObject({
    metalPitchM: positive,
    /** Lengths that a cell adds to its gate across the width (isolation), and along the length (two contacted junctions). */
    deviceSideM: nonNegative,
    deviceEndM: nonNegative,
    /** A resistor inside a cell, and the side of a well of its own around one: in metal pitches (squared). */
    resistorPitches2: nonNegative,
    wellPitches: nonNegative,
    /** A ladder of seven taps; one of m taps takes (m + 1) / 8 of it. */
    ladderUm2: nonNegative,
    dacUm2: nonNegative,
    /** Switches of a bit line's clamp: phases, and to the supply between them. */
    clampSwitchesUm2: nonNegative,
    /** Area of an analog block over that of its transistors alone: dummies, guards, wires. */
    analogSpread: constant(z.number().min(1)),
    capacitorFPerUm2: positive,
    /** Digital accumulator and scale multiplier beside each ADC. */
    accumulatorUm2: nonNegative,
    vectorUnitMm2PerLayer: nonNegative,
    /** One int8 multiply-accumulate unit of the head or of a digital fabric. */
    macUm2: nonNegative,
    /** An int4 multiply-accumulate unit. */
    mac4Um2: nonNegative,
    /** One multiply-accumulate unit of attention. */
    attentionMacUm2: nonNegative,
    /** Pads, power grid, clock, routing and empty space as a share of the rest. */
    overheadShare: nonNegative,
    reticleMm2: positive,
    /** Width over height of a die. */
    dieAspect: positive,
  }),
  power: z.strictObject({
    logicLeakageWPerMm2: nonNegative,
    sramLeakageWPerMm2: nonNegative,
    romLeakageWPerMm2: nonNegative,
    analogLeakageWPerMm2: nonNegative,
    /** Leakage at a junction T is that at leakageReferenceK times 2^((T - leakageReferenceK) / leakageDoublingK). */
    leakageReferenceK: positive,
    leakageDoublingK: positive,
    junctionK: constant(z.number().min(200).max(450)),
    /** Of a block behind an open power switch. */
    gatedLeakageShare: share,
    /** Charged to logicSupplyV each time that a gated block is switched on. */
    railFPerMm2: nonNegative,
    logicSupplyV: positive,
    regulatorEfficiency: constant(z.number().gt(0).max(1)),
    limitWPerDie: positive,
  }),
  /** Blocks that are switched off between uses: 1, or 0 for always on. */
  gating: z.strictObject({
    accumulators: gate,
    attentionUnits: gate,
    vectorUnits: gate,
    headMacs: gate,
    macs: gate,
    selectors: gate,
    wiredAdders: gate,
  }),
  wire: z.strictObject({
    energyJPerBitMm: nonNegative,
    delaySPerMm: nonNegative,
    dieLinkS: nonNegative,
    dieLinkJPerBit: nonNegative,
  }),
  bound: z.strictObject({
    /** SNR of one product, and the normalised variance of the products: only for the reference line. */
    snrDb: positive,
    productVariance: positive,
  }),
  economics: z.strictObject({
    waferPriceUsd: band,
    waferDiameterMm: band,
    defectsPerCm2: band,
    /** Packaging, test, board and its share of the server, per die. */
    packagingUsdPerDie: band,
    /** Masks that change with the model, and their price each. */
    modelMasks: band,
    maskUsd: band,
    /** Design, verification and bring-up of one model's masks. */
    modelNreUsd: band,
    /** Chips (complete models) built from one set of masks. */
    chipsPerModel: band,
    modelLifetimeYears: band,
    utilisation: band,
    electricityUsdPerKwh: band,
    /** Facility power over chip power. */
    facilityFactor: band,
    gpuUsdPerHour: band,
    gpuTokensPerSecond: band,
  }),
});

type CostValues = z.infer<typeof costConstantsSchema>;
export interface Constant extends Provenance {
  value: number;
  /** Absent of what is chosen. */
  low?: number | undefined;
  high?: number | undefined;
  note?: string | undefined;
}
export interface Band extends Provenance {
  low: number;
  mid: number;
  high: number;
  note?: string | undefined;
}
export interface CostConstants extends CostValues {
  file: string;
  sha256: string;
}

/**
 * Reads and checks spice/<process>/<name>.yaml; `name` is `costs` of the design.
 * Errors: PROCESS_NAME, COST_MISSING, COST_CONSTANTS, COST_PROCESS.
 */
export function loadCostConstants(process: string, name = 'cost'): CostConstants {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(process)) {
    throw new OnefetError('usage', 'PROCESS_NAME', `process name ${JSON.stringify(process)} is not valid`, {
      hint: 'lower-case letters, digits and dashes',
    });
  }
  const path = `spice/${process}/${name}.yaml`;
  const found = findCostFile(process, name);
  if (found === undefined) {
    const others = listDataFolder('spice').filter(
      (one) => findDataFile(`spice/${one}/${name}.yaml`) !== undefined,
    );
    throw new OnefetError(
      'input',
      'COST_MISSING',
      `process ${process} has no cost constants: ${path} not found`,
      {
        hint: `copy spice/<process>/${name}.yaml of another process there and put in your own figures; ${others.join(', ')} have one`,
      },
    );
  }
  const { path: file, process: owner } = found;
  const text = readTextFile(file, 'cost constants');
  const values = parseCostConstants(text, file);
  if (values.process !== owner) {
    throw new OnefetError(
      'input',
      'COST_PROCESS',
      `${file}: it says process ${values.process}, not ${owner}`,
    );
  }
  return { ...values, process, file, sha256: sha256(text) };
}

/** Checks the text of a cost.yaml; `file` is for messages. */
export function parseCostConstants(text: string, file: string): CostValues {
  return parseDataFile(text, file, costConstantsSchema, 'COST_CONSTANTS');
}

/** YAML text to a checked value; every complaint is an input error with this code. */
export function parseDataFile<T>(text: string, file: string, schema: z.ZodType<T>, code: string): T {
  const as = { kind: 'input', code } as const;
  return validate(schema, parseYaml(text, file, as), file, as);
}
