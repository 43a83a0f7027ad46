/**
 * What the mapping stage of a design will do, before it does it: method, bits of every matrix, calibration text, and the
 * key of the image that comes of it. A design whose method is `round` needs none: its weights are rounded on the fly.
 */
import { versions } from 'node:process';
import { OnefetError } from '../error.ts';
import { type CommonDesign, tensorBits } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { tensorKey } from '../fabric/placement.ts';
import { displayPath, packageVersion, readTextFile, requireDataFile, sha256 } from '../files.ts';
import { chipErrors as tileErrors } from '../mapping/chip-errors.ts';
import { METHODS } from '../mapping/method.ts';
import { allocateBits, type BitChoice, expectedHarm, scaledHarm } from '../mapping/mixed-bits.ts';
import { MOMENTS_RANK } from '../mapping/moments-factor.ts';
import { type MappingMethod, requireAllowed, residualRotation } from '../mapping/plan.ts';
import type { ChipErrors } from '../mapping/predict.ts';
import { HEAD } from '../model/architecture.ts';
import type { Model } from '../model/model.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import { type AdaptedModel, adapterRanks, requireAdaptable } from './adapters.ts';
import { loadMeasured, loadSensitivity } from './sensitivity.ts';

/** Raise it with any change of what a mapping computes. */
const REVISION = 'image 4';

/** Windows of the calibration text, whatever the context of the run. */
const WINDOW_TOKENS = 512;

export interface CalibrationText {
  readonly file: string;
  /** Of the tokens that are used. */
  readonly sha256: string;
  readonly tokens: number;
  /** Without the beginning-of-text tokens of the windows: one unbroken passage. */
  readonly ids: Int32Array;
  readonly windows: readonly Int32Array[];
}

export interface MappingPlan {
  readonly settings: CommonDesign['mapping'];
  readonly text: CalibrationText;
  /** Of the whole chip, for `auto`. */
  readonly chip: ChipErrors;
  readonly tileRows: number;
  readonly bits: ReadonlyMap<string, WeightBits>;
  readonly cellsPerWeight: number;
  /** LoRA adapters beside the tiles, and their ranks by tensor. */
  readonly adapted: (AdaptedModel & { readonly ranks: ReadonlyMap<string, number> }) | undefined;
  /** What decides the image, as one name. */
  readonly key: string;
  /** Name and hash of the design's part in it. */
  readonly design: { readonly name: string; readonly sha256: string };
}

/** Plans the mapping of a design, or undefined for `round`. Errors: MAPPING_HEAD, MAPPING_ROTATION, MAPPING_SCALES, BIT_BUDGET (usage), MAPPING_TEXT (input). */
export function planMapping(
  model: Model,
  fabric: Fabric,
  adapted?: AdaptedModel | undefined,
): MappingPlan | undefined {
  const { design } = fabric;
  const settings = design.mapping;
  // Adapters lie beside tiles: with them rounding makes an image too.
  if (settings.method === 'round' && !adapted) return undefined;
  if (adapted) requireAdaptable(fabric);
  if (adapted && settings.follow) {
    throw new OnefetError(
      'usage',
      'MAPPING_FOLLOW',
      'mapping.follow aims weights at the model as shipped: it takes no adapters beside them',
      { hint: 'leave mapping.follow out, or merge the adapters into the model' },
    );
  }
  checkHead(fabric, model.shape);
  if (settings.method !== 'auto') requireAllowed(model.shape, METHODS[settings.method]);
  const text = readCalibrationText(model, settings);
  const chip = chipErrors(fabric);
  const { bits, cellsPerWeight } = bitsOf(design, model);
  const parts = {
    // Of a correction the image only knows that there will be one.
    mapping: {
      ...settings,
      text: undefined,
      tokens: undefined,
      correction: undefined,
      // Whatever chose the bits.
      sensitivity: undefined,
      // Images without keep their keys.
      follow: settings.follow || undefined,
      anneal: settings.anneal || undefined,
      ridge: settings.ridge || undefined,
    },
    ...(settings.correction.source === 'none' ? {} : { moments: MOMENTS_RANK }),
    tileRows: design.tile.rows,
    bits: [...bits],
    ...(settings.method === 'auto' ? { chip } : {}),
    ...(adapted ? { adapters: adapted.adapters.map(({ scale, sha256 }) => [sha256, scale]) } : {}),
  };
  const designHash = sha256(JSON.stringify(parts));
  const key = sha256(
    JSON.stringify({
      revision: REVISION,
      onefet: packageVersion(),
      v8: versions.v8,
      model: model.sha256(),
      design: designHash,
      text: text.sha256,
    }),
  ).slice(0, 32);
  return {
    settings,
    text,
    chip,
    tileRows: design.tile.rows,
    bits,
    cellsPerWeight,
    adapted: adapted && { ...adapted, ranks: adapterRanks(adapted) },
    key,
    design: { name: design.name, sha256: designHash },
  };
}

/** The method of a design that is not `auto`; `auto` is chosen with the statistics at hand. */
export function namedMethod({ settings }: MappingPlan): MappingMethod | undefined {
  const { method } = settings;
  return method === 'auto' ? undefined : withSettings(METHODS[method], settings);
}

/** Sweeps of descent where the passes over the text take longer than the codes: six leave 2 to 3 % less error than two. */
const FOLLOW_SWEEPS = 6;

/** A method with the ranks, the sweeps and the seed of a design. */
export function withSettings(method: MappingMethod, settings: MappingPlan['settings']): MappingMethod {
  const { principal, side, seed, follow, anneal, ridge } = settings;
  const sweeps = follow ? FOLLOW_SWEEPS : method.coding.sweeps;
  return {
    ...method,
    principal,
    seed,
    coding: {
      ...method.coding,
      rank: side,
      sweeps,
      ...(anneal > 0 ? { anneal } : {}),
      ...(ridge > 0 ? { ridge } : {}),
    },
  };
}

/** What the header of an image says of the rotation of the stream. */
export const residualOf = (shape: ModelShape, method: MappingMethod) => residualRotation(shape, method);

function checkHead(fabric: Fabric, shape: ModelShape): void {
  const count = shape.architecture.matrices.length;
  if (!fabric.carries({ layer: -1, tensor: HEAD, ordinal: count, count })) return;
  throw new OnefetError(
    'usage',
    'MAPPING_HEAD',
    `design ${fabric.design.name}: an image holds the blocks; the output head is digital, not ${JSON.stringify((fabric.design as { head?: unknown }).head)}`,
    { hint: 'set head to digital, or mapping.method to round' },
  );
}

function readCalibrationText(model: Model, { text: name, tokens }: CommonDesign['mapping']): CalibrationText {
  const path = requireDataFile(name, 'calibration text');
  const whole = readTextFile(path, 'calibration text', { mostBytes: 2 ** 28 });
  // No tokenizer needs sixteen characters for a token of prose: the rest is not read through.
  const ids = model.tokenizer.encode(whole.slice(0, 16 * tokens)).slice(0, tokens);
  if (ids.length < 64) {
    throw new OnefetError('input', 'MAPPING_TEXT', `calibration text ${path} has ${ids.length} tokens`, {
      hint: 'give a text of some thousand tokens with --set mapping.text=FILE',
    });
  }
  const length = Math.min(WINDOW_TOKENS, model.shape.contextTokens);
  const windows: Int32Array[] = [];
  for (let start = 0; start < ids.length; start += length) {
    const window = ids.slice(start, start + length);
    if (model.tokenizer.addBos && model.tokenizer.bosId !== undefined) window[0] = model.tokenizer.bosId;
    windows.push(window);
  }
  return {
    file: displayPath(path),
    sha256: sha256(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength)),
    tokens: ids.length,
    ids,
    windows,
  };
}

/** What predictions need of a fabric; without tiles only the inputs' code is left. */
export function chipErrors({ physics, inputCodes, design }: Fabric): ChipErrors {
  const { source, rank } = design.mapping.correction;
  if (physics) return tileErrors(physics, source === 'none' ? undefined : rank);
  return {
    input: { codes: 'linear', dynamicRange: 63, bits: inputCodes?.bits ?? 'float' },
    scale: inputCodes?.scale ?? 'token',
    adcBits: 'float',
    rangeQuantile: 1,
    cellSigma: 0,
    columnGainSigma: 0,
    offsetLsb: 0,
    whiteVariance: 0,
    samplingVariance: 0,
    lineVariance: 0,
  };
}

/**
 * Bits of every matrix: what the design says of its tensor, and where cells are left, six in place of that. Where nothing was
 * measured of this model, coding is taken to cost every matrix the same share of what its outputs vary by, so that a cell
 * buys most where the matrix is small and its stage sensitive: k and v first.
 */
function bitsOf(
  design: CommonDesign,
  model: Model,
): { bits: ReadonlyMap<string, WeightBits>; cellsPerWeight: number } {
  const { shape } = model;
  const { overrides } = design.weights;
  const { cellsPerWeight: budget, sensitivity: file } = design.mapping;
  const sensitivity = loadSensitivity();
  const measured = file === null ? undefined : loadMeasured(file, model);
  const choices = Array.from({ length: shape.layers }, (_, layer) => blockMatrices(shape, layer))
    .flat()
    .map(({ name, outputs, inputs }): BitChoice => {
      const key = tensorKey(name);
      const base = tensorBits(design, name.tensor) as WeightBits;
      const offered = budget === null || overrides[name.tensor] !== undefined ? [base] : [base, 6 as const];
      const expected = measured
        ? scaledHarm(sensitivity, measured, key)
        : expectedHarm(sensitivity, shape.architecture.matrices[name.ordinal].reads, 1);
      const harm = Object.fromEntries(offered.map((bits) => [bits, expected[bits]]));
      return { key, weights: outputs * inputs, harm };
    });
  const { bits, spent } = allocateBits(choices, { cellsPerWeight: budget ?? 2 });
  return { bits, cellsPerWeight: spent };
}
