/**
 * The threads in step: one shared record of integers.
 *
 * The main thread writes a command and raises `sequence`; every worker runs the same program, takes items of a stage
 * from one counter and meets the others at a barrier between stages. The last one to arrive resets the counter. Who
 * takes which item does not change a result: an item is computed by one worker, in a fixed order.
 */
import { OnefetError } from '../../error.ts';

const WORD = {
  sequence: 0,
  done: 1,
  failed: 2,
  queue: 16,
  arrived: 32,
  generation: 48,
  command: 64,
  operands: 65,
} as const;
export const CONTROL_WORDS = 96;

/** The tokens that a command works on. */
export interface Batch {
  readonly count: number;
  /** Position of the first, and the window: what draws are keyed by. */
  readonly position: number;
  readonly window: number;
  /** The text that they continue; -1: each is of another, its position and text in `Layout.places`. */
  readonly text: number;
}

/** Stages of a batch, and what is shown between two of them. */
export interface Stages {
  readonly batch: Batch;
  readonly from: number;
  readonly to: number;
  readonly begin: Beginning;
  /** Ends where the outputs of stage `to` - 1 stand whole, before anything is made of them. */
  readonly shows: boolean;
}

/**
 * How stages begin: behind those before them; behind one that was shown, of whose outputs something is still to be made; or on
 * inputs that were put where stage `from` reads.
 */
const BEGINNINGS = ['behind', 'shown', 'given'] as const;
export type Beginning = (typeof BEGINNINGS)[number];

/** What a crew does for an engine. */
export type Work =
  /** Fills what is resident: what depends on the model and the formats of its weights alone. */
  | { readonly kind: 'load' }
  /** Fills what is the engine's own: tables of columns, and baked weights. */
  | { readonly kind: 'chip' }
  /** Trims the columns of a chip. */
  | { readonly kind: 'trim' }
  /** Stages `from` to `to` - 1 of all blocks, four a block (model/architecture.ts). */
  | ({ readonly kind: 'layers' } & Stages)
  /** Logits, from token `from` of the batch that went through the layers last. */
  | { readonly kind: 'head'; readonly batch: Batch; readonly from: number };

/** A command to all workers; engines have numbers. */
export type Command = { readonly engine: number } & (
  | Work
  /** Takes up an engine, whose data come as a message, or lets it go. */
  | { readonly kind: 'attach' }
  | { readonly kind: 'detach' }
);

const KINDS = [
  'attach',
  'detach',
  'load',
  'chip',
  'trim',
  'layers',
  'head',
] as const satisfies readonly Command['kind'][];
/** A command in the shared record: its kind, then these. */
const OPERANDS = ['engine', 'count', 'position', 'window', 'text', 'from', 'to', 'begin', 'shows'] as const;
type Operands = Partial<Record<(typeof OPERANDS)[number], number>>;

/** Turns in which a worker looks again before it goes to sleep: some 20 us, the length of a short stage. */
const SPINS = 2000;

export interface Crew {
  readonly words: Int32Array;
  readonly threads: number;
}

/** Runs `visit` for items 0 .. count - 1, shared with the other workers, and waits until all are done. */
export function stage(crew: Crew, count: number, visit: (item: number) => void): void {
  const { words } = crew;
  for (;;) {
    if (Atomics.load(words, WORD.failed)) throw new OtherFailed();
    const item = Atomics.add(words, WORD.queue, 1);
    if (item >= count) break;
    visit(item);
  }
  barrier(crew);
}

function barrier({ words, threads }: Crew): void {
  const generation = Atomics.load(words, WORD.generation);
  if (Atomics.add(words, WORD.arrived, 1) + 1 === threads) {
    Atomics.store(words, WORD.queue, 0);
    Atomics.store(words, WORD.arrived, 0);
    Atomics.add(words, WORD.generation, 1);
    Atomics.notify(words, WORD.generation);
    return;
  }
  for (let spin = 0; spin < SPINS; spin++) {
    if (Atomics.load(words, WORD.generation) !== generation) return;
  }
  while (Atomics.load(words, WORD.generation) === generation) {
    if (Atomics.load(words, WORD.failed)) throw new OtherFailed();
    Atomics.wait(words, WORD.generation, generation, 100);
  }
}

/** Another worker failed and reports it, or the work is to end; this one only has to stop. */
export class OtherFailed extends Error {}

/** Worker: the next command after number `seen`. */
export function nextCommand({ words }: Crew, seen: number): Command {
  while (Atomics.load(words, WORD.sequence) === seen) Atomics.wait(words, WORD.sequence, seen);
  const [engine, count, position, window, text, from, to, begin, shows] = OPERANDS.map(
    (_, i) => words[WORD.operands + i],
  );
  const batch = { count, position, window, text };
  const kind = KINDS[words[WORD.command]];
  switch (kind) {
    case 'layers':
      return { kind, engine, batch, from, to, begin: BEGINNINGS[begin], shows: shows === 1 };
    case 'head':
      return { kind, engine, batch, from };
    default:
      return { kind, engine };
  }
}

export function finish({ words }: Crew): void {
  Atomics.add(words, WORD.done, 1);
  Atomics.notify(words, WORD.done);
}

export function fail({ words }: Crew): void {
  Atomics.store(words, WORD.failed, 1);
  Atomics.notify(words, WORD.generation);
  Atomics.notify(words, WORD.done);
}

/** Items of the current stage that were taken. */
export const itemsTaken = ({ words }: Crew): number => Atomics.load(words, WORD.queue);

const hasFailed = ({ words }: Crew): boolean => Atomics.load(words, WORD.failed) !== 0;

/** Main thread: starts a command; `finished` tells when all workers did it. */
export function send({ words }: Crew, command: Command): void {
  const operands = operandsOf(command);
  words[WORD.command] = KINDS.indexOf(command.kind);
  OPERANDS.forEach((name, i) => {
    words[WORD.operands + i] = operands[name] ?? 0;
  });
  Atomics.store(words, WORD.done, 0);
  Atomics.add(words, WORD.sequence, 1);
  Atomics.notify(words, WORD.sequence);
}

function operandsOf(command: Command): Operands {
  if (command.kind !== 'layers') return 'batch' in command ? { ...command.batch, ...command } : command;
  const { begin, shows } = command;
  return { ...command.batch, ...command, begin: BEGINNINGS.indexOf(begin), shows: shows ? 1 : 0 };
}

export async function finished(crew: Crew): Promise<void> {
  const { words, threads } = crew;
  for (;;) {
    const done = Atomics.load(words, WORD.done);
    if (done === threads) return;
    if (hasFailed(crew)) throw new OnefetError('internal', 'ENGINE_WORKER', 'a thread of the engine failed');
    await Atomics.waitAsync(words, WORD.done, done, 200).value;
  }
}
