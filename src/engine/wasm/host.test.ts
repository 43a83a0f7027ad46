/** What is made on one host does not depend on what was made on it before, or beside it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RangeTable } from '../../fabric/ranges.ts';
import { loadFabric } from '../../fabric/registry.ts';
import { type Model, openModel } from '../../model/model.ts';
import { loadLogDomainDesign } from '../../testing/designs.ts';
import { logitsOf } from '../../testing/engines.ts';
import { fixtureModel } from '../../testing/models.ts';
import type { EngineRequest, Host } from '../backend.ts';
import { createEngine } from '../create.ts';
import { wasm } from './engine.ts';

const fabric = loadFabric(loadLogDomainDesign('log-domain', []).design);
const six = loadFabric(loadLogDomainDesign('log-domain', ['weights.overrides.ffn_down=6']).design);
const IDS = Int32Array.from({ length: 20 }, (_, i) => 3 + 5 * i);

let model: Model;
let ranges: RangeTable;
let sixRanges: RangeTable;
beforeAll(async () => {
  model = openModel(fixtureModel('tiny'));
  ranges = await rangesOf(fabric);
  sixRanges = await rangesOf(six);
});
afterAll(() => model.close());

const request = (own: Partial<EngineRequest>, threads: number): EngineRequest => ({
  model,
  fabric,
  mode: 'chip',
  contextTokens: 24,
  threads,
  ...own,
});

async function rangesOf(of: typeof fabric): Promise<RangeTable> {
  const engine = await createEngine('wasm', request({ fabric: of, mode: 'range' }, 1));
  await engine.prefill(IDS, 0);
  const found = engine.ranges();
  await engine.close();
  return found;
}

/** All that a run makes one after another, and another design. */
const variants = (): Partial<EngineRequest>[] => [
  { mode: 'digital' },
  { mode: 'mapped' },
  { chipSeed: 1, ranges },
  { chipSeed: 2, ranges },
  { fabric: fabric.withOnly('mismatch'), chipSeed: 1, ranges: fabric.converterRanges(ranges) },
  { fabric: six, chipSeed: 1, ranges: sixRanges },
];

async function withHost<T>(threads: number, work: (host: Host) => Promise<T>): Promise<T> {
  const host = wasm.open(threads);
  try {
    return await work(host);
  } finally {
    await host.close();
  }
}

/** Logits of the variants in that order, on one host. */
const oneByOne = (threads: number, order: readonly number[]): Promise<Float32Array[][]> =>
  withHost(threads, async (host) => {
    const found: Float32Array[][] = [];
    for (const i of order) {
      const engine = await host.create(request(variants()[i], threads));
      found[i] = await logitsOf(engine, IDS, 3);
      await engine.close();
    }
    return found;
  });

test('the order of engines does not matter, nor whether they have a host of their own, for 1, 2 and 7 threads', async () => {
  const order = variants().map((_, i) => i);
  const expected = await oneByOne(1, order);
  expect(new Set(expected.map((logits) => logits.join())).size).toBe(order.length);
  expect(await oneByOne(2, order.toReversed())).toEqual(expected);
  expect(await oneByOne(7, [3, 0, 5, 2, 1, 4])).toEqual(expected);
  expect((await oneByOne(2, [4]))[4]).toEqual(expected[4]);
});

test('engines beside each other on one host are the same as one by one', async () => {
  const expected = await oneByOne(1, [0, 2, 3]);
  await withHost(2, async (host) => {
    const engines = await Promise.all([0, 2, 3].map((i) => host.create(request(variants()[i], 2))));
    const texts = engines.map((engine) => logitsOf(engine, IDS.subarray(0, 12), 3));
    expect(await Promise.all(texts)).toEqual([0, 2, 3].map((i) => expected[i].slice(0, 12)));
    await engines[0].close();
    for (let p = 12; p < IDS.length; p++) {
      expect(await engines[1].decode(IDS[p])).toEqual(expected[2][p]);
      expect(await engines[2].decode(IDS[p])).toEqual(expected[3][p]);
    }
  });
});

test('a host goes on after an engine that could not be made and after an interruption; it has its own threads', async () => {
  const [expected] = await oneByOne(1, [0]);
  await withHost(2, async (host) => {
    // One converter has no range: a thread finds out while it loads.
    const [first] = Object.keys(ranges);
    const incomplete = { ...ranges, [first]: [] };
    await expect(host.create(request({ ranges: incomplete }, 2))).rejects.toMatchObject({ code: 'RANGES' });
    const stop = new AbortController();
    const engine = await host.create(request({ mode: 'digital', signal: stop.signal }, 2));
    stop.abort();
    await expect(engine.prefill(IDS, 0)).rejects.toMatchObject({ kind: 'interrupted' });
    await engine.close();
    const next = await host.create(request({ mode: 'digital' }, 2));
    expect(await logitsOf(next, IDS, 3)).toEqual(expected);
    await expect(host.create(request({}, 3))).rejects.toMatchObject({ code: 'HOST_THREADS' });
  });
});
