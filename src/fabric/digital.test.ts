/** The digital fabric against a direct sum in double precision. */
import { describe, expect, test } from 'vitest';
import { memoryLimitBytes } from '../memory.ts';
import { gaussian, streamKey } from '../random.ts';
import { buildDigital } from './build-digital.ts';

describe('digital linear layer', () => {
  const at = { window: 0, position: 0 };

  test.each([1, 3, 4, 64, 86, 172])('K = %i: rows times activations, overwriting y', (inputs) => {
    const key = streamKey(1, inputs);
    const rows = Array.from({ length: 5 }, (_, n) =>
      Float32Array.from({ length: inputs }, (_, k) => gaussian(key, n * inputs + k)),
    );
    const a = Float32Array.from({ length: inputs }, (_, k) => gaussian(key, 5000 + k));
    const linear = buildDigital({ layer: 0, tensor: 'attn_q', ordinal: 0, count: 7 }, 5, inputs, (n, out) =>
      out.set(rows[n]),
    );
    const y = new Float32Array(5).fill(7);
    linear.apply(y, a, at);
    for (const [n, row] of rows.entries()) {
      const direct = row.reduce((sum, w, k) => sum + w * a[k], 0);
      // Rounding to float32 is all that separates the two.
      expect(Math.abs(y[n] - direct)).toBeLessThanOrEqual(2 ** -24 * Math.abs(direct) + 1e-12);
    }
  });

  test('a matrix larger than the machine is refused before it is allocated', () => {
    const inputs = 2 ** 16;
    const outputs = Math.ceil(memoryLimitBytes() / (4 * inputs)) + 1;
    const build = () =>
      buildDigital({ layer: 3, tensor: 'ffn_up', ordinal: 5, count: 7 }, outputs, inputs, () =>
        expect.unreachable(),
      );
    expect(build).toThrowError(
      expect.objectContaining({
        kind: 'usage',
        code: 'MEMORY',
        message: expect.stringContaining('ffn_up of layer 3'),
      }),
    );
  });
});
