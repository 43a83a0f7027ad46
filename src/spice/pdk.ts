/**
 * The open cards inside the simulator package.
 *
 * `engine:<name>` in an `.include` or `.lib` line is a file that ships inside eecircuit-engine. It is read from the
 * installed package each time, so that no card is copied into this repository; the package's version is pinned and
 * part of every calibration.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nearestName, OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import { ENGINE_PACKAGE, engineFolder } from './job.ts';

export interface EngineCard {
  readonly title: string;
  /** SPDX identifier. */
  readonly licence: string;
  readonly holder: string;
}

/**
 * Cards of the package whose header grants a licence (that of FreePDK45 stands in the package's type declaration).
 * PTM, CMOS90 and PDK15 carry none and are left out.
 */
export const ENGINE_CARDS: Readonly<Record<string, EngineCard>> = {
  'sm141064.ngspice': {
    title: 'GF180MCU 3.3 V / 6 V: corners typical ff ss fs sf, statistical section, mismatch by agauss',
    licence: 'Apache-2.0',
    holder: 'GlobalFoundries PDK Authors, 2022',
  },
  'modelcard.skywater': {
    title: 'SKY130 1.8 V nfet and pfet, binned BSIM4 in subcircuits',
    licence: 'Apache-2.0',
    holder: 'The SkyWater PDK Authors, 2020',
  },
  'modelcard.FreePDK45': {
    title: 'FreePDK 45 nm, BSIM4',
    licence: 'Apache-2.0',
    holder: 'North Carolina State University, 2007-2009',
  },
};

export const ENGINE_PREFIX = 'engine:';
const MAX_CARD_CHARS = 16 << 20;
const cards = new Map<string, string>();
let bundle: string | undefined;

/** Text of a card. Errors: ENGINE_CARD_UNKNOWN, ENGINE_CARD_MISSING when the package does not hold it as expected. */
export function engineCardText(name: string): string {
  if (!Object.hasOwn(ENGINE_CARDS, name)) {
    const known = Object.keys(ENGINE_CARDS);
    const nearest = nearestName(name, known);
    throw new OnefetError(
      'input',
      'ENGINE_CARD_UNKNOWN',
      `${ENGINE_PREFIX}${name} is not a card of the simulator`,
      {
        hint: nearest ? `did you mean ${ENGINE_PREFIX}${nearest}?` : `there is ${known.join(', ')}`,
      },
    );
  }
  const cached = cards.get(name);
  if (cached !== undefined) return cached;
  const path = join(engineFolder(), 'dist', `${ENGINE_PACKAGE}.mjs`);
  try {
    bundle ??= readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OnefetError('simulation', 'ENGINE_CARD_MISSING', `cannot read ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  const opening = `writeFile("/${name}", "`;
  const start = bundle.indexOf(opening);
  if (start < 0) {
    throw new OnefetError('simulation', 'ENGINE_CARD_MISSING', `${path} has no ${name}`, {
      hint: `the wrapper is written for one version of ${ENGINE_PACKAGE}; reinstall the dependencies`,
    });
  }
  const text = stringLiteral(bundle, start + opening.length, name);
  cards.set(name, text);
  return text;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  b: '\b',
  f: '\f',
  v: '\v',
  '0': '\0',
};

/** Contents of a JavaScript string literal from after its opening quote. */
function stringLiteral(source: string, start: number, name: string): string {
  const parts: string[] = [];
  for (let at = start; ; ) {
    let end = at;
    while (end < source.length && source[end] !== '"' && source[end] !== '\\') end++;
    parts.push(source.slice(at, end));
    if (end >= source.length || end - start > 2 * MAX_CARD_CHARS) {
      throw new OnefetError('simulation', 'ENGINE_CARD_MISSING', `${name} does not end in the package`);
    }
    if (source[end] === '"') return parts.join('');
    const escaped = source[end + 1];
    const digits = escaped === 'u' ? 4 : escaped === 'x' ? 2 : 0;
    if (digits > 0)
      parts.push(String.fromCharCode(Number.parseInt(source.slice(end + 2, end + 2 + digits), 16)));
    else if (escaped !== '\n') parts.push(ESCAPES[escaped] ?? escaped);
    at = end + 2 + digits;
  }
}
