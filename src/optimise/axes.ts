/**
 * Axes of the search: what `--over` may name, and the levels of each. An axis sets one key of run or design, but for `gate`,
 * whose levels are multiples of the width and the length of the cell's own gate (the mismatch goes with one over the multiple).
 */

import { cellOf, loadProcess } from '../cell/technology.ts';
import { settingValues } from '../config.ts';
import { nearestName, OnefetError } from '../error.ts';
import { calibratedCell } from '../fabric/registry.ts';
import { ACCURACY_KEYS, loadDesignOf, type Settings } from '../sweep/keys.ts';
import type { Candidate } from './search.ts';

export interface Axis {
  /** Key of a design or run, or `gate`. */
  readonly name: string;
  readonly levels: readonly unknown[];
}

/** Multiples of width and length of the cell's own gate. */
const GATE = 'gate';

/** Keys that change what a chip costs and nothing that it computes: one run prices all of their levels. */
export const PRICED_ONLY: readonly string[] = ['adc.columnsShared'];

const KNOWN: readonly Axis[] = [
  { name: GATE, levels: [0.35, 0.5, 0.7, 1, 1.4] },
  { name: 'tile.rows', levels: [128, 256, 512] },
  { name: 'adc.bits', levels: [6, 7, 8, 9] },
  { name: 'adc.rangeQuantile', levels: [0.9995, 0.9998, 0.9999, 1] },
  { name: 'adc.columnsShared', levels: [16, 32, 64, 128] },
  { name: 'fullScaleA', levels: [3e-9, 6e-9, 12e-9] },
  { name: 'adc.trimVectors', levels: [0, 256] },
  { name: 'design', levels: ['log-domain', 'log-domain-28', 'log-domain-7'] },
];

/** Words of `--over` that are no key. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  device: [GATE],
  adc: ['adc.bits', 'adc.rangeQuantile'],
  sharing: ['adc.columnsShared'],
  trim: ['adc.trimVectors'],
  process: ['design'],
};

/**
 * The axes that are asked for. `over`: words and keys; `levels`: `key=a,b,c`, which gives an axis its levels, or adds one.
 * Errors: OPTIMISE_AXIS, CONFIG_VALUE (usage).
 */
export function axesOf(over: readonly string[], levels: readonly string[]): Axis[] {
  const given = new Map(levels.map(parseLevels));
  const names = [...new Set([...over.flatMap((word) => WORDS[word] ?? [word]), ...given.keys()])];
  return names.map((name) => {
    const known = KNOWN.find((axis) => axis.name === name);
    const own = given.get(name) ?? known?.levels;
    if (own !== undefined) return { name, levels: own };
    if (Object.hasOwn(ACCURACY_KEYS, name)) {
      throw new OnefetError('usage', 'OPTIMISE_AXIS', `--over ${name}: it has no levels of its own`, {
        hint: `give them, as in --levels ${name}=VALUE,VALUE`,
      });
    }
    const words = [...Object.keys(WORDS), ...KNOWN.map((axis) => axis.name)];
    const nearest = nearestName(name, words);
    throw new OnefetError('usage', 'OPTIMISE_AXIS', `--over ${name}: there is no such axis`, {
      hint: nearest ? `did you mean ${nearest}?` : `axes are ${words.join(', ')}, and keys with --levels`,
    });
  });
}

function parseLevels(setting: string): [string, unknown[]] {
  const equals = setting.indexOf('=');
  const key = setting.slice(0, Math.max(0, equals));
  const parsed = settingValues(setting) ?? { key, values: [] };
  const { values } = parsed;
  if (key !== GATE && !Object.hasOwn(ACCURACY_KEYS, key)) {
    throw new OnefetError('usage', 'OPTIMISE_AXIS', `--levels ${setting}: no key ${JSON.stringify(key)}`, {
      hint: 'for example --levels adc.bits=6,7,8; onefet list keys lists them',
    });
  }
  const multiple = (value: unknown) => typeof value === 'number' && value > 0;
  const wrong = values.find((value) =>
    key === GATE ? !multiple(value) : !ACCURACY_KEYS[key].safeParse(value).success,
  );
  if (values.length >= 2 && wrong === undefined) return [key, values];
  throw new OnefetError(
    'usage',
    'OPTIMISE_AXIS',
    `--levels ${setting}: ${values.length < 2 ? 'two levels or more are needed' : `${JSON.stringify(wrong)} is no value of ${key}`}`,
  );
}

/** What a candidate sets beside the base; what the base has already is not said. */
export function settingsOf(axes: readonly Axis[], candidate: Candidate, base: Settings): Settings {
  const settings: Record<string, unknown> = {};
  let multiple = 1;
  axes.forEach(({ name, levels }, i) => {
    const value = levels[candidate[i]];
    if (name === GATE) multiple = value as number;
    else settings[name] = value;
  });
  if (multiple !== 1) Object.assign(settings, gateSettings({ ...base, ...settings }, multiple));
  return settings;
}

/** Gate of the design's cell times a number, to the nanometre. Errors: those of loadDesign; OPTIMISE_AXIS (usage) without a cell. */
function gateSettings(all: Settings, multiple: number): Settings {
  const { design } = loadDesignOf(all);
  const sized = calibratedCell(design);
  if (sized === undefined) {
    throw new OnefetError(
      'usage',
      'OPTIMISE_AXIS',
      `design ${design.name} has no cell whose gate could be varied`,
    );
  }
  const own = cellOf(loadProcess(sized.process), sized.cell);
  const stated = (key: 'widthM' | 'lengthM') => {
    const value = sized.gate?.[key];
    return typeof value === 'number' ? value : own[key];
  };
  const nanometres = (m: number) => Math.round(m * 1e9) / 1e9;
  return {
    'gate.widthM': nanometres(stated('widthM') * multiple),
    'gate.lengthM': nanometres(stated('lengthM') * multiple),
  };
}

/** Levels nearest to what the design of the base has, axis by axis: where the search starts. */
export function baseCandidate(axes: readonly Axis[], base: Settings): Candidate {
  const { design } = loadDesignOf(base);
  return axes.map(({ name, levels }) => {
    if (name === GATE) return nearestLevel(levels, 1);
    return nearestLevel(levels, base[name] ?? valueAt(design, name));
  });
}

const valueAt = (design: unknown, key: string): unknown =>
  key.split('.').reduce((at: unknown, step) => (at as Record<string, unknown> | undefined)?.[step], design);

function nearestLevel(levels: readonly unknown[], value: unknown): number {
  const same = levels.indexOf(value);
  if (same >= 0 || typeof value !== 'number') return Math.max(0, same);
  const distance = (level: unknown) =>
    typeof level === 'number' ? Math.abs(Math.log(level / value)) : Number.POSITIVE_INFINITY;
  return levels.reduce<number>((best, level, i) => (distance(level) < distance(levels[best]) ? i : best), 0);
}
