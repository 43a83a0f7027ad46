/**
 * The table of a sweep: a line for each point. Columns name their units; intervals are of 95 % and their columns say what they
 * cover. The same rows are results.csv (for spreadsheets), results.parquet (with types, for pandas and DuckDB) and the table of the report.
 */
import type { CsvValue } from '../csv.ts';
import type { Comparison } from './compare.ts';
import type { SweepDescription } from './folder.ts';
import type { AccuracyOutcome, CalibrationOutcome, Costs, Outcome } from './outcome.ts';
import type { Metric, TaskName } from './task.ts';
import { taskModule } from './tasks.ts';

export type Row = Readonly<Record<string, CsvValue>>;

/** Whether a column that may have no value in a sweep is of words. */
export const isTextColumn = (name: string): boolean => name === 'reason' || name.endsWith('_ci95_covers');

/** Rows in the order of the points. */
export function sweepRows(
  { varied, base }: Pick<SweepDescription, 'varied' | 'base'>,
  outcomes: readonly Outcome[],
  comparisons: ReadonlyMap<number, readonly Comparison[]>,
): Row[] {
  return outcomes.map((outcome): Row => {
    const { point, status, settings } = outcome;
    const set = Object.fromEntries(varied.map((key) => [key, valueText(settings[key] ?? base[key])]));
    return {
      point: point + 1,
      status,
      reason: outcome.status === 'done' ? null : outcome.reason,
      ...set,
      ...(outcome.status === 'done' ? doneColumns(outcome, comparisons.get(point) ?? []) : {}),
      // A key that is varied has its own value in a column of its name: the file of a task, not its kind.
      ...set,
    };
  });
}

function valueText(value: unknown): CsvValue {
  if (typeof value === 'object' && value !== null) return JSON.stringify(value);
  return value as CsvValue;
}

function doneColumns(outcome: AccuracyOutcome | CalibrationOutcome, comparisons: readonly Comparison[]): Row {
  if (outcome.kind === 'calibration') {
    const { process, cell, corner, tempK, quantities } = outcome;
    return { process, cell, corner, temp_k: tempK, ...quantities };
  }
  const { metrics } = taskModule(outcome.task as TaskName);
  return {
    run_folder: outcome.runFolder,
    design: outcome.design.name,
    task: outcome.task,
    engine: outcome.engine,
    ...{ chips: outcome.chips, windows: outcome.windows, scored_tokens: outcome.scored },
    ...{ digital_nll_nats: outcome.digital.nll, digital_perplexity: outcome.digital.perplexity },
    ...{ recoded_kl_nats: outcome.recoded.kl, recoded_perplexity: outcome.recoded.perplexity },
    recoded_top1_share: outcome.recoded.top1,
    ...Object.assign(
      {},
      ...Object.entries(metrics).map(([name, metric]) => metricColumns(outcome, name, metric)),
    ),
    yield_share: outcome.yield.share,
    ...interval('yield', 'chips', outcome.yield.ci95),
    yield_perplexity_ratio: outcome.yield.perplexityRatio,
    clip_share: outcome.clipRate,
    ...costColumns('', outcome.cost),
    ...costColumns('projected_', outcome.projection),
    projected_shape: outcome.projection.shape,
    ...(outcome.stop ? { stop_reached: outcome.stop.reached } : {}),
    ...Object.assign({}, ...comparisons.map((comparison) => comparisonColumns(comparison, metrics))),
  };
}

function metricColumns({ metrics }: AccuracyOutcome, name: string, { column }: Metric): Row {
  const { mean, chipsCi95, textAndChipsCi95 } = metrics[name];
  return {
    [column]: mean,
    ...interval(column, 'chips', chipsCi95),
    ...(textAndChipsCi95 ? interval(column, 'text_and_chips', textAndChipsCi95) : {}),
  };
}

function interval(column: string, covers: string, ci95: readonly [number, number] | null): Row {
  return {
    [`${column}_ci95_${covers}_low`]: ci95?.[0] ?? null,
    [`${column}_ci95_${covers}_high`]: ci95?.[1] ?? null,
  };
}

function costColumns(prefix: string, cost: Costs): Row {
  return {
    [`${prefix}energy_per_token_j`]: cost.energyPerTokenJ,
    [`${prefix}energy_per_token_band_low_j`]: cost.energyBandJ[0],
    [`${prefix}energy_per_token_band_high_j`]: cost.energyBandJ[1],
    [`${prefix}area_mm2`]: cost.areaMm2,
    [`${prefix}area_band_low_mm2`]: cost.areaBandMm2[0],
    [`${prefix}area_band_high_mm2`]: cost.areaBandMm2[1],
    [`${prefix}tokens_per_second_per_user`]: cost.tokensPerSecondPerUser,
  };
}

function comparisonColumns(comparison: Comparison, metrics: Readonly<Record<string, Metric>>): Row {
  const { metric, difference, ci95, covers, p, pHolm, mcnemarP } = comparison;
  const column = `${metrics[metric].column}_less_reference`;
  return {
    [column]: difference,
    [`${column}_ci95_low`]: ci95?.[0] ?? null,
    [`${column}_ci95_high`]: ci95?.[1] ?? null,
    [`${column}_ci95_covers`]: covers,
    [`${column}_p`]: p,
    [`${column}_p_holm`]: pHolm,
    ...(mcnemarP === null ? {} : { [`${column}_mcnemar_p_first_chip`]: mcnemarP }),
  };
}
