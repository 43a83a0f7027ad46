/** Rows of `onefet power` as lines for people. */
import { readingSeconds } from '../experiment/planned-mapping.ts';
import { displayPath } from '../files.ts';
import { formatSi, plain } from '../format.ts';
import type { PowerRow } from './power.ts';
import type { powerRecord } from './records.ts';

type PowerRecord = ReturnType<typeof powerRecord>;

const joule = (value: number): string => formatSi(value, 'J');
const rate = (value: number): string => Math.round(value).toLocaleString('en-US');
const dollars = (value: number): string => `$${plain(value, 2)}`;

interface Column {
  readonly title: string;
  readonly text: (row: PowerRecord) => string;
}

/** A figure with its band; '-' where there is none. */
function banded(row: PowerRecord, key: string, text: (value: number) => string): string {
  const value = row[key];
  if (typeof value !== 'number') return '-';
  const [low, high] = [row[`${key}_low`], row[`${key}_high`]];
  if (typeof low !== 'number' || typeof high !== 'number' || low === high) return text(value);
  return `${text(value)} (${text(low)} to ${text(high)})`;
}

const COLUMNS: readonly Column[] = [
  { title: 'design', text: ({ design }) => String(design) },
  { title: 'context', text: ({ contextTokens }) => String(contextTokens ?? '-') },
  { title: 'J/token, one user', text: (row) => banded(row, 'oneUserJPerToken', joule) },
  { title: 'J/token, full', text: (row) => banded(row, 'fullJPerToken', joule) },
  { title: 'tokens/s, one user', text: (row) => banded(row, 'oneUserTokensPerSecond', rate) },
  { title: 'tokens/s, full', text: (row) => banded(row, 'fullTokensPerSecond', rate) },
  { title: 'limit', text: ({ limit }) => String(limit ?? '-') },
  { title: 'mm2', text: (row) => banded(row, 'areaMm2', rate) },
  { title: 'dies', text: ({ dies }) => String(dies ?? '-') },
  { title: '$/Mtoken', text: (row) => banded(row, 'usdPerMtoken', dollars) },
  { title: 'KL seen', text: ({ klSeen }) => (typeof klSeen === 'number' ? plain(klSeen, 2) : '-') },
];

export const powerTable = (records: readonly PowerRecord[]): string[] =>
  textTable([
    COLUMNS.map(({ title }) => title),
    ...records.map((row) => COLUMNS.map(({ text }) => text(row))),
  ]);

/** Rows of cells, the first of titles, in columns. */
export function textTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  );
}

/** What stands under the table: model, bands, accuracy, sources, warnings. */
export function powerNotes(rows: readonly PowerRow[], records: readonly PowerRecord[]): string[] {
  const [first] = rows;
  const subjects = [...new Set(rows.map(({ subject }) => subject))];
  const seen = records.filter(({ accuracySeenOn }) => typeof accuracySeenOn === 'string');
  const once = <T>(list: readonly T[]): T[] => [...new Set(list)];
  return [
    `Model ${first.cost.shape.name}. In brackets: 5th to 95th percentile over the bands of all constants (${first.cost.bands.draws} draws); of $/Mtoken: every input at its low or high end; of published systems: as published.`,
    ...once(
      seen.map(
        ({ accuracySeenOn, design, klSeen, perplexityRatioSeen, perplexity8B_low, perplexity8B_high }) => {
          const ratio =
            typeof perplexityRatioSeen === 'number' ? `, perplexity x ${perplexityRatioSeen.toFixed(3)}` : '';
          const estimate =
            typeof perplexity8B_low === 'number' && typeof perplexity8B_high === 'number'
              ? `; Llama 3.1 8B: perplexity 6.40 -> ${perplexity8B_low.toFixed(2)} to ${perplexity8B_high.toFixed(2)}, an estimate`
              : '';
          return `Accuracy of ${design}, seen on ${accuracySeenOn}: KL ${plain(Number(klSeen), 2)}${ratio}${estimate}`;
        },
      ),
    ),
    ...subjects
      .filter(({ found }) => !found.sameDesign)
      .map(
        ({ name }) =>
          `Accuracy of ${name}: not known, its counts are of a run that differs in what does not count; run it`,
      ),
    ...once(
      rows.flatMap(({ price, subject }) =>
        typeof price === 'string' ? [`$/Mtoken of ${subject.name}: ${price}`] : [],
      ),
    ),
    ...subjects.flatMap(({ name, fabric, run }) => {
      const seconds = readingSeconds(fabric, run.ranges);
      return seconds === null
        ? []
        : [
            `${name}: each chip is read cell by cell before it is used, ${formatSi(seconds, 's')} with all tiles at once`,
          ];
    }),
    ...subjects.map(({ name, found }) => `Counts of ${name}: ${found.source}`),
    `Constants: ${once(subjects.map(({ constants }) => displayPath(constants.file))).join(', ')}; every line with its formula and source: --json`,
    ...once(
      rows.flatMap(({ subject, warnings }) => warnings.map((text) => `WARNING: ${subject.name}: ${text}`)),
    ),
  ];
}
