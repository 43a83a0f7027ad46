/**
 * Speed of the engine on this machine, without a model file: raw kernels against what registers and memory allow, and
 * prefill and decode of a model with the layers of Llama 3.1 8B.
 *
 * Few layers are built (their weights must not fit the caches) and the time per layer is scaled to the whole model; the
 * head is measured by itself. Figures of one run compare with each other; from run to run they drift with the machine.
 * With a peer, both take turns within a round, and the ratio is the median over rounds of the two times of a round.
 */

import { cpuUsage, version } from 'node:process';
import type { Engine, EngineMode, EngineTuning, MachineLimits } from '../engine/backend.ts';
import { createEngine, findBackend } from '../engine/create.ts';
import { interrupted } from '../error.ts';
import { type CommonDesign, tensorBits } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { tensorKey } from '../fabric/placement.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { blockWeights, type ModelShape, modelMatrices, shapeRecord } from '../model/shape.ts';
import { MODEL_SHAPES } from '../model/shapes.ts';
import { median } from '../numbers.ts';
import { weightFormat } from '../tile/weight-code.ts';

/** Seconds of the whole model. */
export interface PeerTimes {
  readonly wholeS: number;
  /** Of all threads together. */
  readonly processorS: number;
}

/** Another engine on the same shape: a prefill of `batchTokens`, and one decoded token behind it. */
export interface SpeedPeer {
  readonly name: string;
  /** Versions, the machine, and how it was run. */
  readonly system: string;
  prefill(): Promise<PeerTimes>;
  decode(): Promise<PeerTimes>;
  close(): Promise<void>;
}

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
  readonly signal?: AbortSignal;
}

export interface BenchVariant {
  readonly name: string;
  readonly mode: EngineMode;
  readonly tuning?: EngineTuning;
}

export const BENCH_VARIANTS: readonly BenchVariant[] = [
  { name: 'chip, fast, noise by tile', mode: 'chip', tuning: { precision: 'fast', noise: 'token' } },
  {
    name: 'chip, fast, noise from the drawn current',
    mode: 'chip',
    tuning: { precision: 'fast', noise: 'product' },
  },
  {
    name: 'chip, exact, noise from the drawn current',
    mode: 'chip',
    tuning: { precision: 'exact', noise: 'product' },
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
  /** Bytes of weights read per second over threads times `streamGbytePerSecond`. */
  readonly decodeShareOfStream: number;
  /** Share of time by stage. */
  readonly prefillProfile: Readonly<Record<string, number>>;
  readonly decodeProfile: Readonly<Record<string, number>>;
  /** Of the whole model. */
  readonly memoryBytes: number;
  /** Separable products of the cell's response; 1 without analog tiles. */
  readonly rank: number;
  readonly prefillGmacPerSecond: number;
  /** The peer's time over ours: above 1, this engine is faster. */
  readonly ratios: Ratios | null;
  /** The same of processor seconds: what a busy machine does not change. */
  readonly processorRatios: Ratios | null;
}

/** `together`: of a token, which the peer decodes alone. */
export interface Ratios {
  readonly prefill: number;
  readonly decode: number;
  readonly together: number;
}

export interface Bench {
  readonly schema: 'onefet.bench/1';
  readonly node: string;
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
}

export async function bench(options: BenchOptions, onResult?: (result: BenchResult) => void): Promise<Bench> {
  const shape = options.shape ?? MODEL_SHAPES['llama-3.1-8b'];
  const layersBuilt = options.layers ?? 2;
  const threads = options.threads ?? 2;
  const batchTokens = options.batchTokens ?? 252;
  const texts = options.texts ?? 6;
  const rounds = options.rounds ?? 3;
  const { peer } = options;
  const limits = await findBackend('wasm').measureLimits!();
  const results: BenchResult[] = [];
  const peerTimes: Record<keyof PeerStages, number[]> = { prefill: [], decode: [] };
  for (const variant of options.variants ?? BENCH_VARIANTS) {
    const result = await benchVariant(variant, {
      shape,
      layersBuilt,
      threads,
      batchTokens,
      decodeTokens: options.decodeTokens ?? 6,
      texts,
      limits,
      fabric: options.fabric,
      rounds,
      peer,
      peerTimes,
      signal: options.signal,
    });
    results.push(result);
    onResult?.(result);
  }
  return {
    schema: 'onefet.bench/1',
    node: version,
    threads,
    shape: shapeRecord(shape),
    layersBuilt,
    batchTokens,
    texts,
    rounds,
    limits,
    peer: peer
      ? {
          name: peer.name,
          system: peer.system,
          prefillTokensPerSecond: batchTokens / median(peerTimes.prefill),
          decodeTokensPerSecond: 1 / median(peerTimes.decode),
        }
      : null,
    results,
    ratios: peer
      ? {
          prefill: Object.fromEntries(results.map(({ name, ratios }) => [name, ratios!.prefill])),
          decode: Object.fromEntries(results.map(({ name, ratios }) => [name, ratios!.decode])),
          together: Object.fromEntries(results.map(({ name, ratios }) => [name, ratios!.together])),
        }
      : null,
  };
}

/** Seconds of the whole model, round by round. */
type Times = Readonly<Record<keyof Ratios, number[]>>;
type PeerStages = Pick<Times, 'prefill' | 'decode'>;
const noTimes = (): Times => ({ prefill: [], decode: [], together: [] });

interface VariantBench {
  readonly shape: ModelShape;
  readonly layersBuilt: number;
  readonly threads: number;
  readonly batchTokens: number;
  readonly decodeTokens: number;
  readonly texts: number;
  readonly limits: MachineLimits;
  readonly fabric: Fabric;
  readonly rounds: number;
  readonly peer: SpeedPeer | undefined;
  readonly peerTimes: PeerStages;
  readonly signal: AbortSignal | undefined;
}

async function benchVariant(variant: BenchVariant, of: VariantBench): Promise<BenchResult> {
  const { shape, layersBuilt, threads, batchTokens, decodeTokens, texts, fabric } = of;
  const built: ModelShape = { ...shape, layers: layersBuilt };
  const engine = await createEngine('wasm', {
    // The peer's type.
    model: { shape: built, madeUpType: 'Q4_0' },
    fabric,
    mode: variant.mode,
    chipSeed: 1,
    ranges: evenRanges(built, fabric.design),
    threads,
    contextTokens: Math.min(shape.contextTokens, 2 * batchTokens + decodeTokens + 1),
    texts,
    tuning: { ...variant.tuning, batchTokens, int8Terms: 1 },
    profile: true,
  });
  try {
    const times = noVariantTimes();
    const ids = Int32Array.from({ length: batchTokens }, (_, i) => (i * 7919) % shape.vocab);
    await engine.prefill(ids.subarray(0, 12), 0);
    for (let text = 1; text < texts; text++) {
      engine.turnTo(text);
      await engine.prefill(ids.subarray(0, Math.ceil(batchTokens / texts)), 0);
    }
    engine.turnTo(0);
    for (let round = 0; round < of.rounds; round++) {
      if (of.signal?.aborted) throw interrupted();
      await timeRound(engine, ids, of, times);
    }
    return variantResult(variant.name, engine, of, times);
  } finally {
    await engine.close();
  }
}

/** What the rounds of a variant leave behind. */
interface VariantTimes {
  readonly own: Times;
  readonly cpu: Times;
  readonly ratios: Times;
  readonly processorRatios: Times;
  readonly prefillProfile: Record<string, number>;
  readonly decodeProfile: Record<string, number>;
}
const noVariantTimes = (): VariantTimes => ({
  own: noTimes(),
  cpu: noTimes(),
  ratios: noTimes(),
  processorRatios: noTimes(),
  prefillProfile: {},
  decodeProfile: {},
});

/** Prefill, one text decoded, all texts decoded together; the peer's turn after each of the first two. */
async function timeRound(
  engine: Engine,
  ids: Int32Array,
  of: VariantBench,
  times: VariantTimes,
): Promise<void> {
  const { shape, layersBuilt, texts } = of;
  const before = engine.profile();
  const started = performance.now();
  const prefillCpu = cpuUsage();
  await engine.prefill(ids, 0);
  const perLayer = shape.layers / layersBuilt;
  times.own.prefill.push(((performance.now() - started) / 1e3) * perLayer);
  times.cpu.prefill.push(cpuSeconds(prefillCpu) * perLayer);
  addTimes(times.prefillProfile, before, engine.profile());
  await comparePeer('prefill', of, times);
  await timeDecoding('decode', engine, (id) => engine.decode(id), 1, of, times);
  const decoded = await comparePeer('decode', of, times);
  const next = (id: number) => Array.from({ length: texts }, (_, text) => ({ text, id }));
  const together = (id: number) => engine.decodeMany(next(id), () => {});
  await timeDecoding('together', engine, together, texts, of, times);
  if (decoded) compare('together', decoded, times);
}

/** Seconds of a token when each step gives so many. */
async function timeDecoding(
  stage: 'decode' | 'together',
  engine: Engine,
  step: (id: number) => Promise<unknown>,
  tokens: number,
  { shape, layersBuilt, decodeTokens }: VariantBench,
  { own, cpu, decodeProfile }: VariantTimes,
): Promise<void> {
  await step(1);
  const warm = engine.profile();
  const decodeCpu = cpuUsage();
  const started = performance.now();
  for (let i = 0; i < decodeTokens; i++) await step(i);
  const cpuS = cpuSeconds(decodeCpu);
  const builtS = (performance.now() - started) / 1e3;
  const after = engine.profile();
  const head = after.head - warm.head;
  const whole = (builtS - head) * (shape.layers / layersBuilt) + head;
  own[stage].push(whole / decodeTokens / tokens);
  // The same share of waiting in the layers that were not built.
  cpu[stage].push((cpuS / decodeTokens / tokens) * (whole / builtS));
  if (stage === 'decode') addTimes(decodeProfile, warm, after);
}

async function comparePeer(
  stage: keyof PeerStages,
  { peer, peerTimes }: VariantBench,
  times: VariantTimes,
): Promise<PeerTimes | undefined> {
  const found = await peer?.[stage]();
  if (!found) return undefined;
  peerTimes[stage].push(found.wholeS);
  compare(stage, found, times);
  return found;
}

/** The peer's times over the last of ours. */
function compare(
  stage: keyof Times,
  { wholeS, processorS }: PeerTimes,
  { own, cpu, ratios, processorRatios }: VariantTimes,
): void {
  const last = own[stage].length - 1;
  ratios[stage].push(wholeS / own[stage][last]);
  processorRatios[stage].push(processorS / cpu[stage][last]);
}

function variantResult(name: string, engine: Engine, of: VariantBench, times: VariantTimes): BenchResult {
  const { shape, layersBuilt, threads, batchTokens, limits, peer } = of;
  const { own, cpu, ratios, processorRatios, prefillProfile, decodeProfile } = times;
  const prefillS = median(own.prefill);
  const decodeS = median(own.decode);
  const gmacPerSecond = (blockWeights(shape) * batchTokens) / prefillS / 1e9;
  const { weightBytes } = engine.memory;
  // The head's int8 blocks of 32 rows have tables of 8 bytes per column.
  const headBytes = shape.vocab * shape.dim * (1 + 8 / 32);
  const bytes = ((weightBytes - headBytes) / layersBuilt) * shape.layers + headBytes;
  return {
    name,
    prefillTokensPerSecond: batchTokens / prefillS,
    decodeTokensPerSecond: 1 / decodeS,
    togetherTokensPerSecond: 1 / median(own.together),
    prefillTokensPerCpuSecond: (threads * batchTokens) / median(cpu.prefill),
    decodeTokensPerCpuSecond: threads / median(cpu.decode),
    togetherTokensPerCpuSecond: threads / median(cpu.together),
    prefillShareOfPeak: gmacPerSecond / (threads * limits.peakGmacPerSecond),
    decodeShareOfStream: bytes / decodeS / 1e9 / (threads * limits.streamGbytePerSecond),
    prefillProfile: shares(prefillProfile),
    decodeProfile: shares(decodeProfile, { layersBuilt, layers: shape.layers }),
    memoryBytes: bytes + engine.memory.bytes - weightBytes,
    rank: engine.rank,
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

const cpuSeconds = (since: NodeJS.CpuUsage): number => {
  const { user, system } = cpuUsage(since);
  return (user + system) / 1e6;
};

function addTimes(sums: Record<string, number>, from: Record<string, number>, to: Record<string, number>) {
  for (const key of Object.keys(to)) sums[key] = (sums[key] ?? 0) + to[key] - from[key];
}

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
