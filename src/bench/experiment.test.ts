import { expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { MODEL_SHAPES } from '../model/shapes.ts';
import { needs } from '../testing/needs.ts';
import { oracleIsLive } from '../testing/oracle.ts';
import { benchExperiment, benchExperimentText } from './experiment.ts';
import { scaleTaken } from './llama-cpp.ts';

const fabric = loadFabric(loadDesign('log-domain', []).design);
const small = { fabric, threads: 1, shape: MODEL_SHAPES.tiny, depths: [1, 2], tokens: 12 };

test('times of few blocks and many give those of the whole: a head and so many blocks', () => {
  const of = (layers: number) => ({ wallS: 3 + 2 * layers, processorS: 5 + 4 * layers });
  expect(scaleTaken([of(2), of(6)], [2, 6], 32)).toEqual(of(32));
  expect(scaleTaken([of(9)], [9], 9)).toEqual(of(9));
});

test('an experiment on a small shape: every variant is timed, and the parts add up', async () => {
  const result = await benchExperiment({ ...small, peer: false });
  expect(result.schema).toBe('onefet.bench-experiment/1');
  expect(result.variants.map(({ name }) => name)).toEqual([
    'digital',
    'range',
    'recoded',
    'chip 1',
    'chip 2',
  ]);
  const parts = result.variants.flatMap(({ load, pass }) => [load.processorS, pass.processorS]);
  expect(result.whole.processorS).toBeCloseTo(parts.reduce((sum, x) => sum + x, 0));
  expect(result.whole.processorS).toBeGreaterThan(0);
  expect([result.peer, result.overPeer]).toEqual([null, null]);
  expect(benchExperimentText(result)).toContain('1 and 2 blocks run');
});

const recordedOnly = oracleIsLive ? undefined : 'llama.cpp runs in npm run oracle only';
test('llama.cpp takes turns with an experiment', needs(recordedOnly), async () => {
  const result = await benchExperiment({ ...small, peer: true });
  expect(result.peer!.passes.processorS).toBeGreaterThan(0);
  expect(result.overPeer!.processor).toBeGreaterThan(0);
});
