/** A mapped matrix as the tiles hold it: codes by row and physical column, a weight of 6 bits as two cells 8 hi + lo. */
import { type HardwareWeights, type WeightTile, weightFormat } from '../tile/weight-code.ts';
import type { MappedMatrix } from './map-matrix.ts';

/** `error` is the relative output error of the mapping: its inverse is reported as the coding's signal-to-noise ratio. */
export function hardwareWeights(mapped: MappedMatrix, error: number): HardwareWeights {
  const { outputs, inputs, tileRows, codes } = mapped;
  const format = weightFormat(mapped.bits);
  const cells = format.cellWeights.length;
  const columns = outputs * cells;
  const count = Math.ceil(inputs / tileRows);
  let zeros = 0;
  const tiles = Array.from({ length: count }, (_, t): WeightTile => {
    const rowStart = t * tileRows;
    const rows = Math.min(tileRows, inputs - rowStart);
    const tile = new Int8Array(rows * columns);
    const scales = new Float32Array(outputs);
    for (let n = 0; n < outputs; n++) {
      scales[n] = mapped.scales[n * count + t];
      for (let j = 0; j < rows; j++) {
        const code = codes[n * inputs + rowStart + j];
        if (code === 0) zeros++;
        const at = j * columns + n;
        tile[at] = cells === 1 ? code : code % 8;
        if (cells === 2) tile[at + outputs] = Math.trunc(code / 8);
      }
    }
    return { rowStart, rows, codes: tile, scales };
  });
  return {
    format,
    outputs,
    inputs,
    columns,
    tiles,
    codingSnrDb: error > 0 ? -10 * Math.log10(error) : Number.POSITIVE_INFINITY,
    zeroShare: zeros / (outputs * inputs),
  };
}
