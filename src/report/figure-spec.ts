/** A figure of a page: what plotly draws, one sentence that says what to see, and the same numbers as a table. */
import type { CsvValue } from '../csv.ts';
import type { Table } from './html.ts';

/** A line of a figure's CSV; the names carry the units. */
export type FigureRow = Readonly<Record<string, CsvValue>>;

export interface Figure {
  id: string;
  title: string;
  /** One plain sentence: what the reader should see. */
  caption: string;
  data: Record<string, unknown>[];
  layout: Record<string, unknown>;
  /** Not printed: a table on paper says the same. */
  screenOnly?: boolean;
  /** Height in CSS pixels on a desktop, and on a phone where it differs. */
  height: number;
  phoneHeight?: number;
  table: Table;
  /** Numbers of the CSV, where they are not those of the marks: bands, for one. */
  rows?: readonly FigureRow[];
}

/** Files that a figure is written as. */
export const FIGURE_FORMATS = ['svg', 'png', 'csv'] as const;
export type FigureFormat = (typeof FIGURE_FORMATS)[number];
