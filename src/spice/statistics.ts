/**
 * Random functions of a netlist: agauss, gauss, aunif, unif and limit draw differently in every version of ngspice and at
 * every reading of the deck. An assembled deck keeps each call, for that is what ngspice reads a line by, and sets its spread
 * to zero, so that it returns its nominal value; the spread is drawn here and enters as parameters of the instances
 * (drawnSubcircuit). A name that the text itself defines is that text's own function and left alone.
 */
import { OnefetError } from '../error.ts';
import { type LogicalLine, logicalLines, outerSubcircuits } from './netlist-text.ts';

const NAMES = 'agauss|gauss|aunif|unif|limit';
/** Cheap for the many texts without any. */
const ANY = new RegExp(`\\b(?:${NAMES})\\s*\\(`, 'i');

/** Number of arguments of a random function; with three arguments `limit` is the limiter of a behavioural source. */
const ARGUMENTS: Readonly<Record<string, number>> = { agauss: 3, gauss: 3, aunif: 2, unif: 2, limit: 2 };

interface RandomCall {
  readonly name: string;
  /** Offsets in the text: of the call, and of each argument. */
  readonly start: number;
  readonly end: number;
  readonly args: readonly { readonly start: number; readonly end: number; readonly text: string }[];
}

/** Random functions in a logical line, nested ones after those that hold them; `own`: names that are the text's. */
function callsOf(line: LogicalLine, own: ReadonlySet<string>): RandomCall[] {
  const { text } = line;
  const calls: RandomCall[] = [];
  for (const match of text.matchAll(new RegExp(`(?<![\\w.@#])(${NAMES})\\s*\\(`, 'gi'))) {
    const name = match[1].toLowerCase();
    if (own.has(name)) continue;
    const args: RandomCall['args'][number][] = [];
    let depth = 1;
    let at = match.index + match[0].length;
    let from = at;
    for (; at < text.length && depth > 0; at++) {
      const c = text[at];
      if (c === '(' || c === '[' || c === '{') depth++;
      else if (c === ')' || c === ']' || c === '}') depth--;
      if ((c === ',' && depth === 1) || depth === 0) {
        args.push({ start: line.start + from, end: line.start + at, text: text.slice(from, at).trim() });
        from = at + 1;
      }
    }
    // ngspice says what is wrong with a call of another shape.
    if (depth > 0 || args.length !== ARGUMENTS[name]) continue;
    calls.push({ name, start: line.start + match.index, end: line.start + at, args });
  }
  return calls;
}

/** Names among the random ones that a line defines: `.func limit(x,a,b) {...}`, `.param limit(x,a)='...'`. */
function definedIn({ text }: LogicalLine): string[] {
  if (/^\s*\.func\b/i.test(text)) {
    const name = text.match(/^\s*\.func\s+([\w$]+)/i)?.[1].toLowerCase();
    return name !== undefined && Object.hasOwn(ARGUMENTS, name) ? [name] : [];
  }
  if (!/^\s*\.param\b/i.test(text)) return [];
  const definition = new RegExp(`(?<![\\w.@#])(${NAMES})\\s*\\([\\w\\s,]*\\)\\s*=(?!=)`, 'gi');
  return [...text.matchAll(definition)].map(([, name]) => name.toLowerCase());
}

/** Every random call of a netlist outside .control; a function defined in a subcircuit counts in it alone. */
function randomCalls(lines: readonly LogicalLine[]): RandomCall[] {
  const scopes = outerSubcircuits(lines);
  const scopeOf = new Map<number, number>();
  scopes.forEach(({ first, last }, k) => {
    for (let i = first; i <= last; i++) scopeOf.set(i, k);
  });
  const global = new Set<string>();
  const local = scopes.map(() => new Set<string>());
  const random = lines.map((line) => !line.control && ANY.test(line.text));
  lines.forEach((line, i) => {
    if (!random[i]) return;
    const scope = scopeOf.get(i);
    for (const name of definedIn(line)) (scope === undefined ? global : local[scope]).add(name);
  });
  return lines.flatMap((line, i) => {
    if (!random[i]) return [];
    const scope = scopeOf.get(i);
    return callsOf(line, scope === undefined ? global : new Set([...global, ...local[scope]]));
  });
}

/** Puts replacements into a text; one inside another is dropped with what the other replaces. */
function replaced(
  text: string,
  edits: readonly { readonly start: number; readonly end: number; readonly by: string }[],
): string {
  let out = '';
  let at = 0;
  for (const { start, end, by } of [...edits].sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (start < at) continue;
    // Line ends stay, and with them the numbers of the lines that follow.
    const kept = text.slice(start, end).replace(/[^\n]/g, '');
    out += text.slice(at, start) + by + kept.replaceAll('\n', '\n+ ');
    at = end;
  }
  return out + text.slice(at);
}

/** The second argument of a call, its spread, at zero. */
const withoutSpread = ({ args: [, { start, end }] }: RandomCall) => ({ start, end, by: '0' });

/** Sets the spread of every random function to zero; the call stays. */
export function nominalStatistics(text: string, title = false): string {
  if (!ANY.test(text)) return text;
  return replaced(text, randomCalls(logicalLines(text, title)).map(withoutSpread));
}

export interface DrawnSubcircuit {
  readonly text: string;
  /** Names of the parameters that an instance sets to standard normal draws, one per random function. */
  readonly parameters: readonly string[];
}

/**
 * Turns the random functions inside one subcircuit into parameters of its instances:
 *   agauss(m, d, s) -> agauss(m, 0, s) + (d)/(s) z,   gauss(m, r, s) -> gauss(m, 0, s) (1 + (r)/(s) z),   z = 0 by default.
 * All others in the text lose their spread. Errors: PDK_SUBCIRCUIT when there is none of that name or it does not end,
 * PDK_STATISTICS when it holds no random function or one that is not Gaussian.
 */
export function drawnSubcircuit(text: string, subcircuit: string, title = false): DrawnSubcircuit {
  const lines = logicalLines(text, title);
  const found = outerSubcircuits(lines).find(({ name }) => name === subcircuit.toLowerCase());
  if (found === undefined) {
    throw new OnefetError('input', 'PDK_SUBCIRCUIT', `no .subckt ${subcircuit} in the library`);
  }
  if (!/^\s*\.ends\b/i.test(lines[found.last].text)) {
    throw new OnefetError('input', 'PDK_SUBCIRCUIT', `.subckt ${subcircuit} has no .ends`);
  }
  const [from, to] = [lines[found.first].end, lines[found.last].start];
  const calls = randomCalls(lines);
  const inside = calls.filter(({ start }) => start >= from && start < to);
  // A call inside the spread of another goes with it.
  const drawn = inside.filter(
    (call) => !inside.some(({ args: [, { start, end }] }) => call.start >= start && call.end <= end),
  );
  if (drawn.length === 0) {
    throw new OnefetError('input', 'PDK_STATISTICS', `.subckt ${subcircuit} has no agauss`, {
      hint: 'state avtVm and abetaM in technology.yaml instead',
    });
  }
  const odd = drawn.find(({ name }) => !/^a?gauss$/.test(name));
  if (odd !== undefined) {
    throw new OnefetError(
      'input',
      'PDK_STATISTICS',
      `.subckt ${subcircuit}: ${text.slice(odd.start, odd.end)} is not a Gaussian of three arguments`,
    );
  }
  const parameters = drawn.map((_, k) => `onefet_z${k}`);
  const edits = calls.map((call) => {
    const k = drawn.indexOf(call);
    if (k < 0) return withoutSpread(call);
    const [mean, spread, sigmas] = call.args.map((arg) => arg.text);
    const share = `(${spread})/(${sigmas})*${parameters[k]}`;
    const nominal = `${call.name}(${nominalStatistics(mean)},0,${sigmas})`;
    return {
      ...call,
      by: call.name === 'agauss' ? `(${nominal}+${share})` : `(${nominal}*(1+${share}))`,
    };
  });
  // The parameters stand at the end of the header's last line, before its comment.
  const header = text.slice(lines[found.first].start, from);
  const room = header.length - lines[found.first].text.trimEnd().length;
  const at = from - room;
  const all = [...edits, { start: at, end: at, by: ` ${parameters.map((name) => `${name}=0`).join(' ')}` }];
  return { text: replaced(text, all), parameters };
}
