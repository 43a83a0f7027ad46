/**
 * The WGSL panel product against the scalar reference of the WebAssembly kernels (wasm/check/panel-reference.ts), on the
 * first GPU; with ONEFET_GPU=software on a driver that computes on the processor, which takes a minute. Skipped, with the
 * reason printed, where Dawn or a driver is missing.
 */
import { env } from 'node:process';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { bits32, streamKey } from '../../random.ts';
import { needs } from '../../testing/needs.ts';
import { BYTE_TOP, SMALL_WEIGHT } from '../integers.ts';
import { drawCellsCase } from '../wasm/check/cells-case.ts';
import { referencePanel } from '../wasm/check/panel-reference.ts';
import { type Gpu, openGpu } from './adapter.ts';
import { drawLayer, type LayerShape, type Scalars } from './layer-case.ts';
import { uploadMatrix } from './panel.ts';
import { chunkQuads, type PanelVariant } from './panel-wgsl.ts';

let gpu: Gpu | undefined;
let reason = '';
try {
  gpu = await openGpu({ software: env.ONEFET_GPU === 'software' });
} catch (error) {
  reason = (error as Error).message;
}
afterAll(() => gpu?.close());

/** Numbers of cells that use the whole range of 16 bits. */
function formatOf(seed: number, rank: number, planes: 1 | 2) {
  const key = streamKey(seed, 1);
  let next = 0;
  const integer = (low: number, high: number) => low + (bits32(key, next++) % (high - low + 1));
  return drawCellsCase(integer, [8], 1, rank, planes === 1 ? SMALL_WEIGHT : BYTE_TOP).format;
}

const shapes = {
  outputs: fc.integer({ min: 1, max: 4 }).map((n) => 16 * n),
  rows: fc
    .record({
      full: fc.integer({ min: 1, max: 40 }).map((n) => 8 * n),
      tiles: fc.integer({ min: 1, max: 3 }),
      last: fc.integer({ min: 1, max: 320 }),
    })
    .map(({ full, tiles, last }) => [...Array<number>(tiles - 1).fill(full), Math.min(full, last)]),
  cells: fc.integer({ min: 1, max: 2 }),
  count: fc.integer({ min: 1, max: 20 }),
  ladderColumns: fc.constantFrom(16, 32, 64),
  seed: fc.integer(),
};
const RUNS = 12;

async function compare(
  variant: PanelVariant,
  shape: LayerShape,
  seed: number,
  scalars: Scalars | undefined,
  visit: (found: number, expected: number) => void,
): Promise<{ found: number; expected: number }> {
  const layer = drawLayer(shape, formatOf(seed, variant.rank, variant.planes), seed, scalars);
  const matrix = await uploadMatrix(gpu!.device, variant, layer.matrix);
  try {
    const { y, clipped } = await matrix.multiply(layer.inputs);
    let expectedClips = 0;
    for (let panel = 0; panel < shape.outputs / 16; panel++) {
      const expected = referencePanel(layer.panel(panel), variant);
      expectedClips += expected.clipped;
      for (let t = 0; t < shape.count; t++)
        for (let n = 0; n < 16; n++) visit(y[t * shape.outputs + panel * 16 + n], expected.y[t * 16 + n]);
    }
    return { found: clipped, expected: expectedClips };
  } finally {
    matrix.close();
  }
}

// A driver on the processor takes seconds to compile a variant.
const all = ([1, 2] as const).flatMap((planes) => [1, 2, 3].map((rank) => ({ planes, rank })));
const variants = gpu?.software ? all.filter(({ planes, rank }) => planes === rank) : all;
const conversions = (['off', 'token', 'product'] as const).flatMap((noise) =>
  [false, true].map((float) => ({ noise, float })),
);

describe('the WGSL panel product', needs(gpu ? undefined : reason), () => {
  test.each(variants)('rank $rank, $planes planes: the bare sums are the exact integers', async (of) => {
    const bare: Scalars = { gain: () => 1, offset: () => 0, scale: () => 1, out: () => 1 };
    const property = fc.asyncProperty(fc.record(shapes), async ({ seed, ...shape }) => {
      const variant: PanelVariant = { ...of, noise: 'off', float: true };
      await compare(variant, { ...shape, ...of }, seed, bare, (found, expected) => {
        expect(found).toBe(expected);
      });
    });
    await fc.assert(property, { numRuns: RUNS });
  });

  test.each(gpu?.software ? conversions.slice(4) : conversions)(
    'noise $noise, float $float: conversions are those of the reference',
    async ({ noise, float }) => {
      let compared = 0;
      let others = 0;
      const property = fc.asyncProperty(
        fc.record({ ...shapes, of: fc.constantFrom(...variants) }),
        async ({ seed, of, ...shape }) => {
          const variant: PanelVariant = { ...of, noise, float };
          const clips = await compare(variant, { ...shape, ...of }, seed, undefined, (found, expected) => {
            compared++;
            // A sum of up to 6 terms below 256 (float: below 1e5), each rounded to 24 bits.
            if (Math.abs(found - expected) > (float ? 0.05 : 1e-3)) others++;
          });
          if (others === 0) expect(clips.found).toBe(clips.expected);
        },
      );
      await fc.assert(property, { numRuns: RUNS });
      expect(compared).toBeGreaterThan(1000);
      // A value within some 1e-6 of the middle between two codes may round to the other one.
      expect(others / compared).toBeLessThan(float ? 1e-9 : 1e-4);
    },
  );

  test('a chunk of quads fits the memory that every device has', () => {
    for (const rank of [1, 2, 3, 4]) {
      for (const noise of ['off', 'product'] as const) {
        const quads = chunkQuads({ rank, planes: 2, noise, float: false });
        expect(quads).toBeGreaterThan(16);
        expect(64 * quads * (rank + (noise === 'product' ? 1 : 0))).toBeLessThanOrEqual(16384);
      }
    }
  });

  test('a matrix beyond the device is refused by size', async () => {
    const shape = {
      outputs: 16,
      rows: [8],
      cells: 1,
      rank: 1,
      planes: 1,
      count: 1,
      ladderColumns: 16,
    } as const;
    const { matrix } = drawLayer(shape, formatOf(1, 1, 1), 1);
    const { limits } = gpu!.device;
    const small = new Proxy(gpu!.device, {
      get: (device, name) => {
        if (name === 'limits') return { ...limits, maxBufferSize: 16, maxStorageBufferBindingSize: 16 };
        const value = Reflect.get(device, name);
        return typeof value === 'function' ? value.bind(device) : value;
      },
    });
    const variant = { rank: 1, planes: 1, noise: 'off', float: true } as const;
    await expect(uploadMatrix(small, variant, matrix)).rejects.toThrow(/beyond the GPU's 16/);
  });
});

test('without Dawn or a driver the reason is said', () => {
  if (!gpu) expect(reason).toMatch(/no WebGPU here: \S/);
});
