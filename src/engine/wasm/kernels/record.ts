/**
 * Range calibration: what `convert` does with real-valued converters and no noise, and a histogram of |D|.
 *
 *   D = (raw - zero_c) gain_c gain_t + offset_c,  y += D scale_c out_t,  bins[bin(|D|)]++
 *
 * bin: RANGE_BINS_PER_OCTAVE bins per octave from 2^RANGE_LOWEST up, by the leading bits of the f32; below and above
 * fall into the first and last. Columns from `columns` on (the padding of the last panel) are not counted.
 */
import {
  define,
  defineNamed,
  f32x4,
  type I32,
  i32,
  i32x4,
  load,
  store,
  type WatFunction,
} from '../../../emit/wat.ts';
import { TOKEN, TOKEN_BYTES } from './adc.ts';
import { PANEL_COLUMNS } from './gemm.ts';

const MANTISSA_BITS = 7;
const RANGE_BINS_PER_OCTAVE = 2 ** MANTISSA_BITS;
/** 2^-14 of one cell's full-scale current is far below any converter's step; 2^11 is more than a tile's rows give. */
const RANGE_LOWEST = -14;
const RANGE_OCTAVES = 26;
export const RANGE_BINS = RANGE_OCTAVES * RANGE_BINS_PER_OCTAVE;
/** Words of a tile's record: the bins, then the largest sum of currents. */
export const RANGE_WORDS = RANGE_BINS + 16;
const SHIFT = 23 - MANTISSA_BITS;
const FIRST = (127 + RANGE_LOWEST) << MANTISSA_BITS;

/** Upper edge of a bin. */
export function rangeEdge(bin: number): number {
  const octave = Math.floor(bin / RANGE_BINS_PER_OCTAVE);
  return 2 ** (RANGE_LOWEST + octave) * (1 + ((bin % RANGE_BINS_PER_OCTAVE) + 1) / RANGE_BINS_PER_OCTAVE);
}

export const RECORD_OPERANDS = ['raw', 'table', 'tokens', 'y', 'count', 'bins', 'columns'] as const;

export function record(): WatFunction {
  return defineNamed('record', RECORD_OPERANDS, (f, p) => {
    const { raw, table, tokens, y, count, bins, columns } = p;
    const value = f.local('v128', 'value');
    const bin = f.local('i32', 'bin');
    f.countdown(count, () => {
      for (let n = 0; n < PANEL_COLUMNS / 4; n++) {
        const sum = f32x4.ofI32(
          i32x4.sub(load.v128(raw.get, 16 * n), load.v128(table.get, 16 * n, 'tables')),
        );
        const gain = f32x4.mul(
          load.v128(table.get, 64 + 16 * n, 'tables'),
          load.splat32(tokens.get, TOKEN.gain),
        );
        f.set(value, f32x4.add(f32x4.mul(sum, gain), load.v128(table.get, 128 + 16 * n, 'tables')));
        const unit = f32x4.mul(
          load.v128(table.get, 192 + 16 * n, 'tables'),
          load.splat32(tokens.get, TOKEN.out),
        );
        f.emit(store.v128(y.get, f32x4.add(load.v128(y.get, 16 * n), f32x4.mul(value.get, unit)), 16 * n));
        for (let lane = 0; lane < 4; lane++) {
          f.when(i32.lessThan(i32.of(4 * n + lane), columns.get), () => {
            const bits = i32.and(i32x4.extract(value.get, lane), 0x7fffffff);
            f.set(bin, i32.sub(i32.shrU(bits, SHIFT), FIRST));
            f.when(i32.lessThan(bin.get, i32.of(0)), () => f.set(bin, i32.of(0)));
            f.when(i32.greaterOrEqual(bin.get, i32.of(RANGE_BINS)), () => f.set(bin, i32.of(RANGE_BINS - 1)));
            const at: I32 = i32.add(bins.get, i32.shl(bin.get, 2));
            f.emit(store.i32(at, i32.add(load.i32(at), 1)));
          });
        }
      }
      f.advance(raw, PANEL_COLUMNS * 4);
      f.advance(y, PANEL_COLUMNS * 4);
      f.advance(tokens, TOKEN_BYTES);
    });
  });
}

/** peak = the largest of it and current[count][16] i32, of the first `columns` columns. */
export function watch(): WatFunction {
  return define('watch', ['current', 'count', 'peak', 'columns'], (f, current, count, peak, columns) => {
    const most = f.local('i32', 'most');
    f.set(most, load.i32(peak.get));
    f.countdown(count, () => {
      for (let n = 0; n < PANEL_COLUMNS; n++) {
        const value = load.i32(current.get, 4 * n);
        f.when(i32.and(i32.lessThan(i32.of(n), columns.get), i32.lessThan(most.get, value)), () =>
          f.set(most, value),
        );
      }
      f.advance(current, PANEL_COLUMNS * 4);
    });
    f.emit(store.i32(peak.get, most.get));
  });
}
