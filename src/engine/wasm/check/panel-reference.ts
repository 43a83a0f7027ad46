import { roundHalfEven } from '../../integers.ts';
import { normalCoefficients } from '../kernels/hash.ts';
import type { Epilogue } from '../kernels/panel-job.ts';
import { INPUT_ZERO } from '../kernels/prepare.ts';

const f = Math.fround;

/** kernels/hash.ts, `hash`. */
export function referenceHash(counter: number, a: number, b: number): number {
  let h = (counter + a) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d) ^ b;
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) | 0;
}

/** kernels/hash.ts, `normal`. */
export function referenceNormal(bits: number): number {
  const sum = ((bits << 24) >> 24) + ((bits << 16) >> 24) + ((bits << 8) >> 24) + (bits >> 24) + 2;
  const [linear, cubic] = normalCoefficients().map(f);
  return f(sum * f(linear + f(f(sum * sum) * cubic)));
}

/** Everything about one panel; arrays as documented. */
export interface PanelCase {
  readonly cells: number;
  readonly tiles: number;
  /** Rows of each tile of a cell. */
  readonly rows: readonly number[];
  readonly rank: number;
  readonly planes: 1 | 2;
  readonly count: number;
  readonly column: number;
  readonly columnsPerCell: number;
  /** [cell][tile][rank][row][16] weights, -127..127. */
  readonly weights: readonly (readonly (readonly Int8Array[])[])[];
  /** [tile][token][rank][row] inputs: +-63 or +-8191. */
  readonly inputs: readonly (readonly (readonly Int32Array[])[])[];
  /** [tile][token][row] magnitudes 0..127. */
  readonly magnitudes: readonly (readonly Int32Array[])[];
  /** [cell][tile][3][16] gain, offset, scale. */
  readonly columns: readonly (readonly Float32Array[])[];
  /** [cell][tile][token] */
  readonly tokens: readonly (readonly (readonly TokenCase[])[])[];
  /** [cell][tile] */
  readonly tileTable: readonly (readonly TileCase[])[];
}
export interface TokenCase {
  readonly keyA: number;
  readonly keyB: number;
  readonly gain: number;
  readonly out: number;
  readonly floor: number;
  readonly slow: number;
  readonly sigma: number;
  readonly current: number;
}
export interface TileCase {
  readonly slowKeyA: number;
  readonly slowKeyB: number;
  readonly perCurrent: number;
  readonly top: number;
}

/** Integer sums of a panel, [cell][tile][token][16]: what all epilogues begin with. */
export interface PanelSums {
  readonly raw: Float64Array;
  /** Magnitudes of the first part's weights times those of the inputs. */
  readonly current: Float64Array;
}

export function referenceSums(c: PanelCase): PanelSums {
  const raw = new Float64Array(c.cells * c.tiles * c.count * 16);
  const current = new Float64Array(raw.length);
  let at = 0;
  for (let cell = 0; cell < c.cells; cell++) {
    for (let tile = 0; tile < c.tiles; tile++) {
      for (let token = 0; token < c.count; token++, at += 16) {
        for (let r = 0; r < c.rank; r++) {
          const w = c.weights[cell][tile][r];
          const x = c.inputs[tile][token][r];
          const magnitudes = c.magnitudes[tile][token];
          for (let j = 0; j < c.rows[tile]; j++) {
            for (let n = 0; n < 16; n++) {
              raw[at + n] += w[j * 16 + n] * x[j];
              if (r === 0) current[at + n] += Math.abs(w[j * 16 + n]) * magnitudes[j];
            }
          }
        }
      }
    }
  }
  return { raw, current };
}

/** kernels/panel.ts: y[tokens][16], and the conversions that clipped. */
export function referencePanel(
  c: PanelCase,
  epilogue: Epilogue,
  { raw, current } = referenceSums(c),
): { y: Float32Array; clipped: number } {
  const y = new Float32Array(c.count * 16);
  let clipped = 0;
  for (let cell = 0; cell < c.cells; cell++) {
    for (let tile = 0; tile < c.tiles; tile++) {
      const columns = c.columns[cell][tile];
      const table = c.tileTable[cell][tile];
      const weightSums = sumColumns(c.weights[cell][tile][0]);
      for (let token = 0; token < c.count; token++) {
        const at = c.tokens[cell][tile][token];
        for (let n = 0; n < 16; n++) {
          const place = ((cell * c.tiles + tile) * c.count + token) * 16 + n;
          const sum = f(raw[place]);
          if (epilogue === 'accumulate' || epilogue === 'blocks') {
            y[token * 16 + n] += f(sum * f(columns[n] * at.out));
            continue;
          }
          let value = f(f(sum * f(columns[n] * at.gain)) + columns[16 + n]);
          if (typeof epilogue !== 'string' && epilogue.noise !== 'off') {
            const index = c.column + cell * c.columnsPerCell + n;
            const slow = referenceNormal(referenceHash(index, table.slowKeyA, table.slowKeyB));
            const z = f(referenceNormal(referenceHash(index, at.keyA, at.keyB)) + f(slow * at.slow));
            const drawn = epilogue.noise === 'column' ? f(weightSums[n] * at.current) : f(current[place]);
            const sigma =
              epilogue.noise === 'token' ? at.sigma : f(Math.sqrt(f(f(drawn * table.perCurrent) + at.floor)));
            value = f(value + f(z * sigma));
          }
          if (typeof epilogue !== 'string' && !epilogue.float) {
            const rounded = roundHalfEven(value);
            value = Math.max(-table.top, Math.min(table.top, rounded));
            if (value !== rounded) clipped++;
          }
          y[token * 16 + n] += f(value * f(columns[32 + n] * at.out));
        }
      }
    }
  }
  return { y, clipped };
}

/** Sums of |w| of the columns of w [rows][16]. */
export function sumColumns(w: Int8Array): Float64Array {
  const sums = new Float64Array(16);
  w.forEach((value, i) => {
    sums[i & 15] += Math.abs(value);
  });
  return sums;
}

/** kernels/encode.ts for one token and tile without noise: x [rank][rows], magnitudes, and the sums; levels up to `idle` drive no row. */
export function referenceEncode(
  a: Float32Array,
  scale: number,
  top: number,
  table: readonly Float32Array[] | undefined,
  idle = 0,
): { x: Int32Array[]; magnitude: Int32Array; sum: number; active: number } {
  const rank = table ? table.length - 1 : 1;
  const x = Array.from({ length: rank }, () => new Int32Array(a.length));
  const magnitude = new Int32Array(a.length);
  const inverse = scale > 0 ? f(top / f(scale)) : 0;
  let sum = 0;
  let active = 0;
  a.forEach((value, j) => {
    if (!table) {
      x[0][j] = roundHalfEven(f(value * inverse));
      return;
    }
    const level = roundHalfEven(f(Math.abs(value) * inverse));
    const sign = Object.is(value, -0) || value < 0 ? -1 : 1;
    for (let r = 0; r < rank; r++) x[r][j] = sign * roundHalfEven(table[r][level]);
    magnitude[j] = table[rank][level];
    sum += magnitude[j];
    if (level > idle) active++;
  });
  return { x, magnitude, sum, active };
}

/** Unsigned bytes of an input, most significant plane first. */
export function splitPlanes(x: number, planes: 1 | 2): number[] {
  return planes === 1 ? [x + INPUT_ZERO] : [(x >> 7) + INPUT_ZERO, x & 127];
}
