/**
 * From what ngspice printed to a typed error. ngspice has no exit status here: the text on stderr and the plot that
 * it left are the only evidence, so every line that is not known to be harmless counts as a failure.
 */
import { OnefetError } from '../error.ts';
import type { SpiceJob } from './job.ts';

export class SpiceError extends OnefetError {
  /** Last lines that the simulator printed on stderr. */
  readonly stderr: string;
  /** Content hash of the job. */
  readonly netlistHash: string;

  constructor(
    code: string,
    message: string,
    evidence: { stderr?: readonly string[]; netlistHash?: string; hint?: string; cause?: unknown } = {},
  ) {
    const hash = evidence.netlistHash ?? '';
    super('simulation', code, hash ? `${message} [netlist ${hash.slice(0, 12)}]` : message, {
      ...(evidence.hint === undefined ? {} : { hint: evidence.hint }),
      cause: evidence.cause,
    });
    this.name = 'SpiceError';
    this.stderr = (evidence.stderr ?? []).slice(-20).join('\n').slice(-2000);
    this.netlistHash = hash;
  }
}

/** Lines that a good run prints. Anything else on stderr is an error. */
const HARMLESS = [
  /^\s*$/,
  /can't find the initialization file spinit/,
  /^Using (SPARSE 1\.3|KLU) as Direct Linear Solver/,
  /^Note: No compatibility mode selected/,
  /^Note: \S+: has no value, DC 0 assumed/,
  // Stepping that ends in a solution of the full circuit is a normal way to an operating point.
  /^Note: Starting (dynamic|true) gmin stepping/,
  /^Note: (Dynamic|True) gmin stepping completed/,
  /^Warning: (Dynamic|True) gmin stepping failed/,
  /^Note: Starting source stepping/,
  /^Note: Source stepping completed/,
];

/** In this order: the first that fits any line. */
const KNOWN: readonly { code: string; pattern: RegExp; what: string; hint?: string }[] = [
  {
    code: 'SPICE_SINGULAR_MATRIX',
    pattern: /singular matrix/i,
    what: 'the circuit has no unique solution',
    hint: 'look for a floating node, a loop of voltage sources, or two sources in parallel',
  },
  {
    code: 'SPICE_MODEL',
    pattern: /can't find model|valid modelname|unknown model|model type|unrecognized parameter|model issue/i,
    what: 'a device model is missing or not understood',
  },
  {
    code: 'SPICE_PARAMETER',
    pattern:
      /undefined parameter|cannot compute substitute|expression err|sign expected|formula\(\) error|not found in line fragment|undefined number/i,
    what: 'a parameter has no value',
    hint: 'define it with .param in the section that the corner names, or where the library leaves it to its user',
  },
  {
    code: 'SPICE_SECTION_OPEN',
    pattern: /\.endl not found/i,
    what: 'a section of a library has no end',
  },
  {
    code: 'SPICE_INCLUDE_MISSING',
    pattern: /could not find (?:include|library) file|include filename missing|library file/i,
    what: 'an included file is missing',
  },
  {
    code: 'SPICE_DOT_COMMAND',
    pattern: /unimplemented (dot command|control card)|no such command|is invalid|unknown (dot )?command/i,
    what: 'a command or dot-command is not understood',
  },
  {
    code: 'SPICE_NO_CIRCUIT',
    pattern: /there aren't any circuits|no circuit loaded|No job|not started/i,
    what: 'there is nothing to simulate',
  },
  {
    code: 'SPICE_LINE_IGNORED',
    pattern: /ignored|unknown parameter|unknown subckt|error on line|not a valid|too few|too many|syntax/i,
    what: 'a netlist line is not understood',
    hint: 'ngspice skips such a line and simulates the rest',
  },
  {
    code: 'SPICE_NO_CONVERGENCE',
    pattern: /no convergence|not converge|iteration limit|timestep too small|stepping failed|transient op/i,
    what: 'the analysis did not converge',
    hint: 'start the sweep nearer to zero, or loosen reltol',
  },
];

/** Lines that say only that something was said before. */
const EMPTY_WORDS =
  /^\s*(?:Simulation interrupted due to error!|ERROR: fatal error in ngspice, exit\(\d+\)|Run Spice anyway.*)\s*$/i;

/**
 * The error that these stderr lines amount to, or undefined when all of them are harmless. Its message is all that the
 * simulator said, with the file and text of each line that it names.
 */
export function classifyStderr(
  lines: readonly string[],
  netlistHash: string,
  job: Pick<SpiceJob, 'label' | 'netlist' | 'locate'>,
): SpiceError | undefined {
  const suspicious = suspiciousLines(lines);
  if (suspicious.length === 0) return undefined;
  const spoken = spokenError(lines, job);
  for (const { code, pattern, what, hint } of KNOWN) {
    if (!suspicious.some((candidate) => pattern.test(candidate))) continue;
    return new SpiceError(code, `${job.label}: ${what}: ${spoken}`, {
      stderr: lines,
      netlistHash,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  return new SpiceError('SPICE_STDERR', `${job.label}: ngspice says: ${spoken}`, {
    stderr: lines,
    netlistHash,
    hint: 'a line on stderr that is not known to be harmless counts as a failure',
  });
}

function suspiciousLines(lines: readonly string[]): string[] {
  return lines.filter((line) => !HARMLESS.some((pattern) => pattern.test(line)));
}

const MAX_SPOKEN_CHARS = 900;

/** All that the simulator said and is not harmless, in one line; a line number is followed by where that line is from. */
export function spokenError(
  lines: readonly string[],
  { netlist, locate }: Pick<SpiceJob, 'netlist' | 'locate'>,
): string {
  const spoken = suspiciousLines(lines).filter((line) => !EMPTY_WORDS.test(line));
  const words: string[] = [];
  const named = new Set<string>();
  for (const line of spoken.length > 0 ? spoken : suspiciousLines(lines)) {
    const text = oneLine(line).replace(/:$/, '');
    if (text === '' || named.has(text)) continue;
    named.add(text);
    const number = text.match(/\bline (?:no\. )?(\d+)\b/i)?.[1];
    const from = number === undefined ? undefined : locate?.(Number(number));
    words.push(from === undefined ? text : `${text} (${from} "${netlistLine(netlist, Number(number))}")`);
  }
  const whole = words.join('; ');
  return whole.length > MAX_SPOKEN_CHARS ? `${whole.slice(0, MAX_SPOKEN_CHARS)} ...` : whole;
}

function netlistLine(netlist: string, number: number): string {
  return oneLine(netlist.split('\n', number)[number - 1] ?? '').slice(0, 120);
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
