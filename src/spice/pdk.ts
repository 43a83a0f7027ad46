/**
 * Libraries of a process design kit: the open cards inside the simulator package, and the statistics in a library.
 *
 * `engine:<name>` in an `.include` or `.lib` line is a file that ships inside eecircuit-engine. It is read from the
 * installed package each time, so that no card is copied into this repository; the package's version is pinned and
 * part of every calibration.
 *
 * Random functions (agauss and its relatives) draw differently in every version of ngspice and at every reading of the
 * deck. In an assembled deck each is replaced by its nominal value, so that a simulation repeats; the spread is drawn
 * here and enters as parameters of the instances (drawnSubcircuit).
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

const RANDOM = /\b(agauss|gauss|aunif|unif|limit)\s*\(/gi;

interface RandomCall {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly args: readonly string[];
}

/** Random functions of a text, outermost first; brackets balanced, arguments split at the top level. */
function randomCalls(text: string): RandomCall[] {
  const calls: RandomCall[] = [];
  let after = 0;
  for (const match of text.matchAll(RANDOM)) {
    if (match.index < after) continue;
    const args: string[] = [];
    let depth = 1;
    let at = match.index + match[0].length;
    let from = at;
    for (; at < text.length && depth > 0; at++) {
      const c = text[at];
      if (c === '(') depth++;
      else if (c === ')') depth--;
      if ((c === ',' && depth === 1) || depth === 0) {
        args.push(text.slice(from, at).trim());
        from = at + 1;
      }
      // A call does not run over a line unless the line is continued.
      if (c === '\n' && text[at + 1] !== '+') break;
    }
    // With three arguments it is a limiter of a behavioural source.
    if (depth > 0 || (/^limit$/i.test(match[1]) && args.length !== 2)) continue;
    after = at;
    calls.push({ name: match[1].toLowerCase(), start: match.index, end: at, args });
  }
  return calls;
}

function replaceCalls(
  text: string,
  calls: readonly RandomCall[],
  by: (call: RandomCall, k: number) => string,
): string {
  let out = '';
  let at = 0;
  calls.forEach((call, k) => {
    out += text.slice(at, call.start) + by(call, k);
    at = call.end;
  });
  return out + text.slice(at);
}

/** Every random function at its nominal value, its first argument. */
export function nominalStatistics(text: string): string {
  // Cheap for the many files without any.
  if (!/\b(?:agauss|gauss|aunif|unif|limit)\s*\(/i.test(text)) return text;
  return replaceCalls(text, randomCalls(text), ({ args }) => `(${args[0]})`);
}

export interface DrawnSubcircuit {
  readonly text: string;
  /** Names of the parameters that an instance sets to standard normal draws, one per random function. */
  readonly parameters: readonly string[];
}

/**
 * Turns the random functions inside one subcircuit into parameters of its instances:
 *   agauss(m, d, s) -> (m) + (d)/(s) z,   gauss(m, r, s) -> (m) (1 + (r)/(s) z),   z = 0 by default.
 * All others in the text become nominal. Errors: PDK_SUBCIRCUIT when there is none of that name, PDK_STATISTICS when it
 * has no random function or one that is not Gaussian.
 */
export function drawnSubcircuit(text: string, subcircuit: string): DrawnSubcircuit {
  const name = subcircuit.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const found = text.match(new RegExp(`^[ \\t]*\\.subckt[ \\t]+${name}(?=\\s)`, 'im'));
  if (found?.index === undefined) {
    throw new OnefetError('input', 'PDK_SUBCIRCUIT', `no .subckt ${subcircuit} in the library`);
  }
  const start = found.index;
  const ends = text.slice(start).search(/^[ \t]*\.ends\b/im);
  if (ends < 0) throw new OnefetError('input', 'PDK_SUBCIRCUIT', `.subckt ${subcircuit} has no .ends`);
  const body = text.slice(start, start + ends);
  const calls = randomCalls(body).filter((call) => !inComment(body, call.start));
  if (calls.length === 0) {
    throw new OnefetError('input', 'PDK_STATISTICS', `.subckt ${subcircuit} has no agauss`, {
      hint: 'state avtVm and abetaM in technology.yaml instead',
    });
  }
  const odd = calls.find((call) => !/^a?gauss$/.test(call.name) || call.args.length !== 3);
  if (odd !== undefined) {
    throw new OnefetError(
      'input',
      'PDK_STATISTICS',
      `.subckt ${subcircuit}: ${body.slice(odd.start, odd.end)} is not a Gaussian of three arguments`,
    );
  }
  const parameters = calls.map((_, k) => `onefet_z${k}`);
  let drawn = replaceCalls(body, calls, ({ name: kind, args: [mean, spread, sigmas] }, k) =>
    kind === 'agauss'
      ? `((${mean})+(${spread})/(${sigmas})*${parameters[k]})`
      : `((${mean})*(1+(${spread})/(${sigmas})*${parameters[k]}))`,
  );
  // The parameters follow the header and its continuation lines.
  const header = drawn.match(/^.*(?:\n[ \t]*\+.*)*/)![0];
  drawn = `${header}\n+ ${parameters.map((parameter) => `${parameter}=0`).join(' ')}${drawn.slice(header.length)}`;
  return {
    text: nominalStatistics(text.slice(0, start)) + drawn + nominalStatistics(text.slice(start + ends)),
    parameters,
  };
}

function inComment(text: string, at: number): boolean {
  return /^[ \t]*\*/.test(text.slice(text.lastIndexOf('\n', at - 1) + 1, at + 1));
}
