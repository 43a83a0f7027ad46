/**
 * calibration/<process>/<cell>.statistics.json.
 */
import { z } from 'zod';

const number = z.number();
const numbers = z.array(number).max(10_000);
const ks = z.strictObject({ distance: number, pValue: number });

export const statisticsSchema = z.strictObject({
  schema: z.literal('onefet.statistics/1'),
  process: z.string(),
  cell: z.string(),
  engine: z.string(),
  sources: z.record(z.string(), z.string()),
  calibrationSha256: z.string(),
  seed: z.int(),
  tempK: number,
  /** By ideal product: the distribution of ln I over many devices. */
  lognormal: z.strictObject({
    devices: z.int(),
    sigmaVtV: number,
    sigmaBeta: number,
    byProduct: z.array(
      z.strictObject({
        product: number,
        gmOverIPerV: number,
        /** -d ln I / d dVt and its curvature of the nominal cell in SPICE. */
        thresholdSlopePerV: number,
        thresholdCurvaturePerV2: number,
        lnSigmaSpice: number,
        lnSigmaLaw: number,
        /** Skewness of ln I; a lognormal current has 0. */
        skewness: number,
        /** Mean current over the median. */
        meanOverMedian: number,
        /** exp(sigma^2 / 2) of the lognormal law. */
        meanOverMedianLaw: number,
        /** Against normal ln I (first order) and ln I with the curvature (second order). */
        ksFirstOrder: ks,
        ksSecondOrder: ks,
        /** Device by device: RMS of ln I(SPICE) - law. */
        pairedFirstOrder: number,
        pairedSecondOrder: number,
        /** ln(I / median) of SPICE and of both laws at the standard normal scores. */
        qq: z.strictObject({ score: numbers, spice: numbers, firstOrder: numbers, secondOrder: numbers }),
      }),
    ),
  }),
  /** gm/I and sigma gain by product from the least code to beyond full scale. */
  outsideWeakInversion: z.strictObject({
    product: numbers,
    gmOverIPerV: numbers,
    /** (gm/I)(product) over its largest value. */
    relative: numbers,
    thresholdSlopePerV: numbers,
  }),
  pelgrom: z.strictObject({
    devicesPerArea: z.int(),
    areaM2: numbers,
    /** Extracted from transfer curves. */
    sigmaVtV: numbers,
    sigmaBeta: numbers,
    correlation: numbers,
    /** Slope through the origin of sigma against 1/sqrt(area), weights 1/sigma^2; intercept of the free line. */
    avtVm: number,
    avtStandardErrorVm: number,
    avtInterceptV: number,
    avtInputVm: number,
    abetaM: number,
    abetaInputM: number,
  }),
  /** Correlated draws: what the extraction returns, and sigma of ln I at full scale beside its law. */
  correlation: z.array(
    z.strictObject({ drawn: number, extracted: number, lnSigmaSpice: number, lnSigmaLaw: number }),
  ),
  ladder: z.strictObject({
    ladders: z.int(),
    resistorSigma: number,
    offsetSigmaV: number,
    /** By tap 1..: sigma of ln I. */
    spice: numbers,
    law: numbers,
  }),
  replica: z.array(
    z.strictObject({
      cells: z.int(),
      replicas: z.int(),
      /** Of the gate voltage around the nominal one. */
      meanV: number,
      sigmaV: number,
      /** sigma(Vt) thresholdGain / sqrt(cells), first order. */
      firstOrderSigmaV: number,
      /** A replica senses the mean current: -(ln of the mean gain) / (gm/I), and the sigma of a sample mean of lognormals. */
      lawMeanV: number,
      lawSigmaV: number,
    }),
  ),
  /** Why `global` is absent: the library's corners are not plain parameters. */
  globalRefused: z.string().optional(),
  global: z
    .strictObject({
      samples: z.int(),
      parameters: z.record(z.string(), z.strictObject({ nominal: number, sigma: number })),
      /** ln I at the nominal full-scale gate: sigma of the sample; FF and SS corners in units of it. */
      lnSigma: number,
      fastSigmas: number,
      slowSigmas: number,
      /** Gate voltage of full scale: sigma, V: what a replica has to take out. */
      fullScaleVgsSigmaV: number,
      /** sigma of ln(I(product 1/63) / I(1)) at the replica-biased gate: what it cannot. */
      ratioLnSigma: number,
    })
    .optional(),
});

export type StatisticsStudy = z.infer<typeof statisticsSchema>;
