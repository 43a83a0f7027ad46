/**
 * What designs cost at a shape and contexts, from stored activity: no weight is read and no token computed.
 */
import { join } from 'node:path';
import type { Overrides } from '../config.ts';
import { priceAtPoint } from '../cost/chip.ts';
import { type CostConstants, loadCostConstants } from '../cost/constants.ts';
import { type EconomicsReport, projectEconomics, SCENARIOS } from '../cost/economics.ts';
import type { ChipCost, PricedDesign } from '../cost/priced-design.ts';
import type { CostReport } from '../cost/report.ts';
import { OnefetError } from '../error.ts';
import { ACTIVITY_FILE, readActivity, shapeOfActivity } from '../experiment/activity-file.ts';
import { DESIGN_DEFAULTS } from '../experiment/options.ts';
import { plannedMappingWork, requireCorrectable } from '../experiment/planned-mapping.ts';
import { type CountedRun, priceRun, priceRunDesign, tileWarnings } from '../experiment/price.ts';
import type { Activity } from '../fabric/activity.ts';
import type { CommonDesign } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA_3_1_8B, type NamedShape } from '../model/shapes.ts';
import {
  bindNamed,
  designThatRan,
  type FoundActivity,
  findActivity,
  type StoredActivities,
  storedActivities,
} from './find-activity.ts';

/** Tokens of context where none are said. */
export const DEFAULT_CONTEXT = 1024;

/** A design with what a run of it counted. */
export interface PowerSubject {
  /** Its name, with what was changed. */
  readonly name: string;
  /** Name or file of the design, from which it can be loaded with other settings. */
  readonly design: string;
  readonly settings: readonly string[];
  readonly fabric: Fabric;
  readonly constants: CostConstants;
  readonly run: CountedRun;
  readonly found: FoundActivity;
}

/** Dollars for a million tokens. */
export interface TokenPrice {
  readonly low: number;
  readonly mid: number;
  readonly high: number;
  /** Of a chip that is made; a GPU is rented. */
  readonly economics: EconomicsReport | null;
  readonly formula: string;
}

export interface PowerRow {
  readonly subject: PowerSubject;
  readonly shape: NamedShape;
  readonly cost: CostReport;
  /** Why there is none: a string. */
  readonly price: TokenPrice | string;
  readonly warnings: readonly string[];
}

/** Binds a design to its stored activity. Errors: those of a design; MAPPING_CORRECTION, ACTIVITY_MISSING. */
export function subjectOf(
  design: string,
  settings: readonly string[],
  runs: string,
  stored: StoredActivities = storedActivities(runs),
): PowerSubject {
  const { loaded, fabric } = bindNamed(design, settings);
  requireCorrectable(fabric);
  const found = findActivity(loaded, fabric, runs, stored);
  const changes = Object.entries(loaded.overrides).map(([key, value]) => ` ${key}=${value}`);
  return bind(`${loaded.design.name}${changes.join('')}`, { design, settings }, fabric, found);
}

/** A run folder as a subject. Errors: FILE_UNREADABLE, ACTIVITY_INVALID. */
export function subjectOfRun(folder: string): PowerSubject {
  const path = join(folder, ACTIVITY_FILE);
  const activity = readActivity(path);
  const design = designThatRan(activity);
  if (design === undefined) {
    throw new OnefetError(
      'input',
      'ACTIVITY_INVALID',
      `${path}: its design is of another version of onefet`,
      {
        hint: `run it again: onefet ${activity.command.join(' ')}`,
      },
    );
  }
  const source = `${path}: onefet ${activity.command.join(' ')}`;
  const changes = Object.entries(activity.design.overrides).map(([key, value]) => ` ${key}=${value}`);
  const settings = Object.entries(activity.design.overrides).map(([key, value]) => `${key}=${value}`);
  return bind(
    `${activity.design.name}${changes.join('')}`,
    { design: activity.design.name, settings },
    loadFabric(design),
    {
      ...{ activity, path, source },
      ...{ sameDesign: true, sameMapping: true },
    },
  );
}

function bind(
  name: string,
  from: Pick<PowerSubject, 'design' | 'settings'>,
  fabric: Fabric,
  found: FoundActivity,
): PowerSubject {
  const { design } = fabric;
  return {
    name,
    ...from,
    fabric,
    constants: loadCostConstants(design.process, design.costs),
    run: countedRun(found, fabric),
    found,
  };
}

/** A mapping that the run did not have is priced as the design asks for it. */
function countedRun({ activity: stored, path, sameMapping }: FoundActivity, fabric: Fabric): CountedRun {
  const shape = shapeOfActivity(stored, path);
  const { method } = stored.design.resolved.mapping as CommonDesign['mapping'];
  const work = stored.mapping;
  return {
    fabric,
    activity: { layers: stored.layers } as Activity,
    ranges: stored.ranges,
    mapping: sameMapping ? work : plannedMappingWork(fabric.design, shape, { method, work }),
    shape,
  };
}

export interface PowerQuestion {
  /** A name below experiments/designs, or a file; default: log-domain. */
  readonly design?: string | undefined;
  readonly overrides?: Overrides | undefined;
  /** Tokens of context; default: 1,024. */
  readonly contexts?: readonly number[] | undefined;
  /** Default: Llama 3.1 8B. */
  readonly shape?: NamedShape | undefined;
  /** Where run folders are, for the counts of a design that ran; default: `runs`. */
  readonly runs?: string | undefined;
}

/**
 * Prices a design at contexts, from the counts of a stored run; nothing is computed.
 *
 *     import { power } from 'onefet';
 *     for (const { cost } of power({ contexts: [512, 8192] })) console.log(cost.contextTokens, cost.perTokenJ);
 *
 * Errors: those of a design; ACTIVITY_MISSING.
 */
export function power({
  design = DESIGN_DEFAULTS.design,
  overrides = {},
  contexts = [DEFAULT_CONTEXT],
  shape = LLAMA_3_1_8B,
  runs = 'runs',
}: PowerQuestion = {}): PowerRow[] {
  const settings = Object.entries(overrides).map(([key, value]) => `${key}=${value}`);
  return powerRows([subjectOf(design, settings, runs)], { shape, contexts });
}

export interface PowerOptions {
  /** undefined: the model that ran. */
  readonly shape: NamedShape | undefined;
  readonly contexts: readonly number[];
  /** Of the bands; the default is that of the cost. */
  readonly draws?: number | undefined;
}

/** Prices each subject at each context, subjects outside. */
export function powerRows(subjects: readonly PowerSubject[], options: PowerOptions): PowerRow[] {
  return subjects.flatMap((subject) =>
    options.contexts.map((contextTokens) => {
      const to = options.shape ?? subject.run.shape;
      const cost = priceRun(subject.run, to, subject.constants, {
        contextTokens,
        ...(options.draws === undefined ? {} : { draws: options.draws }),
      });
      return {
        subject,
        shape: to,
        cost,
        price: priceTokens(subject, cost),
        warnings: [
          ...(subject.found.warning ? [subject.found.warning] : []),
          ...tileWarnings(subject.run),
          ...cost.warnings,
        ],
      };
    }),
  );
}

/** The design of a subject at a shape, to price it at single points. */
export function designAt(subject: PowerSubject, shape: NamedShape): PricedDesign {
  return priceRunDesign(subject.run, shape);
}

/** The cost of a subject at one point. */
export function costAt(subject: PowerSubject, shape: NamedShape, contextTokens: number): ChipCost {
  return priceAtPoint(designAt(subject, shape), shape, subject.constants, contextTokens);
}

/** A GPU is rented by the hour and fully loaded; a chip is made. */
function priceTokens({ fabric, constants }: PowerSubject, cost: CostReport): TokenPrice | string {
  const rate = cost.tokensPerSecondAggregate;
  if (!(rate > 0)) return `no tokens: ${cost.binding} binds`;
  if (fabric.kind === 'gpu') {
    const { gpuUsdPerHour } = constants.economics;
    const usd = (hour: number) => (hour / 3600 / rate) * 1e6;
    const [low, mid, high] = SCENARIOS.map((scenario) => usd(gpuUsdPerHour[scenario]));
    return { low, mid, high, economics: null, formula: 'rent of an hour / tokens of an hour, fully loaded' };
  }
  try {
    const economics = projectEconomics(cost, constants);
    const [low, mid, high] = SCENARIOS.map((scenario) => economics[scenario].usdPerMtoken);
    return { low, mid, high, economics, formula: economics.mid.formula };
  } catch (error) {
    if (error instanceof OnefetError && error.code === 'NO_GOOD_DIE') return error.message;
    throw error;
  }
}
