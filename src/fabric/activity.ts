/**
 * Activity of the hardware during a run: the quantities from which energy, area and time follow. Counted by the
 * fabric while it computes, as sums over the tokens that it processed; nothing here is an estimate.
 */
export interface LayerActivity {
  /** Transformer block, 0-based; -1 for the head. */
  layer: number;
  tensor: string;
  /** N and K of the weight matrix. */
  outputs: number;
  inputs: number;
  /** Bits of its weights on the hardware: a mapping may give some matrices more than the design says. */
  weightBits: number;
  /** Tiles along K, and rows of a full tile. */
  tiles: number;
  tileRows: number;
  /** Tokens that were processed. */
  tokens: number;
}

/** Of analog tiles. */
export interface TileActivity extends LayerActivity {
  /** Differential columns per tile: N, or 2 N where a weight takes two cells. */
  columns: number;
  /** Cell sites: weights times cells per weight. */
  cells: number;
  /** Cells whose drain is connected (weight code not zero). */
  connectedCells: number;
  /** Integration phases per conversion: 2 for `integrate`, `two-conversion`; 1 for `paired-rows`. */
  phases: number;
  /** Sum over tokens, tiles, columns and phases of the current of both bit lines, A. */
  sumCurrentA: number;
  /** Sum over tokens and phases of rows driven on (input code not zero). */
  sumActiveRows: number;
  /** Input conversions: rows whose level was set, summed over tokens (each counted once, whatever the phases). */
  dacConversions: number;
  /** ADC conversions, summed over tokens, tiles and columns. */
  adcConversions: number;
  /** ADC conversions that clipped. */
  adcClipped: number;
}

/** Of digital multiply-accumulate units. */
export interface MacActivity extends LayerActivity {
  /** Products formed, summed over tokens. */
  macs: number;
}

/** Of selectors of products. */
export interface RoutedActivity extends LayerActivity {
  /** Products selected and added, summed over tokens. */
  selections: number;
  /** Inputs whose products were computed, summed over tokens. */
  productSets: number;
}

/** Of weights that are wires. */
export interface HardwiredActivity extends LayerActivity {
  /** Weights that are not zero, and the nonzero canonical signed digits of all. */
  connected: number;
  digits: number;
}

export interface Activity<L extends LayerActivity = LayerActivity> {
  /** One entry per layer that the fabric computes. */
  layers: L[];
}

/** Sets the counters of a layer back to zero. */
export function resetActivity(activity: LayerActivity, counters: readonly string[]): void {
  const counts = activity as unknown as Record<string, number>;
  for (const key of counters) counts[key] = 0;
}

/** Adds the counters of the same layers over windows or chips, in the order given; the rest is that of the first. */
export function addActivity(
  parts: readonly (readonly LayerActivity[])[],
  counters: readonly string[],
): LayerActivity[] {
  const sums = parts[0].map((layer) => ({ ...layer }));
  for (const part of parts.slice(1)) {
    for (const [i, sum] of sums.entries()) {
      const into = sum as unknown as Record<string, number>;
      const from = part[i] as unknown as Record<string, number>;
      for (const key of counters) into[key] += from[key];
    }
  }
  return sums;
}
