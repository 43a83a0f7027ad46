/**
 * A GPU as the cost sees it: a machine that is bought whole, bounded by its memory.
 *
 *   bytes of a step   weights of blocks and head, adapters, and the cache of every user of the batch
 *   time of a step    max(bytes / (peak bandwidth x share), operations / (peak rate x share)), s
 *   energy of a step  static power x time + bits x J/bit + operations x J, shared by the tokens of the batch
 *
 * A full pipeline has as many users as their caches leave room for in the memory.
 */
import { OnefetError } from '../error.ts';
import type { GpuDesign } from '../fabric/gpu.ts';
import { count, formatSi, plain } from '../format.ts';
import type { ModelShape } from '../model/shape.ts';
import { kvBytes, loraWeights } from './components/digital.ts';
import type { CostConstants } from './constants.ts';
import { CHOSEN, costLine, limitLine, sumLines } from './lines.ts';
import type { ChipCost, PricedDesign, PricedSystem } from './priced-design.ts';
import type { CostReport } from './report.ts';
import { attentionMacPerToken, macPerToken } from './shape.ts';

/** Refuses constants without those of a GPU. Errors: COST_CONSTANTS. */
export function gpuConstants({ gpu, process, file }: CostConstants): NonNullable<CostConstants['gpu']> {
  if (gpu) return gpu;
  throw new OnefetError('input', 'COST_CONSTANTS', `${file}: process ${process} has no constants of a gpu`, {
    hint: 'give it a group `gpu` as spice/planar32lp/cost.yaml has it',
  });
}

export function priceGpu({ gpu, kvBits }: GpuDesign): PricedDesign {
  return {
    kvBits,
    headInFabric: true,
    components: [],
    traffic: () => ({ inputBits: 0, resultBits: 0, resultBitMm: 0 }),
    weights: () => [],
    warnings: [],
    whole: (system) => priceWhole(gpu, kvBits, system),
  };
}

type Gpu = GpuDesign['gpu'];

// Physics.

/** Bytes and operations of one step. */
export interface StepWork {
  /** Read once for all users. */
  readonly weightBytes: number;
  readonly adapterBytes: number;
  /** Of one user. */
  readonly kvBytes: number;
  readonly operations: number;
}

export function stepWork(
  shape: ModelShape,
  contextTokens: number,
  { weightBits }: Pick<Gpu, 'weightBits'>,
  kvBits: number,
  { lora }: CostConstants,
): StepWork {
  const adapters = loraWeights(shape, lora.rank.value);
  const macs = macPerToken(shape) + attentionMacPerToken(shape, contextTokens) + adapters;
  return {
    weightBytes: (macPerToken(shape) * weightBits) / 8,
    adapterBytes: (adapters * lora.weightBits.value) / 8,
    kvBytes: kvBytes(shape, kvBits, contextTokens),
    operations: 2 * macs,
  };
}

interface Rates {
  readonly bytesPerS: number;
  readonly operationsPerS: number;
}

export function stepTimeS(work: StepWork, users: number, { bytesPerS, operationsPerS }: Rates): number {
  const bytes = work.weightBytes + work.adapterBytes + users * work.kvBytes;
  return Math.max(bytes / bytesPerS, (users * work.operations) / operationsPerS);
}

// The report.

function priceWhole(machine: Gpu, kvBits: number, system: PricedSystem): ChipCost {
  const { shape, constants, contextTokens } = system;
  const gpu = gpuConstants(constants);
  const { batch } = machine;
  const work = stepWork(shape, contextTokens, machine, kvBits, constants);
  const rates = {
    bytesPerS: machine.bandwidthBytesPerS * gpu.bandwidthShare.value,
    operationsPerS: machine.operationsPerS * gpu.operationShare.value,
  };
  const latencyS = latencyLines(work, batch, rates, constants);
  const tokenTimeS = sumLines(latencyS);
  const energyJ = energyLines(work, batch, tokenTimeS, constants);
  const perTokenJ = sumLines(energyJ);
  const usersHeld = Math.floor((machine.memoryBytes - work.weightBytes - work.adapterBytes) / work.kvBytes);
  const full = fullLoad(work, Math.max(0, usersHeld), machine, rates, constants);
  const area = costLine('gpu', machine.dieMm2, () => `die of ${plain(machine.dieMm2)} mm2`, [CHOSEN]);
  return {
    shape: { name: shape.name, layers: shape.layers, macPerToken: macPerToken(shape) },
    contextTokens,
    energyJ,
    perTokenJ,
    areaLinesMm2: [area],
    areaMm2: machine.dieMm2,
    dies: 1,
    latencyS,
    tokenTimeS,
    tokensPerSecondPerUser: 1 / tokenTimeS,
    ...full,
    staticPowerW: gpu.staticW.value,
    usersHeld: Math.max(0, usersHeld),
    weights: [],
    warnings: [
      ...(usersHeld < batch ? [memoryWarning(machine, work, usersHeld)] : []),
      ...(tokenTimeS < LAUNCH_BOUND_S ? [launchWarning(tokenTimeS)] : []),
    ],
    references: [],
  };
}

/** Some hundred kernels of a step take some microseconds each to launch: shorter steps are bound by that. */
const LAUNCH_BOUND_S = 1e-3;

const launchWarning = (stepS: number): string =>
  `A step of ${formatSi(stepS, 's')} is shorter than launching its kernels takes on a GPU, which is left out: this model is too small for these figures.`;

const memoryWarning = ({ batch, memoryBytes }: Gpu, work: StepWork, usersHeld: number): string =>
  `The memory of ${formatSi(memoryBytes, 'B')} holds weights of ${formatSi(work.weightBytes, 'B')} and the caches of ${Math.max(0, usersHeld)} users, not of ${batch}.`;

function latencyLines(work: StepWork, batch: number, rates: Rates, { gpu }: CostConstants) {
  const share = gpu!.bandwidthShare;
  const stepS = stepTimeS(work, batch, rates);
  const read = (name: string, bytes: number, what: string) =>
    costLine(
      name,
      bytes / rates.bytesPerS,
      () =>
        `${formatSi(bytes, 'B')} of ${what} / ${formatSi(rates.bytesPerS, 'B/s')} (${share.value} of the peak)`,
      [CHOSEN, share],
    );
  const lines = [
    read('weights-read', work.weightBytes, 'weights'),
    ...(work.adapterBytes > 0 ? [read('adapters-read', work.adapterBytes, 'adapters')] : []),
    read('kv-read', batch * work.kvBytes, `caches of ${batch} user${batch === 1 ? '' : 's'}`),
  ];
  return [
    ...lines,
    costLine(
      'operations',
      Math.max(0, stepS - sumLines(lines)),
      () =>
        `beyond the reads: ${count(batch * work.operations)} operations / ${formatSi(rates.operationsPerS, '1/s')} (${gpu!.operationShare.value} of the peak)`,
      [CHOSEN, gpu!.operationShare],
    ),
  ];
}

function energyLines(work: StepWork, batch: number, stepS: number, { gpu }: CostConstants) {
  const { staticW, memoryJPerBit, operationJ } = gpu!;
  const moved = (name: string, bytes: number, what: string) =>
    costLine(
      name,
      8 * bytes * memoryJPerBit.value,
      () => `${formatSi(bytes, 'B')} of ${what} x 8 x ${formatSi(memoryJPerBit.value, 'J')} per bit`,
      [CHOSEN, memoryJPerBit],
    );
  const shared = batch === 1 ? '' : ` / ${batch} users`;
  return [
    moved('weights-read', work.weightBytes / batch, `weights${shared}`),
    ...(work.adapterBytes > 0
      ? [moved('adapters-read', work.adapterBytes / batch, `adapters${shared}`)]
      : []),
    moved('kv-read', work.kvBytes, 'cache'),
    costLine(
      'operations',
      work.operations * operationJ.value,
      () => `${count(work.operations)} operations x ${formatSi(operationJ.value, 'J')}`,
      [operationJ],
    ),
    costLine(
      'static',
      (staticW.value * stepS) / batch,
      () => `${plain(staticW.value)} W x ${formatSi(stepS, 's')}${shared}`,
      [staticW],
    ),
  ];
}

/** Rate, energy and power with all users that the memory holds. */
function fullLoad(
  work: StepWork,
  users: number,
  machine: Gpu,
  rates: Rates,
  { gpu }: CostConstants,
): Pick<CostReport, 'limits' | 'binding' | 'tokensPerSecondAggregate' | 'perTokenAggregateJ' | 'powerW'> {
  const { staticW, memoryJPerBit, operationJ } = gpu!;
  const shared = work.weightBytes + work.adapterBytes;
  const bytesPerToken = users > 0 ? shared / users + work.kvBytes : Number.POSITIVE_INFINITY;
  const dynamicJ = 8 * bytesPerToken * memoryJPerBit.value + work.operations * operationJ.value;
  const limits = [
    limitLine(
      'memory bandwidth',
      rates.bytesPerS / bytesPerToken,
      () =>
        `${formatSi(rates.bytesPerS, 'B/s')} / (${formatSi(shared, 'B')} of weights / ${users} users in memory + ${formatSi(work.kvBytes, 'B')} of cache)`,
    ),
    limitLine(
      'operations',
      rates.operationsPerS / work.operations,
      () => `${formatSi(rates.operationsPerS, '1/s')} / ${count(work.operations)} operations`,
    ),
    limitLine(
      'power',
      Math.max(0, machine.boardW - staticW.value) / dynamicJ,
      () => `(${plain(machine.boardW)} W - ${plain(staticW.value)} W static) / ${formatSi(dynamicJ, 'J')}`,
    ),
  ].sort((a, b) => a.tokensPerSecond - b.tokensPerSecond);
  const rate = limits[0].tokensPerSecond;
  return {
    limits,
    binding: limits[0].name,
    tokensPerSecondAggregate: rate,
    perTokenAggregateJ: dynamicJ + (rate > 0 ? staticW.value / rate : 0),
    powerW: staticW.value + (rate > 0 ? dynamicJ * rate : 0),
  };
}
