/**
 * What the hardware did during a run: the quantities from which energy, area and time follow. Counted by the
 * fabric while it computes, as sums over the tokens that it processed; nothing here is an estimate.
 */
export interface LayerActivity {
  /** Transformer block, 0-based; -1 for the head. */
  layer: number;
  tensor: string;
  /** N and K of the weight matrix. */
  outputs: number;
  inputs: number;
  /** Tiles along K, and rows of a full tile. */
  tiles: number;
  tileRows: number;
  /** Differential columns per tile: N, or 2 N where a weight takes two cells. */
  columns: number;
  /** Cell sites: weights times cells per weight. */
  cells: number;
  /** Cells whose drain is connected (weight code not zero). */
  connectedCells: number;
  /** Integration phases per conversion: 2 for `integrate`, `two-conversion`; 1 for `paired-rows`. */
  phases: number;
  /** Tokens that were processed. */
  tokens: number;
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

export interface Activity {
  /** One entry per analog linear layer. */
  layers: LayerActivity[];
}
