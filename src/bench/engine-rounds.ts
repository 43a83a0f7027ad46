/**
 * The rounds of `bench engine` for one variant: prefill, one text decoded, all texts decoded together, each followed by the peer's
 * turn at the same. Few blocks are built and times are scaled to the whole model.
 */

import { cpuUsage } from 'node:process';
import type { Engine, EngineMode, EngineRequest, EngineTuning } from '../engine/backend.ts';
import { createEngine } from '../engine/create.ts';
import { interrupted } from '../error.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import type { ModelShape } from '../model/shape.ts';

/** Seconds of the whole model. */
export interface PeerTimes {
  readonly wholeS: number;
  /** Of all threads together. */
  readonly processorS: number;
}

/** Another engine on the same shape: a prefill of `batchTokens`, and one decoded token behind it. */
export interface SpeedPeer {
  readonly name: string;
  /** How it was built, and what it uses of the processor. */
  readonly system: string;
  prefill(): Promise<PeerTimes>;
  decode(): Promise<PeerTimes>;
  close(): Promise<void>;
}

export interface BenchVariant {
  readonly name: string;
  readonly mode: EngineMode;
  readonly tuning?: EngineTuning;
  /** What differs in the engine that decodes; undefined: one engine does both. */
  readonly decoding?: EngineTuning;
}

/** `together`: of one token, when all texts are decoded together. */
export type Stage = 'prefill' | 'decode' | 'together';
/** Seconds of the whole model, round by round. */
export type Times = Readonly<Record<Stage, number[]>>;
export type PeerStages = Readonly<Record<'prefill' | 'decode', PeerTimes[]>>;
const noTimes = (): Times => ({ prefill: [], decode: [], together: [] });

/** What all variants have in common. */
export interface Rounds {
  readonly shape: ModelShape;
  readonly layersBuilt: number;
  readonly threads: number;
  readonly batchTokens: number;
  readonly decodeTokens: number;
  readonly texts: number;
  readonly fabric: Fabric;
  readonly rounds: number;
  readonly peer: SpeedPeer | undefined;
  /** Collected over all variants. */
  readonly peerTimes: PeerStages;
  readonly signal: AbortSignal | undefined;
}

/** What the rounds of a variant leave behind; the peer's times over ours in `ratios`, by wall and by processor time. */
export interface VariantTimes {
  readonly own: Times;
  readonly cpu: Times;
  readonly ratios: Times;
  readonly processorRatios: Times;
  readonly prefillProfile: Record<string, number>;
  readonly decodeProfile: Record<string, number>;
  rank: number;
}

/** What is asked of the engine that prefills, or decodes; of the whole shape but for `model`. */
export function variantRequest(
  { mode, tuning, decoding }: BenchVariant,
  { shape, threads, batchTokens, decodeTokens, texts, fabric }: Rounds,
  stage: Stage,
): Omit<EngineRequest, 'ranges'> {
  return {
    // The peer's type.
    model: { shape, madeUpType: 'Q4_0' },
    fabric,
    mode,
    chipSeed: 1,
    threads,
    contextTokens: Math.min(shape.contextTokens, 2 * batchTokens + decodeTokens + 1),
    texts,
    tuning: { ...tuning, ...(stage === 'prefill' ? {} : decoding), batchTokens, int8Terms: 1 },
  };
}

/** Times a variant: where decoding has an engine of its own, after the other is gone, for memory's sake. */
export async function timeVariant(
  variant: BenchVariant,
  of: Rounds,
  ranges: RangeTable,
): Promise<VariantTimes> {
  const times: VariantTimes = {
    own: noTimes(),
    cpu: noTimes(),
    ratios: noTimes(),
    processorRatios: noTimes(),
    prefillProfile: {},
    decodeProfile: {},
    rank: 1,
  };
  const all: readonly Stage[] = ['prefill', 'decode', 'together'];
  for (const stages of variant.decoding ? [all.slice(0, 1), all.slice(1)] : [all]) {
    const request = variantRequest(variant, of, stages[0]);
    const model = { ...request.model, shape: { ...of.shape, layers: of.layersBuilt } };
    const engine = await createEngine('wasm', { ...request, model, ranges, profile: true });
    try {
      times.rank = engine.rank;
      await timeEngine(engine, stages, of, times);
    } finally {
      await engine.close();
    }
  }
  return times;
}

async function timeEngine(
  engine: Engine,
  stages: readonly Stage[],
  of: Rounds,
  times: VariantTimes,
): Promise<void> {
  const { batchTokens, texts, shape } = of;
  const ids = Int32Array.from({ length: batchTokens }, (_, i) => (i * 7919) % shape.vocab);
  await engine.prefill(ids.subarray(0, 12), 0);
  for (let text = 1; text < texts; text++) {
    engine.turnTo(text);
    await engine.prefill(ids.subarray(0, Math.ceil(batchTokens / texts)), 0);
  }
  engine.turnTo(0);
  const next = (id: number) => Array.from({ length: texts }, (_, text) => ({ text, id }));
  const together = (id: number) => engine.decodeMany(next(id), () => {});
  for (let round = 0; round < of.rounds; round++) {
    if (of.signal?.aborted) throw interrupted();
    await timePrefill(engine, ids, of, times, stages.includes('prefill'));
    if (!stages.includes('decode')) continue;
    await timeDecoding('decode', engine, (id) => engine.decode(id), 1, of, times);
    const decoded = await comparePeer('decode', of, times);
    await timeDecoding('together', engine, together, texts, of, times);
    if (decoded) compare('together', decoded, times);
  }
}

/** A prefill, which decoding needs too; then the peer's. */
async function timePrefill(
  engine: Engine,
  ids: Int32Array,
  of: Rounds,
  times: VariantTimes,
  counts: boolean,
): Promise<void> {
  const before = engine.profile();
  const started = performance.now();
  const startedCpu = cpuUsage();
  await engine.prefill(ids, 0);
  if (!counts) return;
  const perLayer = of.shape.layers / of.layersBuilt;
  times.own.prefill.push(((performance.now() - started) / 1e3) * perLayer);
  times.cpu.prefill.push(cpuSeconds(startedCpu) * perLayer);
  addTimes(times.prefillProfile, before, engine.profile());
  await comparePeer('prefill', of, times);
}

/** Seconds of a token when each step gives so many. */
async function timeDecoding(
  stage: 'decode' | 'together',
  engine: Engine,
  step: (id: number) => Promise<unknown>,
  tokens: number,
  { shape, layersBuilt, decodeTokens }: Rounds,
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
  { peer, peerTimes }: Rounds,
  times: VariantTimes,
): Promise<PeerTimes | undefined> {
  const found = await peer?.[stage]();
  if (!found) return undefined;
  peerTimes[stage].push(found);
  compare(stage, found, times);
  return found;
}

/** The peer's times over the last of ours. */
function compare(
  stage: Stage,
  { wholeS, processorS }: PeerTimes,
  { own, cpu, ratios, processorRatios }: VariantTimes,
): void {
  const last = own[stage].length - 1;
  ratios[stage].push(wholeS / own[stage][last]);
  processorRatios[stage].push(processorS / cpu[stage][last]);
}

const cpuSeconds = (since: NodeJS.CpuUsage): number => {
  const { user, system } = cpuUsage(since);
  return (user + system) / 1e6;
};

function addTimes(sums: Record<string, number>, from: Record<string, number>, to: Record<string, number>) {
  for (const key of Object.keys(to)) sums[key] = (sums[key] ?? 0) + to[key] - from[key];
}
