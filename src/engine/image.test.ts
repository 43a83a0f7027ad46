/**
 * Engines on chip images: with all errors off they compute the mapped weights, put back into the model's own basis, and
 * the fast engine agrees with the scalar one on chips.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { buildDigital } from '../fabric/digital.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import { loadFabric } from '../fabric/registry.ts';
import { mappedLinear } from '../mapping/apply.ts';
import { rotateRows, rotationOf, unrotateRows } from '../mapping/hadamard.ts';
import type { ImageReader } from '../mapping/image.ts';
import { gainKey, type MappingMethod } from '../mapping/map-model.ts';
import { METHODS } from '../mapping/method.ts';
import { modelSource } from '../mapping/model-source.ts';
import { forward, newSession } from '../model/forward.ts';
import { buildLayers, type Model, openModel } from '../model/model.ts';
import { runText } from '../testing/engines.ts';
import { testImage } from '../testing/images.ts';
import { fixtureModel } from '../testing/models.ts';
import type { WeightBits } from '../tile/weight-code.ts';

let model: Model;
beforeAll(() => {
  model = openModel(fixtureModel('tiny'));
});
afterAll(() => model.close());

const ids = Int32Array.from({ length: 20 }, (_, i) => (i * 131 + 7) % 500);
const everything: MappingMethod = {
  ...METHODS.rotated,
  name: 'everything',
  principal: 4,
  coding: { ...METHODS.rotated.coding, rank: 5 },
};
const ENGINES = [['scalar', 1e-5]] as const;
const CHOICES = [
  ['round', METHODS.round],
  ['centred', METHODS.centred],
  ['scaled', METHODS.scaled],
  ['rotated', METHODS.rotated],
  ['everything', everything],
] as const;
const TILE_ROWS = 40;
const fabricOf = (...own: string[]): Fabric =>
  loadFabric(loadDesign('log-domain', [`tile.rows=${TILE_ROWS}`, ...own]).design).withoutNoise();

const BITS: Readonly<Record<string, (tensor: string) => WeightBits>> = {
  '3': () => 3,
  '4': () => 4,
  '6': () => 6,
  mixed: (tensor) => (tensor === 'attn_k' || tensor === 'attn_v' ? 6 : tensor === 'ffn_gate' ? 3 : 4),
};
const imageOf = (name: string, method: MappingMethod, bits: string): Promise<ImageReader> =>
  testImage(`tiny-${name}-${bits}`, model, { method, tileRows: TILE_ROWS, bits: BITS[bits] });

/**
 * Logits of the mapped weights as matrices and biases of an ordinary model: what an image's matrix does to every unit
 * vector, between the rotations and gains that belong to it.
 */
function effectiveLogits(image: ImageReader): Float32Array[] {
  const { shape } = model;
  const source = modelSource(model, () => {
    throw new Error('not asked for');
  });
  const residual = image.header.residual && rotationOf(image.header.residual);
  const effective = (name: LinearName) => {
    const { reads, gives } = shape.architecture.matrices[name.ordinal];
    const apply = mappedLinear(image.readMatrix(tensorKey(name)));
    const own = source.gain(name.layer, reads);
    const mapped = own && image.readVector(gainKey(name.layer, reads));
    return (y: Float32Array, a: Float32Array) => {
      const x = own ? a.map((value, j) => value / own[j]) : a.slice();
      if (own && residual) rotateRows(x, 1, residual);
      apply(y, mapped ? x.map((value, j) => value * mapped[j]) : x);
      if (residual && (gives.includes('attention') || gives.includes('feed-forward'))) {
        unrotateRows(y, 1, residual);
      }
    };
  };
  const layers = buildLayers(model, (name, outputs, inputs, row) => {
    if (name.layer < 0) return buildDigital(name, outputs, inputs, row);
    const apply = effective(name);
    const columns = Array.from({ length: inputs + 1 }, (_, j) => {
      const y = new Float32Array(outputs);
      const unit = new Float32Array(inputs);
      if (j < inputs) unit[j] = 1;
      apply(y, unit);
      return y;
    });
    const bias = columns[inputs];
    const matrix = buildDigital(name, outputs, inputs, (n, out) => {
      for (let j = 0; j < inputs; j++) out[j] = columns[j][n] - bias[n];
    });
    return {
      ...matrix,
      apply(y, a, at) {
        matrix.apply(y, a, at);
        for (let n = 0; n < outputs; n++) y[n] += bias[n];
      },
    };
  });
  const session = newSession(model, layers, ids.length);
  return Array.from(ids, (id, position) => forward(session, id, { window: 0, position }).slice());
}

/** Largest difference over the largest logit. */
function difference(found: readonly Float32Array[], expected: readonly Float32Array[]): number {
  let most = 0;
  let size = 0;
  found.forEach((logits, p) => {
    logits.forEach((x, i) => {
      most = Math.max(most, Math.abs(x - expected[p][i]));
      size = Math.max(size, Math.abs(expected[p][i]));
    });
  });
  return most / size;
}

describe.each(CHOICES)('method %s', (name, method) => {
  test.each(Object.keys(BITS))(
    '%s bits: with all errors off, the mapped weights in the model',
    async (bits) => {
      const image = await imageOf(name, method, bits);
      const expected = effectiveLogits(image);
      const fabric = fabricOf();
      for (const [engine, bound] of ENGINES) {
        const found = await runText(engine, { model, fabric, mode: 'mapped', image }, ids);
        expect(difference(found.logits, expected)).toBeLessThan(bound);
      }
      image.close();
    },
  );
});
