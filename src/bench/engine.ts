/**
 * Speed of the engine on this machine, without a model file: raw kernels against what registers and memory allow, and
 * prefill and decode of a model with the layers of Llama 3.1 8B.
 *
 * Few layers are built (their weights must not fit the caches) and the time per layer is scaled to the whole model; the
 * head is measured by itself. Figures of one run compare with each other; from run to run they drift with the machine.
 * With a peer, both take turns within a round, and the ratio is the median over rounds of the two times of a round.
 */

import { cpus } from 'node:os';
import { version } from 'node:process';
import type { MachineLimits, MemoryEstimate } from '../engine/backend.ts';
import { findBackend } from '../engine/create.ts';
import { tryOnly } from '../engine/wasm/check/selftest.ts';
import { type CommonDesign, tensorBits } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { tensorKey } from '../fabric/placement.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { blockWeights, type ModelShape, modelMatrices, shapeRecord } from '../model/shape.ts';
import { MODEL_SHAPES } from '../model/shapes.ts';
import { median } from '../numbers.ts';
import { weightFormat } from '../tile/weight-code.ts';
import {
  type BenchVariant,
  type PeerStages,
  type Rounds,
  type SpeedPeer,
  type Stage,
  type Times,
  timeVariant,
  type VariantTimes,
  variantRequest,
} from './engine-rounds.ts';

export interface BenchOptions {
  readonly fabric: Fabric;
  readonly threads?: number;
  readonly shape?: ModelShape;
  /** Blocks that are really built. */
  readonly layers?: number;
  readonly batchTokens?: number;
  readonly decodeTokens?: number;
  /** Texts that are decoded together, beside one alone. */
  readonly texts?: number;
  readonly variants?: readonly BenchVariant[];
  readonly rounds?: number;
  readonly peer?: SpeedPeer | undefined;
  /** Kernels as on a processor that does not add four products of bytes in one instruction. */
  readonly withoutVnni?: boolean;
  readonly signal?: AbortSignal;
}

/** `onefet generate` decodes from cells that are baked; `onefet run` makes them for every batch. */
const BAKED = { cells: 'baked' } as const;
export const BENCH_VARIANTS: readonly BenchVariant[] = [
  {
    name: 'chip, fast',
    mode: 'chip',
    tuning: { precision: 'fast' },
    decoding: BAKED,
  },
  {
    name: 'chip, fast, noise from the drawn current',
    mode: 'chip',
    tuning: { precision: 'fast', noise: 'product' },
    decoding: BAKED,
  },
  {
    name: 'chip, exact',
    mode: 'chip',
    tuning: { precision: 'exact' },
    decoding: BAKED,
  },
  { name: 'recoded', mode: 'mapped' },
  { name: 'digital', mode: 'digital' },
];

export interface BenchResult {
  readonly name: string;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
  /** Of all texts that are decoded together. */
  readonly togetherTokensPerSecond: number;
  /** Tokens per second of processor time, times threads: what the machine does when it is not shared. */
  readonly prefillTokensPerCpuSecond: number;
  readonly decodeTokensPerCpuSecond: number;
  readonly togetherTokensPerCpuSecond: number;
  /** Multiply-adds of the linear layers per second over threads times the peak of registers. */
  readonly prefillShareOfPeak: number;
  /** Bytes of weights and of their tables that tokens read per second, over threads times `streamGbytePerSecond`. */
  readonly decodeShareOfStream: number;
  /** Share of time by stage. */
  readonly prefillProfile: Readonly<Record<string, number>>;
  readonly decodeProfile: Readonly<Record<string, number>>;
  /** Threads that ran at a time: processor time over time. Fewer than there are: others had the machine. */
  readonly threadsRunning: Record<Stage, number>;
  /** All that an engine of the whole model holds: the one that prefills, and the one that decodes. */
  readonly memoryBytes: number;
  readonly decodeMemoryBytes: number;
  /** Separable products of the cell's response; 1 without analog tiles. */
  readonly rank: number;
  readonly prefillGmacPerSecond: number;
  /** The peer's time over ours: above 1, this engine is faster. */
  readonly ratios: Ratios | null;
  /** The same of processor seconds: what a busy machine does not change. */
  readonly processorRatios: Ratios | null;
}

/** `together`: of a token, which the peer decodes alone. */
export type Ratios = Readonly<Record<Stage, number>>;

export interface Bench {
  readonly schema: 'onefet.bench/1';
  readonly node: string;
  readonly processor: string;
  readonly withoutVnni: boolean;
  readonly threads: number;
  readonly shape: Readonly<Record<string, unknown>>;
  readonly layersBuilt: number;
  readonly batchTokens: number;
  readonly texts: number;
  readonly rounds: number;
  readonly limits: MachineLimits;
  readonly peer: PeerResult | null;
  readonly results: readonly BenchResult[];
  /** Of all variants by name: the peer's time over ours. */
  readonly ratios: Readonly<Record<keyof Ratios, Readonly<Record<string, number>>>> | null;
}

export interface PeerResult {
  readonly name: string;
  readonly system: string;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
  readonly prefillTokensPerCpuSecond: number;
  readonly decodeTokensPerCpuSecond: number;
  readonly threadsRunning: Readonly<Record<keyof PeerStages, number>>;
}

export async function bench(options: BenchOptions, onResult?: (result: BenchResult) => void): Promise<Bench> {
  const { peer, withoutVnni = false } = options;
  if (withoutVnni) tryOnly(['pairs', 'i16']);
  const rounds: Rounds = {
    shape: options.shape ?? MODEL_SHAPES['llama-3.1-8b'],
    layersBuilt: options.layers ?? 2,
    threads: options.threads ?? 2,
    batchTokens: options.batchTokens ?? 252,
    decodeTokens: options.decodeTokens ?? 6,
    texts: options.texts ?? 6,
    fabric: options.fabric,
    rounds: options.rounds ?? 3,
    peer,
    peerTimes: { prefill: [], decode: [] },
    signal: options.signal,
  };
  const { shape, layersBuilt, threads, batchTokens, texts } = rounds;
  const limits = await findBackend('wasm').measureLimits!();
  const ranges = evenRanges({ ...shape, layers: layersBuilt }, rounds.fabric.design);
  const results: BenchResult[] = [];
  for (const variant of options.variants ?? BENCH_VARIANTS) {
    const times = await timeVariant(variant, rounds, ranges);
    const result = variantResult(variant, limits, rounds, times);
    results.push(result);
    onResult?.(result);
  }
  const ratiosOf = (stage: Stage) =>
    Object.fromEntries(results.map(({ name, ratios }) => [name, ratios![stage]]));
  return {
    schema: 'onefet.bench/1',
    node: version,
    processor: cpus()[0]?.model ?? 'unknown',
    withoutVnni,
    threads,
    shape: shapeRecord(shape),
    layersBuilt,
    batchTokens,
    texts,
    rounds: rounds.rounds,
    limits,
    peer: peer ? peerResult(peer, rounds) : null,
    results,
    ratios: peer
      ? { prefill: ratiosOf('prefill'), decode: ratiosOf('decode'), together: ratiosOf('together') }
      : null,
  };
}

function peerResult(
  { name, system }: SpeedPeer,
  { threads, batchTokens, peerTimes: { prefill, decode } }: Rounds,
): PeerResult {
  const wall = (times: PeerStages['prefill']) => median(times.map(({ wholeS }) => wholeS));
  const processor = (times: PeerStages['prefill']) => median(times.map(({ processorS }) => processorS));
  return {
    name,
    system,
    prefillTokensPerSecond: batchTokens / wall(prefill),
    decodeTokensPerSecond: 1 / wall(decode),
    prefillTokensPerCpuSecond: (threads * batchTokens) / processor(prefill),
    decodeTokensPerCpuSecond: threads / processor(decode),
    threadsRunning: {
      prefill: processor(prefill) / wall(prefill),
      decode: processor(decode) / wall(decode),
    },
  };
}

function variantResult(
  variant: BenchVariant,
  limits: MachineLimits,
  of: Rounds,
  { own, cpu, ratios, processorRatios, prefillProfile, decodeProfile, rank }: VariantTimes,
): BenchResult {
  const { shape, layersBuilt, threads, batchTokens, peer } = of;
  const prefillS = median(own.prefill);
  const decodeS = median(own.decode);
  const gmacPerSecond = (blockWeights(shape) * batchTokens) / prefillS / 1e9;
  const memory = (stage: Stage): MemoryEstimate =>
    findBackend('wasm').memory(variantRequest(variant, of, stage));
  const decoding = memory('decode');
  return {
    name: variant.name,
    prefillTokensPerSecond: batchTokens / prefillS,
    decodeTokensPerSecond: 1 / decodeS,
    togetherTokensPerSecond: 1 / median(own.together),
    prefillTokensPerCpuSecond: (threads * batchTokens) / median(cpu.prefill),
    decodeTokensPerCpuSecond: threads / median(cpu.decode),
    togetherTokensPerCpuSecond: threads / median(cpu.together),
    prefillShareOfPeak: gmacPerSecond / (threads * limits.peakGmacPerSecond),
    decodeShareOfStream: decoding.tokenBytes / decodeS / 1e9 / (threads * limits.streamGbytePerSecond),
    threadsRunning: {
      prefill: median(cpu.prefill) / prefillS,
      decode: median(cpu.decode) / decodeS,
      together: median(cpu.together) / median(own.together),
    },
    prefillProfile: shares(prefillProfile),
    decodeProfile: shares(decodeProfile, { layersBuilt, layers: shape.layers }),
    memoryBytes: memory('prefill').bytes,
    decodeMemoryBytes: decoding.bytes,
    rank,
    prefillGmacPerSecond: gmacPerSecond,
    ratios: peer ? mediansOf(ratios) : null,
    processorRatios: peer ? mediansOf(processorRatios) : null,
  };
}

const mediansOf = ({ prefill, decode, together }: Times): Ratios => ({
  prefill: median(prefill),
  decode: median(decode),
  together: median(together),
});

/** Shares of the stages; the head is not repeated per layer. */
function shares(sums: Record<string, number>, scale = { layersBuilt: 1, layers: 1 }): Record<string, number> {
  const times = Object.entries(sums).map(([key, time]): [string, number] => [
    key,
    time * (key === 'head' ? 1 : scale.layers / scale.layersBuilt),
  ]);
  const total = times.reduce((sum, [, time]) => sum + time, 0);
  return Object.fromEntries(times.map(([key, time]) => [key, Number((time / total).toFixed(4))]));
}

/** The same full scale everywhere: enough for arithmetic to be ordinary. */
function evenRanges(shape: ModelShape, design: CommonDesign): RangeTable {
  const table: RangeTable = {};
  for (const { name, inputs } of modelMatrices(shape)) {
    const { cellWeights } = weightFormat(tensorBits(design, name.tensor));
    table[tensorKey(name)] = Array.from({ length: Math.ceil(inputs / design.tile.rows) }, () =>
      cellWeights.map(() => 8),
    );
  }
  return table;
}
