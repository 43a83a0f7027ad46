/** What can be asked of `onefet optimise`, and what is done where nothing is said. */
import { DESIGN_DEFAULTS, EMBEDDED_MODEL, EMBEDDED_TEXT } from '../experiment/options.ts';
import type { Settings } from '../sweep/keys.ts';

export const MINIMISED = ['energy', 'area', 'cost'] as const;
export type Minimised = (typeof MINIMISED)[number];

export interface OptimiseOptions {
  /** Largest KL to the digital model that will do, nats. */
  readonly kl: number;
  /** Of the projected 8B: energy per token of one user, silicon, or money for a million tokens. */
  readonly minimise: Minimised;
  readonly over: readonly string[];
  /** `key=a,b,c`: levels of an axis. */
  readonly levels: readonly string[];
  /** Design, model, seed and keys that all points have in common. */
  readonly base: Settings;
  /** The text that points are chosen on. */
  readonly selectText: string;
  /** The text that is reported. */
  readonly text: string;
  /** Chips and windows of the last rung, on the text of the choice. */
  readonly chips: number;
  readonly maxWindows: number;
  /** On the reported text; undefined windows: all. */
  readonly reportChips: number;
  readonly reportWindows: number | undefined;
  /** Candidates of the first rung beside the base's own. */
  readonly points: number;
  readonly rungs: number;
  /** Share of the first candidates of a rung that goes on to the next, above 0 and at most 1. */
  readonly kept: number;
  readonly rounds: number;
  readonly seed: number;
  readonly threads: number;
  readonly out: string;
}

/** A text that comes with onefet, is of the embedded model's kind, and is never reported. */
export const SELECT_TEXT = 'experiments/texts/calibration.txt';

export const OPTIMISE_DEFAULTS: OptimiseOptions = {
  kl: 0.1,
  minimise: 'energy',
  over: ['device', 'tile.rows', 'adc', 'sharing', 'fullScaleA'],
  levels: [],
  base: { design: DESIGN_DEFAULTS.design, model: EMBEDDED_MODEL },
  selectText: SELECT_TEXT,
  text: EMBEDDED_TEXT,
  chips: 2,
  maxWindows: 4,
  reportChips: 4,
  reportWindows: undefined,
  points: 16,
  rungs: 3,
  // Successive halving.
  kept: 0.5,
  rounds: 3,
  seed: DESIGN_DEFAULTS.seed,
  threads: DESIGN_DEFAULTS.threads,
  out: DESIGN_DEFAULTS.out,
};
