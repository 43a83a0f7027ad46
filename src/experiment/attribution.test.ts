/**
 * Sources of error alone: the split of the converter into clipping and resolution against the converter itself, and
 * which sources are the same on every chip.
 */

import { describe, expect, it } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import type { LinearName } from '../fabric/linear.ts';
import { logDomainLinear } from '../fabric/log-domain.ts';
import { scaleRanges } from '../fabric/ranges.ts';
import { gaussian, streamKey } from '../random.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { adcFormat, convert } from '../tile/adc.ts';
import {
  ERROR_SOURCES,
  type ErrorSource,
  onlySource,
  rangeFactor,
  sameOnEveryChip,
} from '../tile/error-sources.ts';
import { tilePhysics } from '../tile/physics.ts';
import { recodeWeights } from '../tile/weight-code.ts';
import { attributionSeeds } from './attribution.ts';

const { design } = loadLogDomainDesign('log-domain', ['cell=t1']);
const calibration = loadCalibration('planar32lp', 't1');
const NAME: LinearName = { layer: 0, tensor: 'ffn_down', ordinal: 6, count: 7 };
const OUTPUTS = 16;
const INPUTS = 256;

describe('the converter split in two', () => {
  const full = 13;
  /** A column value through the converter of a source, in I_fs. */
  const through = (source: ErrorSource | 'design', value: number): number => {
    const of = source === 'design' ? design : onlySource(design, source);
    const ranges = { 'blk.0.ffn_down': [[full]] };
    const fs =
      source === 'design' ? full : scaleRanges(ranges, rangeFactor(design, source))['blk.0.ffn_down'][0][0];
    const format = adcFormat(of.adc.bits);
    return (convert(value, fs, format) * fs) / format.top;
  };

  it('within the range, resolution is the converter and clipping does nothing', () => {
    for (let value = -full; value <= full; value += 0.0137) {
      expect(through('adc-resolution', value)).toBeCloseTo(through('design', value), 9);
      // Half a step of 18 bits: 13 / 131071 / 2.
      expect(Math.abs(through('adc-clipping', value) - value)).toBeLessThan(5e-5);
    }
  });

  it('beyond it, clipping is the converter and resolution only rounds', () => {
    const step = full / 127;
    for (const value of [13.2, -14, 20, -41, 190]) {
      expect(through('adc-clipping', value)).toBeCloseTo(Math.sign(value) * full, 9);
      expect(through('design', value)).toBeCloseTo(Math.sign(value) * full, 9);
      expect(Math.abs(through('adc-resolution', value) - value)).toBeLessThanOrEqual(step / 2 + 1e-9);
    }
  });

  it('gain and offset belong to the resolution', () => {
    const { gainSigma, offsetSigmaLsb } = design.adc;
    expect(onlySource(design, 'adc-resolution').adc).toMatchObject({ gainSigma, offsetSigmaLsb });
    expect(onlySource(design, 'adc-clipping').adc).toMatchObject({ gainSigma: 0, offsetSigmaLsb: 0 });
  });
});

const alike = (source: ErrorSource) => ({
  name: source,
  description: '',
  sameOnEveryChip: sameOnEveryChip(source),
});

describe('chips of a source', () => {
  const hardware = recodeWeights(
    OUTPUTS,
    INPUTS,
    (n, out) => {
      for (let k = 0; k < INPUTS; k++) out[k] = 0.1 * gaussian(streamKey(1), n * INPUTS + k);
    },
    4,
    design.tile.rows,
  );
  const a = Float32Array.from({ length: INPUTS }, (_, k) => gaussian(streamKey(2), k));
  // A narrow range, so that clipping acts.
  const ranges = { 'blk.0.ffn_down': [[2]] };
  const output = (source: ErrorSource, seed: number): number[] => {
    const layer = logDomainLinear(NAME, hardware, {
      physics: tilePhysics(calibration, onlySource(design, source)),
      chip: { errors: true, seed },
      cellSums: 'reference',
      blocks: 1,
      ranges: scaleRanges(ranges, rangeFactor(design, source)),
    });
    const y = new Float32Array(OUTPUTS);
    layer.apply(y, a, { window: 0, position: 3 });
    return [...y];
  };

  it.each(Object.keys(ERROR_SOURCES) as ErrorSource[])(
    '%s: one chip exactly where chips are alike',
    (source) => {
      const seeds = [11, 12, 13, 14, 15];
      const chips = attributionSeeds(alike(source), seeds, 4);
      if (chips.length === 1) {
        expect(chips).toEqual([11]);
        expect(output(source, 11)).toEqual(output(source, 12));
      } else {
        expect(chips).toEqual([11, 12, 13, 14]);
        expect(output(source, 11)).not.toEqual(output(source, 12));
      }
      expect(attributionSeeds(alike(source), seeds, 0)).toEqual([]);
    },
  );
});
