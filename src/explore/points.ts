/** Gathers the measured surface of accuracy: from the gallery's committed results, and from runs and sweeps that are named. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fromCsv } from '../csv.ts';
import { OnefetError } from '../error.ts';
import { ACTIVITY_FILE, readActivity } from '../experiment/activity-file.ts';
import { INPUT_DEFAULTS } from '../experiment/options.ts';
import { readResult } from '../experiment/read-result.ts';
import { designSchema } from '../fabric/registry.ts';
import { displayPath, findDataFile, listDataFolder, readTextFile } from '../files.ts';
import { loadExperiment } from '../sweep/experiment.ts';
import { readSweep } from '../sweep/finish.ts';
import { loadDesignOf } from '../sweep/keys.ts';
import { isAccuracy } from '../sweep/outcome.ts';
import { type AccuracyPoint, flatDesign } from './accuracy.ts';

const GALLERY = 'experiments/gallery';

/** The embedded model, by the name that its runs have. */
export const EMBEDDED = 'Analog Stories 3M';

/** The committed results of experiments about accuracy on the embedded model. */
export function galleryPoints(): AccuracyPoint[] {
  return listDataFolder(join(GALLERY, 'results'))
    .filter((name) => name.endsWith('.csv'))
    .flatMap((name) => experimentPoints(name.replace(/\.csv$/, '')));
}

function experimentPoints(name: string): AccuracyPoint[] {
  const file = findDataFile(join(GALLERY, `${name}.yaml`));
  if (file === undefined) return [];
  const { kind, base, points } = loadExperiment(file);
  if (
    kind !== 'accuracy' ||
    (base.model ?? INPUT_DEFAULTS.model) !== INPUT_DEFAULTS.model ||
    base.task !== undefined
  )
    return [];
  const path = findDataFile(join(GALLERY, 'results', `${name}.csv`))!;
  const rows = fromCsv(readTextFile(path, 'results'));
  return rows.flatMap((row): AccuracyPoint[] => {
    const settings = points[Number(row.point) - 1];
    if (row.status !== 'done' || settings === undefined) return [];
    return [
      {
        design: flatDesign(loadDesignOf({ ...base, ...settings }).design),
        kl: Number(row.kl_nats),
        ...intervalOf(
          pairOf(row.kl_nats_ci95_text_and_chips_low, row.kl_nats_ci95_text_and_chips_high),
          pairOf(row.kl_nats_ci95_chips_low, row.kl_nats_ci95_chips_high),
        ),
        perplexityRatio: Number(row.perplexity) / Number(row.digital_perplexity),
        model: EMBEDDED,
        predictions: Number(row.scored_tokens),
        chips: Number(row.chips),
        source: `onefet sweep ${GALLERY}/${name}.yaml`,
      },
    ];
  });
}

const pairOf = (low: string | undefined, high: string | undefined): readonly [number, number] | null =>
  low && high ? [Number(low), Number(high)] : null;

/** The wider claim where there is one. */
function intervalOf(
  textAndChips: readonly [number, number] | null,
  chips: readonly [number, number] | null,
): Pick<AccuracyPoint, 'ci95' | 'covers'> {
  if (textAndChips) return { ci95: textAndChips, covers: 'texts and chips' };
  return chips ? { ci95: chips, covers: 'chips on this text' } : { ci95: null, covers: '' };
}

/** What stands in a folder of a run or of a sweep, and the run folders that it is made of. Errors: those of reading them. */
export function folderPoints(folder: string): { readonly points: AccuracyPoint[]; readonly runs: string[] } {
  if (!existsSync(join(folder, 'plan.json'))) return { points: [runPoint(folder)], runs: [folder] };
  const sweep = readSweep(folder);
  if (sweep === undefined || sweep.description.kind !== 'accuracy') {
    throw new OnefetError('input', 'SWEEP_UNFINISHED', `${folder} is no finished sweep about accuracy`, {
      hint: 'give the command of the sweep again; it goes on where it stopped',
    });
  }
  const runs = sweep.outcomes
    .filter(isAccuracy)
    .filter(({ task }) => task === 'perplexity')
    .map(({ runFolder }) => join(folder, runFolder));
  return { points: runs.map(runPoint), runs };
}

function runPoint(folder: string): AccuracyPoint {
  const { summary, chips, text, digital, emulation, overText, task } = readResult(folder);
  if (task !== null) {
    throw new OnefetError('usage', 'EXPLORE_TASK', `${folder} scored questions, not a text`, {
      hint: 'the surface is of KL over a text: name runs without --task',
    });
  }
  const { design, model } = readActivity(join(folder, ACTIVITY_FILE));
  return {
    design: flatDesign(designSchema.parse(design.resolved)),
    kl: summary.kl.mean,
    ...intervalOf(overText.kl.ci95, summary.kl.ci95),
    perplexityRatio: summary.perplexity.mean / digital.perplexity,
    model: model.name,
    predictions: text.scored,
    chips: chips.length,
    source: `${displayPath(folder)}: onefet ${emulation.command.join(' ')}`,
  };
}
