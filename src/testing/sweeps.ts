/** Finished sweeps made by code, for tables and pages. */
import { comparePoints } from '../sweep/compare.ts';
import type { FinishedSweep } from '../sweep/finish.ts';
import { PLAN_SCHEMA, type SweepDescription } from '../sweep/folder.ts';
import { isAccuracy, OUTCOME_SCHEMA, type Outcome } from '../sweep/outcome.ts';
import { pointsOf } from '../sweep/points.ts';
import { sweepRows } from '../sweep/table.ts';

const description = (
  kind: SweepDescription['kind'],
  grid: Readonly<Record<string, readonly unknown[]>>,
): SweepDescription => ({
  schema: PLAN_SCHEMA,
  key: '0'.repeat(64),
  onefet: '0.1.0',
  kind,
  name: 'made-up',
  question: 'What </script> does it cost?',
  file: 'experiments/made-up.yaml',
  text: 'name: made-up\n',
  base: { chips: 5 },
  varied: Object.keys(grid),
  points: pointsOf({ grid }).map((point) => ({ ...point })),
  reference: kind === 'accuracy' ? 0 : null,
  stop: null,
});

const finished = (of: SweepDescription, outcomes: readonly Outcome[]): FinishedSweep => {
  const accuracy = outcomes.filter(isAccuracy);
  const comparisons =
    accuracy.length > 0
      ? comparePoints(accuracy, accuracy[0], { compared: ['kl', 'nll'], binary: [] })
      : new Map();
  return {
    folder: 'runs/sweep-made-up',
    description: of,
    outcomes,
    comparisons,
    rows: sweepRows(of, outcomes, comparisons),
  };
};

/** KL falls with the bits, energy and area rise with them; the last point is refused. */
export function accuracySweep(): FinishedSweep {
  const of = description('accuracy', { 'adc.bits': [5, 6, 7, 8], 'tile.rows': [64, 128, 256] });
  const outcomes = of.points.map((settings, point): Outcome => {
    const common = { schema: OUTCOME_SCHEMA, point, settings } as const;
    if (point === of.points.length - 1) return { ...common, status: 'refused', reason: 'too <large>' };
    const [bits, rows] = [settings['adc.bits'] as number, settings['tile.rows'] as number];
    const kl = (rows / 64) * 2 ** (4 - bits);
    const costs = (scale: number) => ({
      shape: 'made-up shape',
      energyPerTokenJ: scale * 2 ** bits * (64 / rows),
      energyBandJ: [scale * 2 ** (bits - 1) * (64 / rows), scale * 2 ** (bits + 1) * (64 / rows)] as [
        number,
        number,
      ],
      areaMm2: 1e6 * scale * bits * (64 / rows),
      areaBandMm2: [0.5e6 * scale * bits * (64 / rows), 2e6 * scale * bits * (64 / rows)] as [number, number],
      tokensPerSecondPerUser: 100,
      energyJ: {},
      areaLinesMm2: {},
    });
    const measured = (mean: number) => ({
      mean,
      chipsCi95: [0.9 * mean, 1.1 * mean] as [number, number],
      textAndChipsCi95: null,
    });
    const units = Array.from({ length: 5 }, (_, c) =>
      Array.from({ length: 5 }, (_v, w) => 10 * kl * (1 + 0.01 * (c + w))),
    );
    return {
      ...common,
      status: 'done',
      kind: 'accuracy',
      runFolder: '../run',
      task: 'perplexity',
      design: { name: 'log-domain', sha256: '' },
      engine: 'wasm',
      textKey: 'text',
      ...{ chips: 5, chipsDiffer: true, windows: 5, scored: 50 },
      digital: { nll: 2, perplexity: Math.exp(2) },
      recoded: { nll: 2.1, perplexity: Math.exp(2.1), kl: 0.02, top1: 0.9 },
      metrics: {
        kl: measured(kl),
        nll: measured(2 + kl),
        nllDifference: measured(kl),
        perplexity: measured(Math.exp(2 + kl)),
        top1: measured(1 / (1 + kl)),
      },
      yield: { perplexityRatio: 1.1, share: 1, ci95: [0.5, 1] },
      clipRate: 0.001,
      cost: costs(1e-9),
      projection: costs(1e-5),
      stop: null,
      units: { seeds: [1, 2, 3, 4, 5], scored: [10, 10, 10, 10, 10], sums: { kl: units, nll: units } },
    };
  });
  return finished(of, outcomes);
}

/** Sigma falls with the root of the area. */
export function calibrationSweep(): FinishedSweep {
  const of = description('calibration', { widthM: [0.2e-6, 0.8e-6], lengthM: [0.1e-6, 0.4e-6] });
  const outcomes = of.points.map((settings, point): Outcome => {
    const [widthM, lengthM] = [settings.widthM as number, settings.lengthM as number];
    const vgsV = Array.from({ length: 40 }, (_, i) => i / 40);
    const currentA = vgsV.map((v) => (widthM / lengthM) * 1e-12 * Math.exp(v / 0.04));
    return {
      schema: OUTCOME_SCHEMA,
      ...{ point, settings, status: 'done', kind: 'calibration' },
      ...{ process: 'planar32lp', cell: 't1', corner: 'TT', tempK: 300.15 },
      quantities: {
        sigma_current: 6.7e-8 / Math.sqrt(widthM * lengthM),
        ladder_slope_factor: 1.44,
        off_current_a: 2e-12,
        settling_1pc_s: null,
      },
      curves: [{ vdsV: 0.4, vgsV, spiceA: currentA, fitVgsV: vgsV, fitA: currentA }],
    };
  });
  return finished(of, outcomes);
}
