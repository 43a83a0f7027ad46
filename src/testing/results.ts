/** A RunResult and calibration data with the shape and size of real ones, for tests of the page. */
import { loadCostConstants } from '../cost/constants.ts';
import { projectActivity } from '../cost/project.ts';
import { lowestSnr } from '../experiment/layer-snr.ts';
import { RESULT_SCHEMA, type RunResult } from '../experiment/result.ts';
import { COLUMN_BINS } from '../fabric/column-currents.ts';
import { blockMatrices } from '../model/shape.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import type { CalibrationFigures } from '../report/figures-cell.ts';
import { EXAMPLE_DESIGN, exampleActivity, priceRun, STORIES_260K } from './activity.ts';

/** Repeatable wobble in -1 .. 1, so that figures look like data. */
function wobble(i: number): number {
  return Math.sin(i * 12.9898 + 4.1) * Math.cos(i * 3.7);
}

function fixturePositions(recodedNll: number): RunResult['positions'] {
  const edges = [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10];
  const spread = (scale: number) => ({
    ...{ median: 0.6 * scale, p90: 2.4 * scale, p99: 6 * scale, max: 14 * scale },
    histogram: [0.01, 0.03, 0.08, 0.18, 0.4, 0.26, 0.03, 0.01],
  });
  const along = (nll: number) => Array.from({ length: 20 }, (_, i) => nll + 0.3 * wobble(i));
  return {
    positions: 1804,
    histogramEdgesNats: edges,
    digital: { perplexityError: 0.12 },
    recoded: { kl: spread(0.05), top1Ci95: [0.854, 0.886], perplexityError: 0.13 },
    chips: { kl: spread(0.3), top1Ci95: [0.681, 0.723], perplexityError: 0.17 },
    alongText: {
      ends: Array.from({ length: 20 }, (_, i) => Math.round(((i + 1) * 1804) / 20)),
      digitalNll: along(1.2664),
      recodedNll: along(recodedNll),
      chipsNll: along(1.612),
    },
  };
}

export function fixtureResult(chips = 8): RunResult {
  const constants = loadCostConstants('planar32lp');
  const activity = exampleActivity(STORIES_260K, { tileRows: 64, tokens: 1804, currentPerCellA: 0.23e-9 });
  const cost = priceRun(activity, STORIES_260K, EXAMPLE_DESIGN, constants, { contextTokens: 512 });
  const projection = priceRun(
    projectActivity(activity, STORIES_260K, LLAMA_3_1_8B),
    LLAMA_3_1_8B,
    EXAMPLE_DESIGN,
    constants,
    { contextTokens: 1024 },
  );
  const recoded = { nll: 1.3312, perplexity: Math.exp(1.3312), kl: 0.0521, top1: 0.871 };
  const list = Array.from({ length: chips }, (_, i) => {
    const nll = 1.612 + 0.03 * wobble(i);
    return {
      seed: 1000 + i,
      nll,
      perplexity: Math.exp(nll),
      kl: 0.31 + 0.02 * wobble(i + 7),
      top1: 0.702 + 0.01 * wobble(i + 3),
      clipRate: 0.0007 + 0.0002 * wobble(i + 1),
      correction: null,
    };
  });
  const interval = (of: (c: (typeof list)[number]) => number) => {
    const values = list.map(of);
    const mean = values.reduce((a, b) => a + b, 0) / chips;
    if (chips < 2) return { mean, ci95: null };
    const sd = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / (chips - 1));
    const half = (2.36 * sd) / Math.sqrt(chips);
    return { mean, ci95: [mean - half, mean + half] as [number, number] };
  };
  const coding = Array.from({ length: STORIES_260K.layers }, (_, layer) =>
    blockMatrices(STORIES_260K, layer).map(({ name: { tensor }, outputs, inputs }, i) => ({
      layer,
      tensor,
      outputs,
      inputs,
      bits: 4,
      codingSnrDb: 19.5 + 1.6 * wobble(layer * 7 + i) + (i === 6 ? -1.5 : 0),
      zeroShare: 0.14 + 0.02 * wobble(layer + i),
    })),
  ).flat();
  const snr = coding.map(({ layer, tensor }, i) => ({
    layer,
    tensor,
    recoded: { localDb: 21 + wobble(i), streamDb: 17 - layer + wobble(i + 2) },
    chips: { localDb: 12 + 2 * wobble(i + 4), streamDb: 9 - layer + 2 * wobble(i + 6) },
  }));
  const record = (lines: { name: string; value: number }[]) =>
    Object.fromEntries(lines.map(({ name, value }) => [name, value]));
  return {
    schema: RESULT_SCHEMA,
    model: {
      file: 'experiments/models/stories260K-f32.gguf',
      sha256: 'a'.repeat(64),
      name: 'stories260K',
      architecture: 'llama',
      parameters: 260032,
      fileType: 'F32',
      synthetic: false,
    },
    design: {
      name: 'log-domain-4bit',
      sha256: 'b'.repeat(64),
      overrides: {},
      process: 'planar32lp',
      resolved: {
        name: 'log-domain-4bit',
        tile: { rows: 64, sign: 'integrate' },
        adc: { bits: 8 },
      },
    },
    fabric: { kind: 'log-domain', chipsDiffer: true, loss: 'the analog part' },
    text: {
      file: 'experiments/texts/tinystories.txt',
      sha256: 'c'.repeat(64),
      tokens: 1810,
      scored: 1804,
      scoring: 'all',
      contextTokens: 512,
      rangeFile: 'experiments/texts/range.txt',
      rangeTokens: 2048,
    },
    seed: 1,
    digital: { nll: 1.2664, perplexity: Math.exp(1.2664) },
    recoded,
    chips: list,
    summary: {
      nll: interval((c) => c.nll),
      perplexity: interval((c) => c.perplexity),
      kl: interval((c) => c.kl),
      top1: interval((c) => c.top1),
    },
    overText: {
      windows: 3,
      chips: list.length,
      resamples: 2000,
      nll: interval((c) => c.nll),
      perplexity: interval((c) => c.perplexity),
      kl: interval((c) => c.kl),
      top1: interval((c) => c.top1),
      nllDifference: interval((c) => c.nll - 1.2664),
      resolve: { nats: 0.01, windows: 40, predictions: 10_200, chips: 4 },
    },
    positions: fixturePositions(recoded.nll),
    yield: { perplexityRatio: 1.1, share: 0, ci95: [0, 0.31] },
    attribution: [
      ['mismatch', 0.27, 'threshold and gain of every cell, drawn once per chip'],
      ['adc-clipping', 0.011, 'clipping of the converters'],
      ['input', 0.006, 'rounding of the inputs'],
      ['noise', 0.004, 'shot noise of the currents'],
      ['driver', 0.021, 'offset of the buffers and mismatch of the ladders'],
    ].map(([source, kl, description], i) => {
      const drawn = chips > 1 && i % 2 === 0;
      const about = (mean: number, half: number) => ({
        mean,
        ci95: drawn ? ([mean - half, mean + half] as [number, number]) : null,
      });
      const nll = recoded.nll + Number(kl);
      return {
        source: String(source),
        description: String(description),
        chips: drawn ? 4 : 1,
        sameOnEveryChip: i % 2 === 1,
        kl: about(recoded.kl + Number(kl), 0.002),
        excessKl: about(Number(kl), 0.002),
        nll: about(nll, 0.003),
        perplexity: about(Math.exp(nll), 0.02),
        top1: about(0.87 - Number(kl) / 2, 0.004),
      };
    }),
    mapping: null,
    task: null,
    columns: Array.from({ length: COLUMN_BINS }, (_, i) =>
      Math.round(1e4 * Math.exp(-(((i - 46) / 9) ** 2))),
    ),
    coding,
    layerSnr: {
      positions: 32,
      matrices: snr,
      lowest: { local: lowestSnr(snr, 'localDb'), stream: lowestSnr(snr, 'streamDb') },
    },
    blocks: {
      positions: 220,
      recodedDb: Array.from({ length: STORIES_260K.layers }, (_, i) => 17 - 2 * i),
      chipDb: Array.from({ length: STORIES_260K.layers }, (_, i) => interval(() => 14 - 2 * i)),
    },
    prediction: {
      kind: 'prediction',
      klPerError: 2.6,
      recodedError: 0.02,
      chips: { error: 0.11, predictedKl: 0.286, kl: 0.31, measuredOverPredicted: 1.084, linear: true },
      sources: [
        {
          ...{ source: 'noise', error: 0.022, predictedKl: 0.0572, kl: 0.0561 },
          ...{ measuredOverPredicted: 0.981, linear: true },
        },
      ],
    },
    calibration: {
      process: 'planar32lp',
      cell: 't1',
      sha256: 'd'.repeat(64),
      rank: 2,
      separableResidual: 0.0013,
      driver: 'ideal',
    },
    energy: { perTokenJ: cost.perTokenJ, breakdownJ: record(cost.energyJ) },
    area: { mm2: cost.areaMm2, breakdownMm2: record(cost.areaLinesMm2) },
    throughput: { tokensPerSecondPerUser: cost.tokensPerSecondPerUser },
    cost,
    emulation: {
      tokensPerSecond: 812,
      seconds: 17.9,
      peakRssBytes: 3.1e8,
      engine: 'wasm',
      precision: 'fast',
      threads: 2,
      date: '2026-01-01T00:00:00Z',
      cpu: 'a processor',
      commit: null,
      command: ['run', '--design', 'log-domain-4bit', '--chips', String(chips), '--seed', '1'],
    },
    projection,
    verdict: [
      'The cell multiplies, but with this device size mismatch takes most of the accuracy: perplexity rises from 3.55 to 5.0.',
      'Recoding to four bits costs 0.24 of that; the rest is the spread of threshold voltages.',
      'An 8B chip of this design would need ten dies, most of it converters.',
    ],
    warnings: ['The simulated row driver draws 177 nA.'],
    provenance: {
      onefet: '0.1.0',
      node: 'v24.0.0',
      ngspice: '45.2',
    },
  };
}

export function fixtureCalibration(): CalibrationFigures {
  const ut = 0.02586;
  const n = 1.44;
  const current = (vgs: number, vds: number) => {
    const f = (u: number) => Math.log1p(Math.exp(u / 2)) ** 2;
    const vp = (vgs - 0.42 + 0.03 * vds) / n;
    return 4e-7 * (f(vp / ut) - f((vp - vds) / ut)) + 2e-12 * (1 - Math.exp(-vds / ut));
  };
  const vgsV = Array.from({ length: 41 }, (_, i) => i * 0.01);
  const codes = 63;
  const levels = 7;
  const spice: number[] = [];
  for (let m = 1; m <= levels; m++) {
    for (let k = 1; k <= codes; k++) {
      const product = (m * k) / (levels * codes);
      spice.push(product * (1 + 0.012 * (0.5 - product) + 0.006 * Math.exp(-product * 20)));
    }
  }
  const sigma = 0.475;
  const counts = Array.from({ length: 40 }, (_, i) => {
    const x = -1.9 + (i + 0.5) * 0.095;
    return Math.round(
      4000 * 0.095 * (Math.exp(-0.5 * (x / sigma) ** 2) / (sigma * 2.5066)) * (1 + 0.08 * wobble(i)),
    );
  });
  return {
    process: 'planar32lp',
    cell: 't1',
    topology: 't1',
    device: { widthM: 0.2e-6, lengthM: 0.1e-6, oxideM: 1.6e-9 },
    nominal: {
      tempK: 300.15,
      vdsV: 0.4,
      fullScaleA: 3e-9,
      fullScaleVgsV: 0.27,
      ladderSlopeFactorN: n,
    },
    multiply: {
      codes,
      levels,
      tempK: [273.15, 300.15, 358.15],
      spice: [spice, spice, spice],
    },
    mismatch: {
      sigmaVtV: 0.0177,
      sigmaBeta: 0.01,
      monteCarlo: {
        devices: 4000,
        seed: 1,
        product: [0.01, 0.1, 1],
        vgsV: [0.1, 0.19, 0.27],
        gmOverIPerV: [27, 26.9, 26.5],
        lnSigmaSpice: [0.49, 0.485, 0.48],
        lnSigmaTheory: [0.48, 0.477, sigma],
        thresholdSlopePerV: [28.1, 28.1, 27.7],
        histogram: { lowerEdge: -1.9, binWidth: 0.095, counts },
      },
    },
    plots: {
      residuals: [233.15, 300.15, 398.15].flatMap((tempK, t) =>
        [0.2, 0.4, 0.6].map((vdsV, d) => ({
          tempK,
          vdsV,
          heldOut: t === 1 || d === 1,
          vgsV: vgsV.slice(4, 36),
          lnRatio: vgsV.slice(4, 36).map((_, i) => 0.004 * wobble(i + 40 * d + 9 * t)),
        })),
      ),
      transfer: [0.1, 0.2, 0.4, 0.8].map((vdsV, c) => ({
        vdsV,
        vgsV,
        spiceA: vgsV.map((v, i) => current(v, vdsV) * (1 + 0.006 * wobble(i + 50 * c))),
        fitVgsV: vgsV.slice(4, 36),
        fitA: vgsV.slice(4, 36).map((v) => current(v, vdsV)),
      })),
    },
  };
}
