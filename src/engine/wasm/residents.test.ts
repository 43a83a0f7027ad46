/** Which engines have weights in common. That they compute the same with them is host.test.ts's. */
import { expect, test } from 'vitest';
import { loadFabric } from '../../fabric/registry.ts';
import { MODEL_SHAPES } from '../../model/shapes.ts';
import { loadLogDomainDesign } from '../../testing/designs.ts';
import type { EngineRequest } from '../backend.ts';
import { memorySizes } from './plan/operations.ts';
import { planEngine } from './plan/plan.ts';
import { leaseParts, makeRoom, partKeys } from './residents.ts';

const fabricOf = (...settings: string[]) => loadFabric(loadLogDomainDesign('log-domain', settings).design);
const fabric = fabricOf();

/** Of these tests alone: parts outlive the tests of other files. */
const madeUp = (madeUpType: string) => ({
  shape: {
    ...MODEL_SHAPES['llama-3.2-1b'],
    dim: 64,
    ffnDim: 96,
    layers: 1,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
  },
  madeUpType,
});
const [model, other] = ['of residents.test', 'another'].map(madeUp);

function lease(own: Partial<EngineRequest>) {
  const request: EngineRequest = { model, fabric, mode: 'chip', contextTokens: 8, threads: 1, ...own };
  const { operations } = planEngine(request);
  const sizes = memorySizes(operations);
  const keys = partKeys(request, operations, sizes);
  const presentBytes = makeRoom(keys);
  return { ...leaseParts(keys, sizes), presentBytes };
}

test('codes are one set for ranges, mapped weights, chips, sources of error and designs of these formats; the head for all', () => {
  const digital = lease({ mode: 'digital' });
  expect(digital.missing).toEqual([0, 1]);
  digital.keep();
  const range = lease({ mode: 'range' });
  expect(range.missing).toEqual([0]);
  expect(range.parts[1]).toBe(digital.parts[1]);
  range.keep();
  for (const same of [
    { mode: 'mapped' },
    { chipSeed: 1 },
    { chipSeed: 2, tuning: { precision: 'fast' } },
    { fabric: fabric.withOnly('mismatch') },
    { fabric: fabricOf('adc.bits=6', 'tempK=350', 'input.bits=4') },
  ] as const) {
    const found = lease(same);
    expect(found.missing).toEqual([]);
    expect(found.presentBytes).toBeGreaterThan(0);
    expect(found.parts).toEqual(range.parts);
    found.release(0);
  }
  for (const another of [
    { fabric: fabricOf('weights.bits=3') },
    { fabric: fabricOf('tile.rows=32') },
    { fabric: fabricOf('weights.overrides.ffn_down=6') },
  ]) {
    expect(lease(another).missing).toEqual([0]);
  }
  expect(lease({ model: other }).missing).toEqual([0, 1]);
});

test('what was not loaded is not kept; large parts go when another engine has no use for them', () => {
  const failed = lease({ fabric: fabricOf('tile.rows=48') });
  expect(failed.missing).toEqual([0]);
  failed.release(0);
  expect(lease({ fabric: fabricOf('tile.rows=48') }).missing).toEqual([0]);
  // Pages that nobody writes are not there: a model of a gigabyte costs nothing here.
  const large = {
    model: { shape: MODEL_SHAPES['llama-3.2-1b'], madeUpType: 'Q4_0' },
    mode: 'mapped',
  } as const;
  const first = lease(large);
  first.keep();
  const second = lease(large);
  expect(second.missing).toEqual([]);
  for (const done of [first, first, second]) done.release(0);
  // They stay where they are wanted next.
  const third = lease(large);
  expect(third.missing).toEqual([]);
  lease({ mode: 'digital' });
  const fourth = lease(large);
  expect(fourth.missing).toEqual([]);
  for (const done of [third, fourth]) done.release(0);
  lease({ mode: 'digital' });
  expect(lease(large).missing).toContain(0);
});
