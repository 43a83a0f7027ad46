/**
 * A model with LoRA adapters: the digital model is a merged file below `.onefet/cache/adapted` (src/model/merge.ts), by the
 * contents of model and adapters, believed while its own hash holds; what a chip image is made of are the base model's weights and the adapters beside them.
 */
import { basename, join } from 'node:path';
import { OnefetError } from '../error.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { LinearName } from '../fabric/linear.ts';
import { displayPath, makeFolder, readTextFile, reasonOf, sha256, writeFileAtomic } from '../files.ts';
import type { SidePath } from '../mapping/low-rank.ts';
import type { AdapterChoice } from '../model/adapter-choice.ts';
import { type Adapter, joinParts, openAdapter } from '../model/lora.ts';
import { writeMerged } from '../model/merge.ts';
import { type Model, openModel } from '../model/model.ts';
import { sourceTensor } from '../model/shape.ts';
import { decodeResult, encodeResult } from '../sources.ts';

const ADAPTED_FOLDER = join('.onefet', 'cache', 'adapted');

export interface AdaptedModel {
  /** Of the merged model. */
  readonly path: string;
  /** As people know it: model and adapters with their scales. */
  readonly file: string;
  readonly basePath: string;
  readonly adapters: readonly (AdapterChoice & { readonly sha256: string })[];
}

/**
 * The merged model of a file and adapters, made if it is not there; undefined without adapters. Errors: LORA_... (input),
 * FILE_UNWRITABLE (input).
 */
export function adaptModel(
  basePath: string,
  choices: readonly AdapterChoice[] | undefined,
  folder = ADAPTED_FOLDER,
): AdaptedModel | undefined {
  if (!choices || choices.length === 0) return undefined;
  const model = openModel(basePath);
  const adapters: Adapter[] = [];
  try {
    for (const choice of choices) adapters.push(openAdapter(choice, model.shape));
    const used = adapters.map(({ path, scale, sha256 }) => ({ path, scale, sha256 }));
    const identity = [model.sha256(), ...used.map((adapter) => `${adapter.sha256} ${adapter.scale}`)];
    const path = join(
      folder,
      `${basename(basePath, '.gguf')}-${sha256(identity.join('\n')).slice(0, 16)}.gguf`,
    );
    if (!isWhole(path)) {
      prepareFolder(folder);
      writeMerged(model.file, adapters, path);
      writeFileAtomic(sealPath(path), encodeResult({ model: digestOf(path) }, 'the merged model'));
    }
    const named = used.map(({ path, scale }) => ` + ${displayPath(path)}${scale === 1 ? '' : `:${scale}`}`);
    return { path, file: displayPath(basePath) + named.join(''), basePath, adapters: used };
  } finally {
    for (const adapter of adapters) adapter.close();
    model.close();
  }
}

/** Beside a merged model: its SHA-256 as it was written. */
const sealPath = (path: string): string => `${path}.json`;

/** Is there a merged model, and is it what was written? */
function isWhole(path: string): boolean {
  try {
    const seal = decodeResult(readTextFile(sealPath(path), 'seal')) as { model: string } | undefined;
    return seal !== undefined && seal.model === digestOf(path);
  } catch {
    return false;
  }
}

function digestOf(path: string): string {
  const model = openModel(path);
  try {
    return model.sha256();
  } finally {
    model.close();
  }
}

function prepareFolder(folder: string): void {
  try {
    makeFolder(folder);
  } catch (cause) {
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot create ${folder}: ${reasonOf(cause)}`, {
      cause,
      hint: 'a model with adapters is merged into a file there: make room for it',
    });
  }
}

/** The base model of an adapted one, and each matrix's adapters. */
export interface AdaptedSource {
  readonly base: Model;
  /** s B and A of all adapters of a matrix; undefined where it has none. */
  adapter(name: LinearName): SidePath | undefined;
  close(): void;
}

export function openAdapted({ basePath, adapters }: AdaptedModel): AdaptedSource {
  const base = openModel(basePath);
  const open: Adapter[] = [];
  try {
    for (const choice of adapters) open.push(openAdapter(choice, base.shape));
  } catch (error) {
    for (const adapter of open) adapter.close();
    base.close();
    throw error;
  }
  return {
    base,
    adapter(name) {
      const tensor = sourceTensor(name, base.shape);
      const parts = open.filter(({ ranks }) => ranks.has(tensor)).map((adapter) => adapter.read(tensor));
      const [outputs, inputs] = base.file.tensors.get(tensor)!.shape;
      return parts.length > 0 ? joinParts(parts, outputs, inputs) : undefined;
    },
    close() {
      for (const adapter of open) adapter.close();
      base.close();
    },
  };
}

/** Ranks of the adapters of each matrix, by tensor, without reading them. */
export function adapterRanks(adapted: AdaptedModel): ReadonlyMap<string, number> {
  const model = openModel(adapted.basePath);
  const ranks = new Map<string, number>();
  try {
    for (const choice of adapted.adapters) {
      const adapter = openAdapter(choice, model.shape);
      for (const [tensor, rank] of adapter.ranks) ranks.set(tensor, (ranks.get(tensor) ?? 0) + rank);
      adapter.close();
    }
  } finally {
    model.close();
  }
  return ranks;
}

/** Throws OnefetError('usage', 'LORA_CORRECTION') for a design whose chips get side paths of their own. */
export function requireAdaptable({ design }: Fabric): void {
  if (design.mapping.correction.source === 'none') return;
  throw new OnefetError(
    'usage',
    'LORA_CORRECTION',
    'a correction of single chips puts its own path in the place of the adapters',
    { hint: 'set mapping.correction.source to none, or leave --lora out' },
  );
}
