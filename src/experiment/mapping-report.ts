/** What an image says of the mapping that it is: of a result, `onefet map --json` and `onefet inspect`. */
import type { MappingWork } from '../cost/components/mapping.ts';
import type { ImageReader } from '../mapping/image.ts';
import type { MapStep } from '../mapping/map-matrix.ts';
import { weightFormat } from '../tile/weight-code.ts';

export interface MappedMatrixReport {
  /** Tensor key: blk.0.attn_q. */
  name: string;
  outputs: number;
  inputs: number;
  bits: number;
  /** Ranks of the side path and of the principal part; 0 is none. */
  side: number;
  principal: number;
  /** Fast transform before the row drivers. */
  rotatedOnline: boolean;
  centred: boolean;
  /** Relative errors of the outputs on the calibration text after each step that was measured. */
  steps: { step: MapStep['step']; error: number }[];
}

export interface MappingReport {
  method: string;
  settings: Record<string, unknown>;
  /** Why, a sentence per choice. */
  reasons: string[];
  /** Digest of the image. */
  imageSha256: string;
  text: { file: string; sha256: string; tokens: number };
  /** Transistors per weight, zeros included. */
  cellsPerWeight: number;
  /** Numbers that the digital part holds beside the codes: means, addends, side and principal paths, scales apart. */
  digitalNumbers: number;
  /** The stream is rotated before the first block and back behind the last. */
  residualRotated: boolean;
  matrices: MappedMatrixReport[];
  /** Full scales of the converters in the image: of which fabric, and by which text. */
  ranges: { fabric: string; file: string; tokens: number } | null;
  /** Of single chips; null where they run on the image as it is. */
  correction: CorrectionReport | null;
}

export interface CorrectionReport {
  /** Of a chip's own side path, which takes the place of the image's. */
  rank: number;
  /** Conversions per cell. */
  reads: number;
  /** Reading a chip, all tiles at once; null where that is not known yet. */
  readingS: number | null;
}

export function mappingReport(
  image: Pick<ImageReader, 'header' | 'matrices' | 'sha256' | 'ranges'>,
): MappingReport {
  const { header, matrices, ranges } = image;
  let [weights, cells, digitalNumbers] = [0, 0, 0];
  const reports = [...matrices.values()].map((meta): MappedMatrixReport => {
    const { name, outputs, inputs, bits, side, principal, centre, rotation } = meta;
    weights += outputs * inputs;
    cells += outputs * inputs * weightFormat(bits).cellWeights.length;
    digitalNumbers += (centre ? outputs + inputs : 0) + (side + principal) * (outputs + inputs);
    return {
      name,
      outputs,
      inputs,
      bits,
      side,
      principal,
      rotatedOnline: rotation?.online === true,
      centred: centre,
      steps: [...meta.steps],
    };
  });
  const { name, sha256, tokens } = header.text;
  return {
    method: header.method.name,
    settings: header.method.settings,
    reasons: [...header.method.reasons],
    imageSha256: image.sha256,
    text: { file: name, sha256, tokens },
    cellsPerWeight: cells / weights,
    digitalNumbers,
    residualRotated: header.residual !== null,
    matrices: reports,
    ranges: ranges ? { fabric: ranges.fabric, file: ranges.text.name, tokens: ranges.text.tokens } : null,
    correction: null,
  };
}

/** Rank that would cost as much on every matrix: adapters may be on some of them only. */
function meanSideRank(matrices: readonly MappedMatrixReport[]): number {
  let [paths, all] = [0, 0];
  for (const { side, outputs, inputs } of matrices) {
    paths += side * (outputs + inputs);
    all += outputs + inputs;
  }
  return paths / all;
}

/** What of a mapping the digital part does for every token. */
export function mappingWork({ matrices, residualRotated, correction }: MappingReport): MappingWork {
  return {
    centred: matrices.some(({ centred }) => centred),
    rotatedOnline: matrices.some(({ rotatedOnline }) => rotatedOnline),
    residualRotated,
    side: correction?.rank ?? meanSideRank(matrices),
    principal: Math.max(...matrices.map(({ principal }) => principal)),
  };
}
