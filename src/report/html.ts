/**
 * Building HTML from strings that nobody has checked: every value passes through `escapeHtml`, every JSON block
 * through `scriptJson`, every text inside a plot through `plotText`.
 */

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** JSON that may stand inside a script element: no `<`, so no end tag and no comment. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll('<', '\\u003c')
    .replaceAll('>', '\\u003e')
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029');
}

/** Plotly reads a few HTML tags in its labels, links among them: none may come from data. */
export function plotText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Breaks a text for a plot's label or hover box into lines of at most `width` characters, words too that are longer; escapes it. */
export function wrapPlotText(text: string, width: number): string {
  const lines: string[] = [];
  let line = '';
  const words = text.split(/\s+/).flatMap((word) => {
    const letters = [...word];
    return letters.length <= width ? [word] : pieces(letters, width);
  });
  for (const word of words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  if (line !== '') lines.push(line);
  return lines.map(plotText).join('<br>');
}

const pieces = (letters: readonly string[], width: number): string[] =>
  Array.from({ length: Math.ceil(letters.length / width) }, (_, i) =>
    letters.slice(i * width, (i + 1) * width).join(''),
  );

/** A cell is text, or HTML that this code has built. */
export type Cell = string | number | { html: string };

export interface Table {
  caption: string;
  headers: string[];
  rows: Cell[][];
}

function cellHtml(cell: Cell): string {
  if (typeof cell === 'object') return cell.html;
  return escapeHtml(String(cell));
}

/** A table that scrolls sideways inside its own box on a narrow screen; the first column heads its row. */
export function tableHtml({ caption, headers, rows }: Table): string {
  const numeric = headers.map((_, i) =>
    rows.every((row) => typeof row[i] === 'number' || isQuantity(row[i])),
  );
  const head = headers
    .map((h, i) => `<th scope="col"${numeric[i] ? ' class="number"' : ''}>${escapeHtml(h)}</th>`)
    .join('');
  const body = rows
    .map((row) => {
      const cells = row.map((cell, i) => {
        const attribute = numeric[i] ? ' class="number"' : '';
        return i === 0
          ? `<th scope="row"${attribute}>${cellHtml(cell)}</th>`
          : `<td${attribute}>${cellHtml(cell)}</td>`;
      });
      return `<tr>${cells.join('')}</tr>`;
    })
    .join('\n');
  const label = escapeHtml(caption);
  // A short table stays on one page of paper.
  const size = rows.length <= 12 ? ' short' : '';
  return `<div class="table${size}" role="region" aria-label="${label}" tabindex="0"><table><caption><span>${label}</span></caption><thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>`;
}

/** "1.33 pJ", "-4.1 %", "0.034": text that reads as a number, for alignment. */
function isQuantity(cell: Cell | undefined): boolean {
  return typeof cell === 'string' && /^[-−]?[\d.,]+(e[-+]?\d+)?( ?[%\wµ/²]{1,8})?$/.test(cell);
}

/** Names and values, a line each. */
export function factsHtml(facts: readonly (readonly [string, string])[]): string {
  const list = facts.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`);
  return `<dl class="facts">${list.join('')}</dl>`;
}
