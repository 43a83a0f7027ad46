/** What a mapping came to: per matrix, per tensor over all blocks, and in all. */
import type { WeightBits } from '../tile/weight-code.ts';
import type { MappedMatrix, MapStep, MatrixReport } from './map-matrix.ts';

export interface MatrixLine {
  /** blk.0.attn_q */
  readonly name: string;
  readonly bits: WeightBits;
  readonly weights: number;
  /** Transistors, zeros included. */
  readonly cells: number;
  /** Numbers that the digital part holds for it: scales, centre, side paths. */
  readonly digitalNumbers: number;
  /** Relative output error, and after each step that was measured. */
  readonly error: number;
  readonly steps: readonly MapStep[];
  /** Share of weights with code zero, and with the largest magnitude. */
  readonly zeroShare: number;
  readonly largestShare: number;
}

export interface MappingSummary {
  readonly weights: number;
  readonly cells: number;
  readonly cellsPerWeight: number;
  readonly digitalNumbers: number;
  /** Mean over the matrices. */
  readonly error: number;
  /** The same by tensor, blocks taken together. */
  readonly errorByTensor: Readonly<Record<string, number>>;
}

export function matrixLine(name: string, mapped: MappedMatrix, report: MatrixReport): MatrixLine {
  const weights = mapped.outputs * mapped.inputs;
  const { magnitudes } = report;
  const { centre, side, principal } = mapped;
  const arrays = [
    mapped.scales,
    centre?.mean,
    centre?.addend,
    side?.down,
    side?.up,
    principal?.down,
    principal?.up,
  ];
  return {
    name,
    bits: mapped.bits,
    weights,
    cells: report.cells,
    digitalNumbers: arrays.reduce((sum, array) => sum + (array?.length ?? 0), 0),
    error: report.error,
    steps: report.steps,
    zeroShare: magnitudes[0] / weights,
    largestShare: magnitudes[magnitudes.length - 1] / weights,
  };
}

export function summarise(lines: readonly MatrixLine[]): MappingSummary {
  const sum = (of: (line: MatrixLine) => number): number =>
    lines.reduce((total, line) => total + of(line), 0);
  const byTensor = Map.groupBy(lines, ({ name }) => name.slice(name.lastIndexOf('.') + 1));
  const mean = (some: readonly MatrixLine[]): number =>
    some.reduce((total, { error }) => total + error, 0) / (some.length || 1);
  const weights = sum((line) => line.weights);
  const cells = sum((line) => line.cells);
  return {
    weights,
    cells,
    cellsPerWeight: weights > 0 ? cells / weights : 0,
    digitalNumbers: sum((line) => line.digitalNumbers),
    error: mean(lines),
    errorByTensor: Object.fromEntries([...byTensor].map(([tensor, some]) => [tensor, mean(some)])),
  };
}
