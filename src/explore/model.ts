/**
 * What the explorer's page computes: the cost of a design at a state of its controls, by the functions of `onefet power`, and the
 * accuracy that was measured of it. The page runs this very file (bundle.ts), on the files that the command read.
 */
import type { ChipCost } from '../cost/priced-design.ts';
import type { CostBands } from '../cost/report.ts';
import { OnefetError } from '../error.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { loadAt, type UserLoad } from '../power/curves.ts';
import { type StoredActivities, storedActivities } from '../power/find-activity.ts';
import { designAtNode, loadNode } from '../power/nodes.ts';
import { costAt, type PowerSubject, powerRows, subjectOf, type TokenPrice } from '../power/power.ts';
import {
  type AccuracyPoint,
  type FlatDesign,
  type FoundAccuracy,
  findAccuracy,
  flatDesign,
} from './accuracy.ts';
import type { Settings, Stop } from './controls.ts';

/** Where the controls stand. */
export interface ExplorerState {
  /** Name of a design, and of the node that all of it is of (experiments/nodes.yaml). */
  readonly design: string;
  readonly node: string;
  /** Overrides by key. */
  readonly settings: Settings;
  readonly contextTokens: number;
  readonly users: number;
  /** On which the accuracy was measured. */
  readonly model: string;
}

export interface ExplorerAnswer {
  readonly name: string;
  readonly cost: ChipCost;
  readonly load: UserLoad;
  /** null: no design of this fabric was measured on the model. */
  readonly accuracy: FoundAccuracy | null;
  /** The design, by every key that decides what it computes. */
  readonly design: FlatDesign;
  readonly warnings: readonly string[];
  /** Of the counts. */
  readonly source: string;
  /** The command that prints the same. */
  readonly command: string;
}

export interface ExplorerBands {
  readonly bands: CostBands;
  /** A string: why there is none. */
  readonly price: TokenPrice | string;
}

export interface Explorer {
  /** Errors: those of `onefet power`, ACTIVITY_MISSING and NODE_DESIGN among them. */
  answer(state: ExplorerState): ExplorerAnswer;
  /** What was measured at the stops of a control, all else being as in `design`; undefined where nothing was. */
  along(design: FlatDesign, stops: readonly Stop[], model: string): readonly (AccuracyPoint | undefined)[];
  /** Slower: every constant is drawn from its band. */
  bands(state: ExplorerState): ExplorerBands;
}

export interface ExplorerOptions {
  readonly accuracy: readonly AccuracyPoint[];
  /** Where runs are, whose counts are used beside the shipped ones. */
  readonly runs: string;
}

/** Cost and accuracy of Llama 3.1 8B on designs; subjects are made once each. */
export function createExplorer({ accuracy, runs }: ExplorerOptions): Explorer {
  const shape = LLAMA_3_1_8B;
  let stored: StoredActivities | undefined;
  const subjects = new Map<string, PowerSubject | OnefetError>();
  const subjectAt = (state: ExplorerState): PowerSubject => {
    const key = JSON.stringify([state.design, state.node, settingsOf(state)]);
    const found = subjects.get(key) ?? makeSubject(state);
    subjects.set(key, found);
    if (found instanceof OnefetError) throw found;
    return found;
  };
  const makeSubject = (state: ExplorerState): PowerSubject | OnefetError => {
    try {
      const { design, settings } = designAtNode(loadNode(state.node), state.design);
      stored ??= storedActivities(runs);
      return subjectOf(design, [...settings, ...settingsOf(state)], runs, stored);
    } catch (error) {
      if (error instanceof OnefetError) return error;
      throw error;
    }
  };
  return {
    answer: (state) => {
      const subject = subjectAt(state);
      const cost = costAt(subject, shape, state.contextTokens);
      const design = flatDesign(subject.fabric.design);
      return {
        name: subject.name,
        cost,
        load: loadAt({ subject, shape, cost }, state.users),
        accuracy: findAccuracy(design, accuracy, state.model) ?? null,
        design,
        warnings: [...(subject.found.warning ? [subject.found.warning] : []), ...cost.warnings],
        source: subject.found.source,
        command: commandOf(state),
      };
    },
    along: (design, stops, model) =>
      stops.map(({ settings }) => {
        const found = findAccuracy({ ...design, ...settings }, accuracy, model);
        return found?.differences.length === 0 ? found.point : undefined;
      }),
    bands: (state) => {
      const [{ cost, price }] = powerRows([subjectAt(state)], { shape, contexts: [state.contextTokens] });
      return { bands: cost.bands, price };
    },
  };
}

const settingsOf = ({ settings }: ExplorerState): string[] =>
  Object.entries(settings).map(([key, value]) => `${key}=${value}`);

function commandOf(state: ExplorerState): string {
  const { design, node, contextTokens } = state;
  const set = settingsOf(state).map((setting) => ` --set ${setting}`);
  return `onefet power --design ${design} --node ${node}${set.join('')} --context ${contextTokens}`;
}
