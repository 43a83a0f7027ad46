/**
 * Column ADC: signed, mid-tread, b bits, with a static gain and offset error per column.
 *
 *   code = clip(round((D (1 + gainError) + offset) / lsb), +-(2^(b-1) - 1)),   lsb = fullScale / (2^(b-1) - 1)
 *
 * D and the full scale are in units of one cell's full-scale current. `float` passes D through.
 */
export interface AdcFormat {
  readonly bits: number | 'float';
  /** Largest code, 2^(b-1) - 1. */
  readonly top: number;
}

export function adcFormat(bits: number | 'float'): AdcFormat {
  return { bits, top: bits === 'float' ? 0 : 2 ** (bits - 1) - 1 };
}

/** Converts one column value; returns the code (or the value itself for a float ADC). */
export function convert(value: number, fullScale: number, format: AdcFormat): number {
  if (format.bits === 'float') return value;
  const code = Math.round((value * format.top) / fullScale);
  return Math.max(-format.top, Math.min(format.top, code));
}

/** Full scale of the converters of a tile from what its columns were seen to carry. */
export interface RangeHistogram {
  /** Counts of |D| by bin; bin 0 is |D| < RANGE_SMALLEST, then BINS_PER_DECADE bins a decade. */
  readonly counts: Float64Array;
  total: number;
  largest: number;
  /** Largest common-mode current I+ + I- of a column and phase: what the clamp must carry. */
  largestCommonMode: number;
}

/** |D| below this is one bin: a millionth of one cell is far below any ADC step. */
const RANGE_SMALLEST = 1e-6;
/** 400 bins a decade: the quantile is known to 0.6 %, less than the step from one ADC design to the next. */
const BINS_PER_DECADE = 400;
/** Up to 10^6 cells on a column. */
const DECADES = 12;

export function newRangeHistogram(): RangeHistogram {
  return {
    counts: new Float64Array(1 + BINS_PER_DECADE * DECADES),
    total: 0,
    largest: 0,
    largestCommonMode: 0,
  };
}

export function recordRange(histogram: RangeHistogram, value: number): void {
  const magnitude = Math.abs(value);
  const bin =
    magnitude < RANGE_SMALLEST ? 0 : 1 + Math.floor(Math.log10(magnitude / RANGE_SMALLEST) * BINS_PER_DECADE);
  histogram.counts[Math.min(bin, histogram.counts.length - 1)]++;
  histogram.total++;
  if (magnitude > histogram.largest) histogram.largest = magnitude;
}

/** The upper edge of the bin that holds the quantile of |D|, at most the largest value seen. */
export function rangeQuantile(histogram: RangeHistogram, quantile: number): number {
  if (histogram.total === 0) return 1;
  let below = 0;
  for (let bin = 0; bin < histogram.counts.length; bin++) {
    below += histogram.counts[bin];
    if (below >= quantile * histogram.total) {
      const edge = RANGE_SMALLEST * 10 ** (bin / BINS_PER_DECADE);
      return Math.max(RANGE_SMALLEST, Math.min(edge, histogram.largest));
    }
  }
  return histogram.largest;
}

/** Bins that hold something, each with a value in its middle (of logarithms); 0 of the bin of the smallest. */
export function* rangeBins({ counts }: RangeHistogram): Generator<{ value: number; count: number }> {
  for (const [bin, count] of counts.entries()) {
    if (count > 0)
      yield { value: bin === 0 ? 0 : RANGE_SMALLEST * 10 ** ((bin - 0.5) / BINS_PER_DECADE), count };
  }
}
