/**
 * The one error class of onefet, and the exit codes that it maps to.
 *
 * `kind` decides the exit code, `code` is a stable name for scripts, `message` is one line that says what is
 * wrong and where, `hint` says how to mend it.
 */
export const EXIT_CODES = {
  /** A bug in onefet. */
  internal: 1,
  /** The command line, a design, or another configuration file is wrong. */
  usage: 2,
  /** An input file is missing, damaged, or of a type that is not supported. */
  input: 3,
  /** A simulation or a fit failed. */
  simulation: 4,
  /** The result is below what `--require` asked for. */
  requirement: 5,
  /** Points of a sweep were refused or failed; the others are done. */
  incomplete: 6,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

export type ErrorKind = keyof typeof EXIT_CODES;

export class OnefetError extends Error {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(
    kind: ErrorKind,
    code: string,
    message: string,
    options: { hint?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'OnefetError';
    this.kind = kind;
    this.code = code;
    this.hint = options.hint;
  }

  get exitCode(): number {
    return EXIT_CODES[this.kind];
  }
}

/** Ctrl-C, or a caller's signal; `message` may add what was left behind. */
export function interrupted(
  message = 'interrupted',
  options: { hint?: string; cause?: unknown } = {},
): OnefetError {
  return new OnefetError('interrupted', 'INTERRUPTED', message, options);
}

/** An error as it crosses a thread boundary: structured clone keeps an Error's message but not its class. */
export interface PlainError {
  kind: ErrorKind;
  code: string;
  message: string;
  hint?: string;
  stack?: string;
}

export function toPlainError(error: unknown): PlainError {
  if (error instanceof OnefetError) {
    const { kind, code, message, hint, stack } = error;
    return { kind, code, message, ...(hint === undefined ? {} : { hint }), ...(stack ? { stack } : {}) };
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { kind: 'internal', code: 'UNEXPECTED', message, ...(stack ? { stack } : {}) };
}

export function fromPlainError(plain: PlainError): OnefetError {
  const error = new OnefetError(
    plain.kind,
    plain.code,
    plain.message,
    plain.hint === undefined ? {} : { hint: plain.hint },
  );
  if (plain.stack) error.stack = plain.stack;
  return error;
}

/** "did you mean": the known name nearest to `name` by edit distance, if it is near at all. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
