/** The plan of an optimisation: axes, texts that are not the same, rungs, and the folder. */
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { openInputs } from '../experiment/inputs.ts';
import { INPUT_DEFAULTS } from '../experiment/options.ts';
import { checkSelectionText } from '../experiment/overlap.ts';
import { displayPath, packageVersion, sha256 } from '../files.ts';
import { loadDesignOf, type Settings } from '../sweep/keys.ts';
import { type Axis, axesOf, baseCandidate } from './axes.ts';
import { isPricedOnly } from './evaluate.ts';
import type { OptimiseOptions } from './options.ts';
import type { Candidate } from './search.ts';

export interface Rung {
  readonly chips: number;
  readonly maxWindows: number;
}

export interface OptimisePlan {
  readonly options: OptimiseOptions;
  /** Axes that chips are run for, and those that only change the price. */
  readonly axes: readonly Axis[];
  readonly pricedAxes: readonly Axis[];
  readonly start: Candidate;
  readonly rungs: readonly Rung[];
  /** Settings on the text of the choice and on the reported one, without chips and windows. */
  readonly selection: Settings;
  readonly report: Settings;
  readonly warnings: readonly string[];
  readonly folder: string;
}

/**
 * Plans an optimisation. Errors: OPTIMISE_AXIS, SELECT_TEXT (usage), and those of design, model and texts.
 */
export function planOptimise(asked: OptimiseOptions): OptimisePlan {
  const { options, note } = withOtherMapping(asked);
  const { base, selectText, text } = options;
  const { design, sha256: designSha } = loadDesignOf(base);
  const all = axesOf(options.over, options.levels);
  const axes = all.filter((axis) => !isPricedOnly(axis));
  const pricedAxes = all.filter(isPricedOnly);
  const selection = { ...base, text: selectText };
  const report = { ...base, text };
  const inputs = [inputsOf(selection, options.maxWindows), inputsOf(report, options.reportWindows)];
  const warning = checkSelectionText(inputs[0].passages, inputs[1].passages);
  const { maxWindows } = options;
  if (inputs[0].windows.length < maxWindows) {
    throw new OnefetError(
      'usage',
      'SELECT_TEXT',
      `${selectText} has ${inputs[0].windows.length} windows, ${maxWindows} are asked for`,
      { hint: 'lower --max-windows, or give a longer --select-text' },
    );
  }
  const { kl, minimise, chips, reportChips, reportWindows, points, rungs, kept, rounds, seed } = options;
  const key = sha256(
    JSON.stringify({
      onefet: packageVersion(),
      ...{ kl, minimise, chips, maxWindows, reportChips, reportWindows, points, rungs, kept, rounds, seed },
      base,
      design: designSha,
      axes: all,
      texts: inputs.map((one) => one.text.sha256),
      rangeText: inputs[0].rangeText.sha256,
      model: inputs[0].model.sha256,
    }),
  );
  return {
    options,
    axes,
    pricedAxes,
    start: baseCandidate(axes, base),
    rungs: rungsOf(options),
    selection,
    report,
    warnings: [...note, ...(warning === null ? [] : [warning])],
    folder: join(options.out, `optimise-${design.name}-${key.slice(0, 12)}`),
  };
}

/**
 * A mapping must not take its statistics over the text that points are chosen on: where the design would, and nothing is said of
 * its mapping, weights are rounded, in the search and in the commands that make its points again.
 */
function withOtherMapping(options: OptimiseOptions): { options: OptimiseOptions; note: string[] } {
  const { base, selectText } = options;
  const { mapping } = loadDesignOf(base).design;
  const said = Object.keys(base).some((key) => key === 'mapping' || key.startsWith('mapping.'));
  if (said || mapping.method === 'round' || displayPath(mapping.text) !== displayPath(selectText)) {
    return { options, note: [] };
  }
  return {
    options: { ...options, base: { ...base, 'mapping.method': 'round' } },
    note: [
      `Weights are rounded (mapping.method=round): a mapping would take its statistics over ${selectText}, the text of the choice; give another --select-text to search with the design's own.`,
    ],
  };
}

function inputsOf(all: Settings, maxWindows: number | undefined) {
  const { model, text, rangeText, contextTokens, scoring } = all as Record<string, never>;
  return openInputs({
    ...{ model, text, rangeText, contextTokens, maxWindows },
    scoring: scoring ?? INPUT_DEFAULTS.scoring,
  });
}

/** Windows and chips of the last rung, halved for each rung before it. */
function rungsOf({ rungs, chips, maxWindows }: OptimiseOptions): Rung[] {
  return Array.from({ length: rungs }, (_, rung) => {
    const share = 2 ** (rungs - 1 - rung);
    return { chips: Math.ceil(chips / share), maxWindows: Math.ceil(maxWindows / share) };
  });
}

/** Candidates of each rung of the first climb, and the tokens of chips that they take, at most. */
export function estimateOptimise({ options, rungs, selection }: OptimisePlan): {
  readonly candidates: readonly number[];
  readonly chipTokens: number;
} {
  const { contextTokens } = inputsOf(selection, 1);
  let candidates = options.points + 1;
  const counts = rungs.map(() => {
    const own = candidates;
    candidates = Math.ceil(options.kept * candidates) + 1;
    return own;
  });
  const tokens = counts.map((count, i) => count * rungs[i].chips * rungs[i].maxWindows * contextTokens);
  return { candidates: counts, chipTokens: tokens.reduce((sum, x) => sum + x, 0) };
}
