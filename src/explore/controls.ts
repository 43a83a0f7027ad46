/** The controls of the explorer: what can be chosen for a design at a node, and why something cannot. */
import type { FlatDesign } from './accuracy.ts';

export type Settings = Readonly<Record<string, string | number>>;

/** One place of a control. */
export interface Stop {
  readonly label: string;
  /** Overrides that it stands for. */
  readonly settings: Settings;
}

export interface Control {
  readonly id: string;
  readonly label: string;
  /** Fabrics whose designs have it. */
  readonly fabrics: readonly string[];
  readonly stops: readonly Stop[];
}

const numbers = (key: string, values: readonly number[], unit = ''): Stop[] =>
  values.map((value) => ({ label: `${value}${unit}`, settings: { [key]: value } }));

const words = (key: string, values: readonly string[]): Stop[] =>
  values.map((value) => ({ label: value, settings: { [key]: value } }));

const gate = (label: string, widthM: number, lengthM: number): Stop => ({
  label,
  settings: { 'gate.widthM': widthM, 'gate.lengthM': lengthM },
});

const ALL = ['log-domain', 'routed', 'mask-rom', 'hardwired', 'digital', 'gpu'];

/** Gates and rows are those of the measured surface, experiments/gallery/surface.yaml. */
export const CONTROLS: readonly Control[] = [
  {
    id: 'gate',
    label: 'Gate of the cell',
    fabrics: ['log-domain'],
    stops: [
      gate('0.2/0.1 um', 0.2e-6, 0.1e-6),
      gate('0.4/0.2 um', 0.4e-6, 0.2e-6),
      { label: "the cell's own", settings: { 'gate.widthM': 'cell', 'gate.lengthM': 'cell' } },
      gate('1.12/0.56 um', 1.12e-6, 0.56e-6),
    ],
  },
  {
    id: 'rows',
    label: 'Rows of a tile',
    fabrics: ['log-domain'],
    stops: numbers('tile.rows', [128, 256, 512]),
  },
  {
    id: 'bits',
    label: 'Bits of the converters',
    fabrics: ['log-domain'],
    stops: numbers('adc.bits', [5, 6, 7, 8, 9, 10]),
  },
  {
    id: 'sharing',
    label: 'Columns that share a converter',
    fabrics: ['log-domain'],
    stops: numbers('adc.columnsShared', [1, 2, 4, 8, 16, 32, 64, 128]),
  },
  {
    id: 'levels',
    label: 'Levels told by',
    fabrics: ['mask-rom'],
    stops: words('rom.levels', ['current', 'connection']),
  },
  {
    id: 'cellArea',
    label: 'Area of a cell, smallest gates',
    fabrics: ['mask-rom'],
    stops: numbers('rom.cellArea', [1, 2, 4, 8, 16, 32]),
  },
  {
    id: 'arithmetic',
    label: 'Wired arithmetic',
    fabrics: ['hardwired'],
    stops: words('wires.arithmetic', ['grouped', 'csd']),
  },
  { id: 'kv', label: 'Bits of the cache', fabrics: ALL, stops: numbers('kvBits', [8, 16]) },
];

export const CONTEXTS: readonly number[] = [
  128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072,
];
export const USERS: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/** The stop at which a design stands as it is; -1: at none. */
export const ownStop = ({ stops }: Pick<Control, 'stops'>, design: FlatDesign): number =>
  stops.findIndex(({ settings }) => Object.entries(settings).every(([key, value]) => design[key] === value));
