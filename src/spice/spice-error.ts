/**
 * From what ngspice printed to a typed error. ngspice has no exit status here: the text on stderr and the plot that
 * it left are the only evidence, so every line that is not known to be harmless counts as a failure.
 */
import { OnefetError } from '../error.ts';

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

const KNOWN: readonly { code: string; pattern: RegExp; what: string; hint?: string }[] = [
  {
    code: 'SPICE_SINGULAR_MATRIX',
    pattern: /singular matrix/i,
    what: 'the circuit has no unique solution',
    hint: 'look for a floating node, a loop of voltage sources, or two sources in parallel',
  },
  {
    code: 'SPICE_MODEL',
    pattern: /can't find model|valid modelname|unknown model|model type|unrecognized parameter/i,
    what: 'a device model is missing or not understood',
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

/** The error that these stderr lines amount to, or undefined when all of them are harmless. */
export function classifyStderr(
  lines: readonly string[],
  netlistHash: string,
  label: string,
): SpiceError | undefined {
  const suspicious = lines.filter((line) => !HARMLESS.some((pattern) => pattern.test(line)));
  if (suspicious.length === 0) return undefined;
  for (const { code, pattern, what, hint } of KNOWN) {
    const line = suspicious.find((candidate) => pattern.test(candidate));
    if (line === undefined) continue;
    return new SpiceError(code, `${label}: ${what}: ${oneLine(line)}`, {
      stderr: lines,
      netlistHash,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  return new SpiceError('SPICE_STDERR', `${label}: ngspice says: ${oneLine(suspicious[0])}`, {
    stderr: lines,
    netlistHash,
    hint: 'a line on stderr that is not known to be harmless counts as a failure',
  });
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 200);
}
