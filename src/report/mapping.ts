/** The report's section on how the weights were mapped: what was chosen and why, and the error step by step. */
import type { MappedMatrixReport, MappingReport } from '../experiment/mapping-report.ts';
import { count, formatSi, plain } from '../format.ts';
import { escapeHtml, tableHtml } from './html.ts';

export function mappingHtml(mapping: MappingReport): string {
  const { method, reasons, text, cellsPerWeight, digitalNumbers, imageSha256, matrices } = mapping;
  const facts = `Method ${method}, ${plain(cellsPerWeight, 4)} cells per weight, ${count(digitalNumbers)} numbers in the digital part; statistics over ${count(text.tokens)} tokens of ${text.file}; image ${imageSha256.slice(0, 12)}.`;
  const { correction } = mapping;
  const corrected = correction
    ? `<p>${escapeHtml(`Every chip is read through its own converters (${count(correction.reads)} conversions a cell${correction.readingS === null ? '' : `, ${formatSi(correction.readingS, 's')} with all tiles at once`}); the scales of its columns and a side path of rank ${correction.rank} are fitted to that.`)}</p>`
    : '';
  const list = reasons.map((reason) => `<li>${escapeHtml(reason)}</li>`).join('');
  const every = tableHtml({
    caption: 'Error of each matrix by step',
    headers: ['Matrix', 'Bits', 'Side', 'Principal', 'Errors'],
    rows: matrices.map(({ name, bits, side, principal, steps }) => [
      name,
      bits,
      side,
      principal,
      steps.map(({ step, error }) => `${step} ${percent(error)}`).join(', '),
    ]),
  });
  return `<p>${escapeHtml(facts)}</p>${corrected}<ul>${list}</ul>${byTensor(matrices)}<details class="screen"><summary>Every matrix</summary>${every}</details>`;
}

const percent = (x: number): string => `${plain(100 * x)} %`;

/** Means over the blocks, of the first step that was measured and of the last. */
function byTensor(matrices: readonly MappedMatrixReport[]): string {
  const groups = Map.groupBy(matrices, ({ name }) => name.slice(name.lastIndexOf('.') + 1));
  const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
  return tableHtml({
    caption: 'Error of the outputs that the codes leave, share of what they vary by, mean over the blocks',
    headers: ['Tensor', 'Matrices', 'Bits', 'Rounded', 'As stored'],
    rows: [...groups].map(([tensor, group]) => {
      const first = group.map(({ steps }) => steps[0]);
      return [
        tensor,
        group.length,
        plain(mean(group.map(({ bits }) => bits)), 3),
        first.every((one) => one?.step === 'scales') ? percent(mean(first.map(({ error }) => error))) : '–',
        percent(mean(group.map(({ steps }) => steps.at(-1)?.error ?? 0))),
      ];
    }),
  });
}
