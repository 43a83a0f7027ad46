/**
 * An accuracy-under-noise experiment against llama.cpp on the same file: the digital pass, the ranges, the mapped weights and
 * chips, each over one text, beside as many plain passes of the peer over the same tokens, in turns.
 *
 * Everything that an experiment does is in its time: opening the file, mapping the weights, drawing the chips, all from
 * nothing, as nothing is kept from round to round. The peer has its model loaded. Logits are computed for the last token,
 * as llama.cpp does in a prefill. Of a shape, models of a few blocks are written and run, and the time of a block and of the
 * head are scaled to the whole; a file that is given is run as it is.
 */

import { cpus } from 'node:os';
import { cpuUsage, version } from 'node:process';
import type { EngineMode } from '../engine/backend.ts';
import { closeHosts, createEngine } from '../engine/create.ts';
import { tryOnly } from '../engine/wasm/check/selftest.ts';
import { interrupted } from '../error.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { openModel } from '../model/model.ts';
import { MODEL_SHAPES, type NamedShape } from '../model/shapes.ts';
import { median } from '../numbers.ts';
import { type LlamaCpp, scaleTaken, spawnLlamaCpp, type Taken, writeDepthModels } from './llama-cpp.ts';

export interface ExperimentBenchOptions {
  readonly fabric: Fabric;
  readonly threads: number;
  /** A file that is run as a whole; undefined: made-up models of `shape`. */
  readonly modelPath?: string | undefined;
  readonly shape?: NamedShape;
  readonly depths?: readonly number[];
  /** Tokens of a pass. */
  readonly tokens?: number;
  readonly chips?: number;
  readonly rounds?: number;
  /** false: llama.cpp is left out. */
  readonly peer: boolean;
  /** Both as on a processor without VNNI. */
  readonly withoutVnni?: boolean;
  readonly onProgress?: ((done: number, total: number, label: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A variant of the experiment: making its engine, and its text. */
export interface VariantTaken {
  readonly name: string;
  readonly load: Taken;
  readonly pass: Taken;
}

export interface ExperimentBench {
  readonly schema: 'onefet.bench-experiment/1';
  readonly processor: string;
  readonly withoutVnni: boolean;
  readonly node: string;
  readonly threads: number;
  readonly model: string;
  readonly layers: number;
  /** Blocks of the models that were run; null: the file as it is. */
  readonly depths: readonly number[] | null;
  readonly tokens: number;
  readonly chips: number;
  readonly rounds: number;
  /** Of the whole model, medians of the rounds. */
  readonly variants: readonly VariantTaken[];
  readonly whole: Taken;
  readonly oneMoreChip: Taken;
  /** As many passes as the experiment has variants. */
  readonly peer: { readonly name: string; readonly system: string; readonly passes: Taken } | null;
  /** Of the experiment over the peer's passes: below 1 the experiment is faster. */
  readonly overPeer: { readonly processor: number; readonly wall: number } | null;
}

export async function benchExperiment(options: ExperimentBenchOptions): Promise<ExperimentBench> {
  const { fabric, threads, modelPath, signal, onProgress, withoutVnni = false } = options;
  if (withoutVnni) tryOnly(['pairs', 'i16']);
  const shape = options.shape ?? MODEL_SHAPES['llama-3.1-8b'];
  const models =
    modelPath === undefined
      ? await writeDepthModels(shape, { threads, onProgress, signal }, options.depths ?? DEPTHS)
      : { paths: [modelPath], depths: [], remove: () => {} };
  let peer: LlamaCpp | undefined;
  try {
    const whole = modelPath === undefined ? shape : shapeOf(modelPath);
    const [tokens, chips, rounds] = [options.tokens ?? 511, options.chips ?? 2, options.rounds ?? 1];
    const names = variantNames(fabric, chips);
    const depths = models.depths.length > 0 ? models.depths : [whole.layers];
    if (options.peer) {
      peer = await spawnLlamaCpp(threads, tokens + 1, models.paths, withoutVnni ? 'haswell' : undefined);
    }
    const ids = Int32Array.from({ length: tokens }, (_, i) => (i * 7919) % whole.vocab);
    const own: VariantTaken[][] = [];
    const others: Taken[] = [];
    for (let round = 0; round < rounds; round++) {
      const byDepth: VariantTaken[][] = [];
      const peerByDepth: Taken[] = [];
      for (const [i, path] of models.paths.entries()) {
        if (signal?.aborted) throw interrupted();
        onProgress?.(round + i / models.paths.length, rounds, `${depths[i]} blocks`);
        byDepth.push(await runExperiment(path, ids, names, { fabric, threads, signal }));
        if (!peer) continue;
        const passes: Taken[] = [];
        for (let pass = 0; pass < names.length; pass++) passes.push(await peer.prefill(i, [...ids]));
        peerByDepth.push(sumTaken(passes));
      }
      own.push(scaleVariants(byDepth, depths, whole.layers));
      if (peer) others.push(scaleTaken(peerByDepth, depths, whole.layers));
    }
    const variants = names.map((name, v) => ({
      name,
      load: medianTaken(own.map((round) => round[v].load)),
      pass: medianTaken(own.map((round) => round[v].pass)),
    }));
    const all = sumTaken(variants.flatMap(({ load, pass }) => [load, pass]));
    const last = variants[variants.length - 1];
    const passes = peer && medianTaken(others);
    return {
      schema: 'onefet.bench-experiment/1',
      processor: cpus()[0]?.model ?? 'unknown',
      withoutVnni,
      node: version,
      threads,
      model: modelPath ?? shape.name,
      layers: whole.layers,
      depths: modelPath === undefined ? depths : null,
      tokens,
      chips,
      rounds,
      variants,
      whole: all,
      oneMoreChip: sumTaken([last.load, last.pass]),
      peer: peer && passes ? { name: peer.name, system: peer.system, passes } : null,
      overPeer: passes
        ? { processor: all.processorS / passes.processorS, wall: all.wallS / passes.wallS }
        : null,
    };
  } finally {
    peer?.close();
    models.remove();
  }
}

/** Blocks of the models that stand for a shape. */
const DEPTHS = [2, 6] as const;

function shapeOf(path: string) {
  const model = openModel(path);
  model.close();
  return model.shape;
}

const variantNames = ({ measuresRanges }: Fabric, chips: number): string[] => [
  'digital',
  ...(measuresRanges ? ['range'] : []),
  'recoded',
  ...Array.from({ length: chips }, (_, chip) => `chip ${chip + 1}`),
];

const MODES: Readonly<Partial<Record<string, EngineMode>>> = {
  digital: 'digital',
  range: 'range',
  recoded: 'mapped',
};

/** One experiment from nothing: a variant's engine, then its text. */
async function runExperiment(
  path: string,
  ids: Int32Array,
  names: readonly string[],
  { fabric, threads, signal }: Pick<ExperimentBenchOptions, 'fabric' | 'threads' | 'signal'>,
): Promise<VariantTaken[]> {
  await closeHosts();
  const watch = stopwatch();
  const model = openModel(path);
  try {
    const taken: VariantTaken[] = [];
    let ranges: RangeTable | undefined;
    for (const [seed, name] of names.entries()) {
      const mode = MODES[name] ?? 'chip';
      const engine = await createEngine('wasm', {
        model,
        fabric,
        mode,
        threads,
        contextTokens: ids.length + 1,
        chipSeed: seed,
        signal,
        ...(mode === 'chip' && ranges ? { ranges: fabric.converterRanges(ranges) } : {}),
      });
      const load = watch();
      await engine.prefill(ids, 0, () => {}, ids.length - 1);
      if (mode === 'range') ranges = engine.ranges();
      await engine.close();
      taken.push({ name, load, pass: watch() });
    }
    return taken;
  } finally {
    model.close();
  }
}

/** What was taken since it was asked last. */
function stopwatch(): () => Taken {
  let wall = performance.now();
  let before = cpuUsage();
  return () => {
    const { user, system } = cpuUsage(before);
    const taken = { wallS: (performance.now() - wall) / 1e3, processorS: (user + system) / 1e6 };
    wall = performance.now();
    before = cpuUsage();
    return taken;
  };
}

function scaleVariants(
  byDepth: readonly (readonly VariantTaken[])[],
  depths: readonly number[],
  layers: number,
): VariantTaken[] {
  return byDepth[0].map(({ name }, v) => ({
    name,
    load: scaleTaken(
      byDepth.map((variants) => variants[v].load),
      depths,
      layers,
    ),
    pass: scaleTaken(
      byDepth.map((variants) => variants[v].pass),
      depths,
      layers,
    ),
  }));
}

const sumTaken = (all: readonly Taken[]): Taken => ({
  wallS: all.reduce((sum, { wallS }) => sum + wallS, 0),
  processorS: all.reduce((sum, { processorS }) => sum + processorS, 0),
});

const medianTaken = (all: readonly Taken[]): Taken => ({
  wallS: median(all.map(({ wallS }) => wallS)),
  processorS: median(all.map(({ processorS }) => processorS)),
});

/** The table of `bench experiment`. */
export function benchExperimentText(result: ExperimentBench): string {
  const { depths, whole, oneMoreChip, peer, overPeer } = result;
  const s = (taken: Taken) => `${taken.processorS.toFixed(1)} (${taken.wallS.toFixed(1)})`;
  const rows = [
    ['', 'loading', 'the text'],
    ...result.variants.map(({ name, load, pass }) => [name, s(load), s(pass)]),
  ];
  const widths = [0, 1, 2].map((i) => Math.max(...rows.map((row) => row[i].length)));
  const built = depths ? ` (${depths.join(' and ')} blocks run, the rest scaled)` : '';
  return [
    `${result.model}, ${result.layers} blocks${built}, ${result.tokens} tokens, ${result.threads} threads, ${result.processor}${result.withoutVnni ? ', without VNNI' : ''}, Node ${result.node}, medians of ${result.rounds} rounds`,
    'seconds of processor time, in brackets of the clock',
    '',
    ...rows.map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '),
    ),
    '',
    `the whole experiment ${s(whole)}; one more chip ${s(oneMoreChip)}`,
    ...(peer && overPeer
      ? [
          `${peer.name}, ${result.variants.length} passes over the same tokens: ${s(peer.passes)}`,
          `the experiment takes ${overPeer.processor.toFixed(2)} times the processor time, ${overPeer.wall.toFixed(2)} times the clock`,
        ]
      : []),
  ].join('\n');
}
