import { expect, test } from 'vitest';
import { gaussian, gaussians, mix32, streamKey, uniform } from './random.ts';

test('mix32 is a bijection on a sample and matches the published finaliser', () => {
  // lowbias32 of hash-prospector, computed by hand in 32-bit arithmetic from its three steps.
  const reference = (x: number) => {
    let h = BigInt(x);
    const mask = 0xffffffffn;
    h ^= h >> 16n;
    h = (h * 0x7feb352dn) & mask;
    h ^= h >> 15n;
    h = (h * 0x846ca68bn) & mask;
    h ^= h >> 16n;
    return Number(h);
  };
  for (const x of [0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 123456789])
    expect(mix32(x)).toBe(reference(x));
  expect(new Set(Array.from({ length: 100_000 }, (_, i) => mix32(i))).size).toBe(100_000);
});

test('normal draws have the moments and tails of a normal distribution', () => {
  const key = streamKey(1, 2, 3);
  const n = 200_000;
  let [sum, square, cube, fourth, beyond3] = [0, 0, 0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = gaussian(key, i);
    sum += x;
    square += x * x;
    cube += x ** 3;
    fourth += x ** 4;
    if (Math.abs(x) > 3) beyond3++;
  }
  // Four standard errors of each moment.
  expect(Math.abs(sum / n)).toBeLessThan(4 / Math.sqrt(n));
  expect(Math.abs(square / n - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
  expect(Math.abs(cube / n)).toBeLessThan(4 * Math.sqrt(15 / n));
  expect(Math.abs(fourth / n - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
  expect(Math.abs(beyond3 / n - 0.0026998)).toBeLessThan(4 * Math.sqrt(0.0027 / n));
});

test('streams of neighbouring coordinates are uncorrelated, also when shifted', () => {
  const n = 20_000;
  const correlation = (a: ReturnType<typeof streamKey>, b: ReturnType<typeof streamKey>, shift: number) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += (uniform(a, i) - 0.5) * (uniform(b, i + shift) - 0.5) * 12;
    return sum / n;
  };
  const keys = [
    streamKey(1, 0, 0),
    streamKey(1, 0, 1),
    streamKey(1, 1, 0),
    streamKey(2, 0, 0),
    streamKey(0, 1, 0),
  ];
  for (let i = 0; i < keys.length; i++) {
    for (let j = 0; j < i; j++) {
      for (const shift of [0, 1, 2, 256]) {
        expect(Math.abs(correlation(keys[i], keys[j], shift))).toBeLessThan(4.5 / Math.sqrt(n));
      }
    }
  }
  expect(streamKey(1, 2)).not.toEqual(streamKey(2, 1));
});

test('draws by the array are the draws one by one, also of an odd number and from an odd one', () => {
  const key = streamKey(7, 8);
  for (const count of [0, 1, 2, 101]) {
    for (const first of [0, 1, 16, 77]) {
      expect([...gaussians(key, count, 0.3, first)]).toEqual(
        Array.from({ length: count }, (_, i) => 0.3 * gaussian(key, first + i)),
      );
    }
  }
});
