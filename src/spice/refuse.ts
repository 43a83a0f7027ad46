/**
 * Statements that an assembled netlist may not have. A netlist is code: it runs in a simulator that sees no file of this
 * machine, but it can hang it, leave it changed for the next job, or quietly simulate something else. What is refused is refused by name,
 * file and line, before it runs.
 */
import type { Expanded, Origin } from './expand.ts';
import { at } from './expand.ts';
import { balanced, type LogicalLine, logicalLines } from './netlist-text.ts';
import { SpiceError } from './spice-error.ts';

export interface RefusalOptions {
  /** Unit in which the models count lengths, m, as the process states it; what `.option scale` has to say. */
  readonly scaleM?: number;
}

/**
 * Refuses what ngspice does not report, misreads or does to the next job:
 *  - a deck without a single element (it would run the previous circuit);
 *  - commands that end the simulator, start programs or reach for files (REFUSED_COMMANDS), and paths to write to;
 *  - models and devices that need Verilog-A or code models, which this simulator does not have;
 *  - `.temp` in what is included and `.option scale` that the process does not state;
 *  - exp() of a node voltage or a branch current in a behavioural source, unless the argument is bounded by min():
 *    beyond exp(227.9) ngspice returns 1e99 without a word. Results above 1e30 are refused as well (pool.ts), but a
 *    later logarithm or a limiter could hide the overflow, so the expression itself is refused.
 * `lines` are those of the netlist, its title left out.
 */
export function checkNetlist(
  lines: readonly LogicalLine[],
  origins: Expanded['origins'],
  name: string,
  options: RefusalOptions = {},
): void {
  const main = origins[0]?.file;
  let elements = 0;
  let scale = 1;
  const used = new Set<string>();
  const models: { readonly line: LogicalLine; readonly origin: Origin }[] = [];
  for (const line of lines) {
    const origin = origins[line.line - 1];
    const text = line.text.trim();
    if (line.control) refuseCommand(text, origin);
    else if (/^[a-z]/i.test(text)) {
      elements++;
      refuseDevice(text, origin);
      // A library's own behavioural sources are its makers' affair.
      if (/^[begfh]/i.test(text) && origin.file === main) refuseUnboundedExponential(text, origin);
      for (const word of text.toLowerCase().split(/[\s=]+/)) used.add(word);
    } else if (/^\.model\b/i.test(text)) models.push({ line, origin });
    else {
      refuseDirective(text, origin, origin.file !== main);
      scale = scaleOf(text, origin, options.scaleM ?? 1) ?? scale;
    }
    if (/^\.end$/i.test(text)) break;
  }
  for (const { line, origin } of models) refuseModel(line.text.trim(), origin, used);
  if (options.scaleM !== undefined && scale !== options.scaleM) {
    throw new SpiceError(
      'SPICE_SCALE',
      `${name}: scaleM is ${options.scaleM}, but the library has no .option scale=${options.scaleM}`,
      { hint: 'take scaleM out of technology.yaml' },
    );
  }
  if (elements === 0) {
    throw new SpiceError('SPICE_DECK_EMPTY', `${name}: no element in the netlist`, {
      hint: 'the first line of a netlist is its title, not an element',
    });
  }
}

const quoted = (text: string) => `"${text.replace(/\s+/g, ' ').slice(0, 120)}"`;

const OSDI =
  'the simulator is ngspice in WebAssembly, without Verilog-A (OSDI) and code models; it runs BSIM4 (level 14, 54), BSIM3 (8, 49), B4SOI (10, 58) and HiSIM2 (68) cards. Use such a card of the process, or give currents that your own simulator wrote with onefet calibrate --csv';

/** Commands of a .control section that are refused, and why. */
const REFUSED_COMMANDS: Readonly<Record<string, { readonly why: string; readonly code: string }>> = {
  ...forEach(['quit', 'exit', 'bug'], 'SPICE_QUIT', 'would end the simulator'),
  ...forEach(['shell', 'aspice', 'rspice', 'edit'], 'SPICE_COMMAND', 'starts a program'),
  ...forEach(
    ['source', 'cd', 'load', 'inp', 'history', 'hardcopy', 'snload', 'circbyline'],
    'SPICE_COMMAND',
    'reads or leaves files that no job may see',
  ),
  ...forEach(['osdi', 'codemodel', 'use'], 'SPICE_DEVICE', 'loads models that it cannot run'),
};

function forEach(names: readonly string[], code: string, why: string) {
  return Object.fromEntries(names.map((name) => [name, { why, code }]));
}

/** Splits a line of a .control section into its commands, each as words; `pre_` only says when it runs. */
export function commandsOf(text: string): string[][] {
  return text
    .split(';')
    .map((command) => command.trim().split(/\s+/))
    .filter(([first]) => first !== '')
    .map(([first, ...rest]) => [first.toLowerCase().replace(/^pre_/, ''), ...rest]);
}

function refuseCommand(text: string, origin: Origin): void {
  for (const [command, ...words] of commandsOf(text)) {
    const refused = Object.hasOwn(REFUSED_COMMANDS, command) ? REFUSED_COMMANDS[command] : undefined;
    if (refused !== undefined) {
      throw new SpiceError(refused.code, `${at(origin)}: ${quoted(text)} ${refused.why}`, {
        hint:
          refused.code === 'SPICE_DEVICE'
            ? OSDI
            : refused.code === 'SPICE_QUIT'
              ? 'remove the line; the simulator is shut down by onefet'
              : 'remove the line; includes go by .include and .lib, results by write',
      });
    }
    if (text.includes('`')) {
      throw new SpiceError('SPICE_COMMAND', `${at(origin)}: ${quoted(text)} starts a program`, {
        hint: 'remove the backquotes',
      });
    }
    const path = /^(?:write|wrdata|wrs2p|wrnodev|snsave|save_state|setlog|mdump)$/.test(command)
      ? words[0]
      : words[words.findIndex((word) => /^>{1,2}&?$/.test(word)) + 1];
    const writes = /^w|^sn|^setlog|^mdump/.test(command) || words.some((word) => word.startsWith('>'));
    if (writes && path !== undefined && /[\\/]/.test(path)) {
      throw new SpiceError('SPICE_COMMAND', `${at(origin)}: ${quoted(text)} writes outside its folder`, {
        hint: 'a job writes plain file names; results are read from there',
      });
    }
  }
}

function refuseDevice(text: string, origin: Origin): void {
  if (!/^[an]/i.test(text)) return;
  const what = /^n/i.test(text) ? 'a Verilog-A (OSDI) device' : 'a code model (XSPICE)';
  throw new SpiceError('SPICE_DEVICE', `${at(origin)}: ${quoted(text)} is ${what}`, { hint: OSDI });
}

function refuseDirective(text: string, origin: Origin, included: boolean): void {
  if (included && /^\.temp\b/i.test(text)) {
    throw new SpiceError('SPICE_TEMP', `${at(origin)}: ${quoted(text)} sets the temperature of the deck`, {
      hint: 'remove the line: every deck sets its own temperature; the models state theirs as tnom',
    });
  }
  if (/^\.?(?:pre_)?(?:osdi|codemodel)\b/i.test(text)) {
    throw new SpiceError('SPICE_DEVICE', `${at(origin)}: ${quoted(text)} loads models that it cannot run`, {
      hint: OSDI,
    });
  }
}

/** The scale that an option line sets, or undefined. Error: SPICE_SCALE when the process states another. */
function scaleOf(text: string, origin: Origin, stated: number): number | undefined {
  if (!/^\.opt/i.test(text)) return undefined;
  const value = text.match(/\bscale\s*=\s*([^\s,]+)/i)?.[1];
  if (value === undefined) return undefined;
  const scale = spiceValue(value);
  if (scale !== undefined && Math.abs(scale - stated) < 1e-9 * stated) return stated;
  throw new SpiceError(
    'SPICE_SCALE',
    `${at(origin)}: ${quoted(text)}: the models count lengths in units of ${value} m`,
    {
      hint: `state it in technology.yaml, models: { ..., scaleM: ${scale ?? value} }, and onefet writes widths and lengths in these units`,
    },
  );
}

const SUFFIXES: readonly (readonly [RegExp, number])[] = [
  [/^meg/i, 1e6],
  [/^mil/i, 25.4e-6],
  [/^t/i, 1e12],
  [/^g/i, 1e9],
  [/^k/i, 1e3],
  [/^m/i, 1e-3],
  [/^u/i, 1e-6],
  [/^n/i, 1e-9],
  [/^p/i, 1e-12],
  [/^f/i, 1e-15],
  [/^a/i, 1e-18],
];

/** Reads a number with ngspice's suffixes (meg, mil, k, m, u, n, p, f, a; the rest is a unit), or undefined. */
export function spiceValue(text: string): number | undefined {
  const match = text.match(/^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(.*)$/i);
  if (match === null) return undefined;
  const factor = SUFFIXES.find(([suffix]) => suffix.test(match[2]))?.[1] ?? 1;
  return Number(match[1]) * factor;
}

/** Model types of the simulator, without those of Verilog-A and code models; from ngspice 45, inpdomod.c. */
const TYPES =
  /^(?:r|res|c|cap|l|ind|d|npn|pnp|lpnp|njf|pjf|nmf|pmf|nhfet|phfet|nmos|pmos|vdmos|vdmosn|vdmosp|nsoi|psoi|urc|ltra|transline|sw|csw|txl|cpl|k|mut)$/i;
const LEVELS = new Set([1, 2, 3, 4, 5, 6, 8, 9, 10, 14, 49, 54, 55, 56, 57, 58, 60, 68, 73]);
const LEVEL_NAMES: Readonly<Record<number, string>> = {
  44: 'EKV',
  69: 'PSP',
  70: 'BSIM4SOI in HSPICE',
  72: 'BSIM-CMG, FinFETs',
  77: 'BSIM6',
  103: 'PSP',
};

/** Refuses a model that an element names and that this simulator cannot run. Error: SPICE_DEVICE. */
function refuseModel(text: string, origin: Origin, used: ReadonlySet<string>): void {
  const match = text.match(/^\.model\s+(\S+?)\s*[\s(]\s*(\w+)/i);
  if (match === null) return;
  const name = match[1].toLowerCase();
  // A binned model is named without the number of its bin.
  if (!used.has(name) && !used.has(name.replace(/\.\d+$/, ''))) return;
  const refuse = (what: string) =>
    new SpiceError('SPICE_DEVICE', `${at(origin)}: model ${match[1]} is ${what}`, { hint: OSDI });
  if (!TYPES.test(match[2])) throw refuse(`of type ${match[2]}, which needs Verilog-A or a code model`);
  if (!/^[np]mos$/i.test(match[2])) return;
  const level = text.match(/\blevel\s*=\s*(\d+)(?:\.0*)?\b/i)?.[1];
  if (level === undefined || LEVELS.has(Number(level))) return;
  const known = LEVEL_NAMES[Number(level)];
  throw refuse(
    `of level ${level}${known === undefined ? '' : ` (${known})`}, which the simulator does not have`,
  );
}

function refuseUnboundedExponential(line: string, origin: Origin): void {
  for (const match of line.matchAll(/\bexp\s*\(/gi)) {
    const argument = balanced(line, match.index + match[0].length);
    if (!/\b[vi]\s*\(/i.test(argument) || /^\s*min\s*\(/i.test(argument)) continue;
    throw new SpiceError(
      'SPICE_EXP_UNBOUNDED',
      `${at(origin)}: exp(${argument.trim()}) in "${line.slice(0, 80)}" may overflow`,
      { hint: 'ngspice returns 1e99 without a warning; write exp(min(..., 100))' },
    );
  }
}

/** Commands after which the simulator is as before: what they change goes with the circuit or the plots. */
const CLEAN_COMMANDS = new Set(
  'op dc ac tran noise tf sens pz disto run resume reset save write wrdata print echo alter altermod destroy setplot foreach dowhile while repeat if else end break continue stop delete step meas fourier linearize listing show showmod display rusage status where remcirc'.split(
    ' ',
  ),
);
/** Parameters of the circuit that `set` takes as well: they go with it. */
const CLEAN_VARIABLES = new Set(['temp', 'tnom']);

export interface StateLeft {
  /** Variables of foreach loops, which the clean-up takes back. */
  readonly unset: readonly string[];
  /** An alias, a function, a variable or a vector may outlive the circuit: the simulator is not used again. */
  readonly lasting: boolean;
}

/** Finds what a job leaves behind in its simulator for the next one. */
export function stateLeft(netlist: string, commands: readonly string[] = []): StateLeft {
  const unset = new Set<string>();
  let lasting = false;
  const look = (text: string) => {
    for (const [command, ...words] of commandsOf(text)) {
      if (command.startsWith('.')) continue;
      if (command === 'foreach' && /^\w+$/.test(words[0] ?? '')) unset.add(words[0]);
      if (command !== 'set') lasting ||= !CLEAN_COMMANDS.has(command);
      else {
        const variable = words.join(' ').match(/^(\w+)\s*=/)?.[1] ?? '';
        lasting ||= !CLEAN_VARIABLES.has(variable);
      }
    }
  };
  commands.forEach(look);
  if (/^[ \t]*\.(?:control|csparam)\b/im.test(netlist)) {
    for (const { text, control } of logicalLines(netlist, true)) {
      if (control) look(text);
      else if (/^\s*\.csparam\b/i.test(text)) lasting = true;
    }
  }
  return { unset: [...unset], lasting };
}
