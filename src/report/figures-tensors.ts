/** Maps of layer by tensor: where weights fit their codes, and what a mapping leaves. */
import type { MappingReport } from '../experiment/mapping-report.ts';
import type { LowestSnr, MatrixSnr, RunResult } from '../experiment/result.ts';
import { plain } from '../format.ts';
import type { Figure } from './figure.ts';
import { plotText } from './html.ts';

interface Field {
  readonly layer: number;
  readonly tensor: string;
  readonly value: number | null;
}

/** Numbers stand in the fields while they can be read. */
const MOST_NUMBERED_LAYERS = 10;

type MapOf = Pick<Figure, 'data' | 'layout' | 'height' | 'phoneHeight' | 'rows'>;

/** Layers across, tensors down in the order in which they first appear. */
function mapOf(
  fields: readonly Field[],
  unit: string,
  better: 'higher' | 'lower',
  range?: readonly [number, number],
): MapOf {
  const layers = [...new Set(fields.map(({ layer }) => layer))].sort((a, b) => a - b);
  const tensors = [...new Set(fields.map(({ tensor }) => tensor))].reverse();
  const value = new Map(fields.map((field) => [`${field.layer} ${field.tensor}`, field.value]));
  const z = tensors.map((tensor) => layers.map((layer) => value.get(`${layer} ${tensor}`) ?? null));
  const numbered = layers.length <= MOST_NUMBERED_LAYERS;
  return {
    data: [
      {
        type: 'heatmap',
        x: layers,
        y: tensors.map((tensor) => `${plotText(tensor)} `),
        z,
        xgap: 1,
        ygap: 1,
        colorscale: 'Cividis',
        reversescale: better === 'lower',
        ...(range ? { zmin: range[0], zmax: range[1] } : {}),
        ...(numbered
          ? { text: z.map((row) => row.map((v) => (v === null ? '' : plain(v, 3)))), texttemplate: '%{text}' }
          : {}),
        colorbar: { title: { text: plotText(unit), side: 'top' }, thickness: 12, outlinewidth: 0 },
        hovertemplate: `layer %{x}, %{y}<br>%{z:.3g} ${plotText(unit)}<extra></extra>`,
      },
    ],
    layout: {
      xaxis: {
        title: { text: 'Layer (number)' },
        ...(numbered ? { type: 'category' } : {}),
        showgrid: false,
        zeroline: false,
      },
      yaxis: { showgrid: false, type: 'category' },
    },
    height: 130 + 34 * tensors.length,
    phoneHeight: 150 + 32 * tensors.length,
    rows: fields.map((field) => ({ layer: field.layer, tensor: field.tensor, [unit]: field.value })),
  };
}

/** Undefined where every weight is exact. */
export function codingMap({ coding }: RunResult): Figure | undefined {
  const lossy = coding.flatMap(({ codingSnrDb, layer, tensor }) =>
    codingSnrDb === null ? [] : [{ snrDb: codingSnrDb, layer, tensor }],
  );
  if (lossy.length === 0) return undefined;
  const mean = lossy.reduce((sum, { snrDb }) => sum + snrDb, 0) / lossy.length;
  const worst = lossy.reduce((a, b) => (b.snrDb < a.snrDb ? b : a));
  return {
    id: 'coding',
    title: 'Coding loss, layer by tensor: how well the weights fit the codes',
    caption: `Signal to coding error of each weight matrix: ${plain(mean)} dB on average; the lowest is ${worst.tensor} of layer ${worst.layer} with ${plain(worst.snrDb)} dB. Higher (lighter) is better; 6 dB is one bit.`,
    ...mapOf(
      coding.map(({ layer, tensor, codingSnrDb }) => ({ layer, tensor, value: codingSnrDb })),
      'SNR (dB)',
      'higher',
    ),
    table: {
      caption: 'Coding by tensor',
      headers: ['Tensor', 'Layer', 'Outputs × inputs', 'Bits', 'SNR', 'Zero weights'],
      rows: coding.map((c) => [
        c.tensor,
        c.layer,
        `${c.outputs} × ${c.inputs}`,
        c.bits,
        c.codingSnrDb === null ? 'exact' : `${c.codingSnrDb.toFixed(2)} dB`,
        `${(c.zeroShare * 100).toFixed(1)} %`,
      ]),
    },
  };
}

/** Share of the matrices below which colours differ: the best few, which are far off, would leave one colour for the others. */
const COLOURED = 0.95;

/** What each matrix of the chips gives, by its own error and along the stream. */
export function snrMaps({ layerSnr, chips }: RunResult): Figure[] {
  const { matrices, lowest, positions } = layerSnr;
  if (lowest.local === null || lowest.stream === null) return [];
  const db = (value: number | null) => (value === null ? 'no error' : `${value.toFixed(2)} dB`);
  const map = (
    id: string,
    title: string,
    what: string,
    key: keyof MatrixSnr,
    { matrix, layer }: LowestSnr,
  ): Figure => {
    const seen = matrices.flatMap(({ chips }) => chips[key] ?? []).sort((a, b) => a - b);
    return {
      id,
      title,
      caption: `${what} (${positions} positions, ${chips.length} ${chips.length === 1 ? 'chip' : 'chips'}). The lowest is ${matrix.tensor} of layer ${matrix.layer} with ${plain(matrix.snrDb, 3)} dB; the layer with most error is ${layer.layer}, ${plain(layer.snrDb, 3)} dB. Higher (lighter) is better.`,
      ...mapOf(
        matrices.map(({ layer, tensor, chips }) => ({ layer, tensor, value: chips[key] })),
        'SNR (dB)',
        'higher',
        [seen[0], seen[Math.ceil(COLOURED * seen.length) - 1]],
      ),
      rows: matrices.map(({ layer, tensor, recoded, chips }) => ({
        ...{ layer, tensor, 'chips, SNR (dB)': chips[key], 'recoded, SNR (dB)': recoded[key] },
      })),
      table: {
        caption: 'Signal-to-noise ratio of outputs',
        headers: ['Tensor', 'Layer', 'Chips', 'Recoded weights'],
        rows: matrices.map(({ layer, tensor, recoded, chips }) => [
          ...[tensor, layer, db(chips[key]), db(recoded[key])],
        ]),
      },
    };
  };
  return [
    map(
      'snr-local',
      'Error of each matrix by itself, layer by tensor',
      'Energy of what each matrix of the digital model gives over that of what the chips add, both on the inputs of the digital model: the error that the matrix makes itself',
      'localDb',
      lowest.local,
    ),
    map(
      'snr-stream',
      'Errors along the stream, layer by tensor',
      'The same where each matrix of the chips reads what those before it made: its own error and all that came before',
      'streamDb',
      lowest.stream,
    ),
  ];
}

/** Error of the outputs that the codes leave, as stored. */
export function mappingMap({ matrices }: MappingReport): Figure | undefined {
  const fields = matrices.flatMap(({ name, steps }) => {
    const [, layer, tensor] = /^blk\.(\d+)\.(.+)$/.exec(name) ?? [];
    const error = steps.at(-1)?.error;
    return tensor === undefined || error === undefined
      ? []
      : [{ layer: Number(layer), tensor, value: 100 * error }];
  });
  if (fields.length === 0) return undefined;
  const worst = fields.reduce((a, b) => (b.value > a.value ? b : a));
  return {
    id: 'mapping-error',
    screenOnly: true,
    title: 'Error of the mapped weights, layer by tensor',
    caption: `Error of the outputs of each matrix that its codes leave, as a share of what the outputs vary by: most in ${worst.tensor} of layer ${worst.layer}, ${plain(worst.value)} %. Lower (lighter) is better.`,
    ...mapOf(fields, 'error (%)', 'lower'),
    table: {
      caption: 'Error of each matrix, as stored',
      headers: ['Layer', 'Tensor', 'Error (%)'],
      rows: fields.map(({ layer, tensor, value }) => [layer, tensor, plain(value)]),
    },
  };
}
