/**
 * Which constant matters: each one halved and doubled while the others stay, and what that does to the energy of a
 * token. A factor of two is no uncertainty of any of them; it is the same question to all.
 */
import type { Constant, CostConstants } from './constants.ts';
import type { CostReport, CostSensitivity } from './report.ts';

/** Groups of cost.yaml whose constants go into the energy. */
const GROUPS = ['digital', 'memory', 'lora', 'analog', 'adc', 'layout', 'power', 'wire'] as const;

/** Bounds of constants that a factor of two would take out of the range in which they mean something. */
const CLIP: Record<string, readonly [number, number]> = {
  'analog.clampBiasRatio': [1, Number.POSITIVE_INFINITY],
  'memory.sramArrayEfficiency': [0.5, 0.8],
  'power.regulatorEfficiency': [0.8, 0.92],
  'adc.technologyNm': [7, 180],
};

/** Counts stay whole numbers of at least one. */
const WHOLE = new Set([
  'digital.headMacsPerCycle',
  'digital.headWeightBits',
  'memory.kvMacroBytes',
  'memory.kvPortBytesPerCycle',
  'memory.embeddingBits',
  'lora.rank',
  'lora.weightBits',
]);

export function rankSensitivity(
  constants: CostConstants,
  perTokenJ: number,
  evaluate: (constants: CostConstants) => Pick<CostReport, 'perTokenJ'>,
): CostSensitivity[] {
  const all: CostSensitivity[] = [];
  for (const group of GROUPS) {
    const members = constants[group] as Record<string, Constant>;
    for (const [key, constant] of Object.entries(members)) {
      const name = `${group}.${key}`;
      const { value, tag } = constant;
      if (value === 0) continue;
      const range = CLIP[name] ?? [0, Number.POSITIVE_INFINITY];
      // A user's value outside the range is an end of it.
      const low = Math.min(range[0], value);
      const high = Math.max(range[1], value);
      const bounded = (v: number) => {
        const clipped = Math.min(high, Math.max(low, v));
        return WHOLE.has(name) ? Math.max(1, Math.round(clipped)) : clipped;
      };
      const withValue = (v: number) =>
        evaluate({ ...constants, [group]: { ...members, [key]: { ...constant, value: v } } }).perTokenJ;
      const lowValue = bounded(value / 2);
      const highValue = bounded(value * 2);
      all.push({
        constant: name,
        tag,
        value,
        lowValue,
        highValue,
        lowPerTokenJ: withValue(lowValue),
        highPerTokenJ: withValue(highValue),
      });
    }
  }
  const effect = (s: CostSensitivity) =>
    Math.max(Math.abs(s.lowPerTokenJ - perTokenJ), Math.abs(s.highPerTokenJ - perTokenJ));
  return all
    .filter((s) => effect(s) > 1e-6 * perTokenJ)
    .sort((a, b) => effect(b) - effect(a) || (a.constant < b.constant ? -1 : 1));
}
