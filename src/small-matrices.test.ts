import { eigs } from 'mathjs';
import { expect, test } from 'vitest';
import { gaussian, streamKey } from './random.ts';
import { symmetricEigen } from './small-matrices.ts';

test('eigenvalues and eigenvectors of a string of masses, known in closed form (Strang 1999, SIAM Review 41)', () => {
  // Tridiagonal -1, 2, -1: values 2 - 2 cos(k pi / (n + 1)), vectors sin(j k pi / (n + 1)).
  const n = 9;
  for (const scale of [1, 1e-24, 1e24]) {
    const matrix = Array.from({ length: n * n }, (_, at) => {
      const distance = Math.abs((at % n) - Math.floor(at / n));
      return distance === 0 ? 2 * scale : distance === 1 ? -scale : 0;
    });
    const { values, vectors } = symmetricEigen(matrix, n);
    for (let r = 0; r < n; r++) {
      const angle = ((n - r) * Math.PI) / (n + 1);
      expect(values[r] / scale).toBeCloseTo(2 - 2 * Math.cos(angle), 13);
      const vector = vectors.subarray(r * n, (r + 1) * n);
      const sign = Math.sign(vector[0]);
      for (let j = 0; j < n; j++) {
        expect(sign * vector[j]).toBeCloseTo(Math.sqrt(2 / (n + 1)) * Math.sin((j + 1) * angle), 13);
      }
    }
  }
});

test('a drawn symmetric matrix against mathjs', () => {
  const n = 12;
  const key = streamKey(7);
  const rows = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) rows[i][j] = rows[j][i] = gaussian(key, n * i + j);
  const { values, vectors } = symmetricEigen(Float64Array.from(rows.flat()), n);
  const theirs = eigs(rows).eigenvectors.sort((p, q) => Number(q.value) - Number(p.value));
  for (let r = 0; r < n; r++) {
    expect(values[r]).toBeCloseTo(Number(theirs[r].value), 10);
    const theirVector = theirs[r].vector as number[];
    const along =
      theirVector.reduce((sum, x, i) => sum + x * vectors[r * n + i], 0) / Math.hypot(...theirVector);
    expect(Math.abs(along)).toBeCloseTo(1, 8);
  }
});
