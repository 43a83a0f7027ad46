/**
 * Constants that kernels broadcast from memory: V8 builds a 128-bit immediate anew at every use, which costs more than
 * the arithmetic around it. Kernels ask for a value while they are emitted and get its address; the table stands at the
 * start of the state memory, below everything that is allocated there.
 */
import { OnefetError } from '../error.ts';
import { type Body, type Expr, i32, load } from './wat.ts';

/** Address 0 is left unused. */
const START = 64;
/** Start of free memory: room for a thousand constants. */
export const CONSTANTS_END = 4096;

const words: number[] = [];

function address(word: number): number {
  let at = words.indexOf(word);
  if (at < 0) {
    at = words.length;
    words.push(word);
    checkSpace();
  }
  return START + 4 * at;
}

function checkSpace(): void {
  if (START + 4 * words.length > CONSTANTS_END) {
    throw new OnefetError(
      'internal',
      'ENGINE_CONSTANTS',
      'the kernels use more constants than the table has room for',
    );
  }
}

const bitsOf = (x: number): number => new Int32Array(new Float32Array([x]).buffer)[0];

/** A local that holds a value in every lane, set where it is called. */
function held(f: Body, name: string, word: number): Expr<'v128'> {
  const local = f.local('v128', name);
  f.set(local, load.splat32(i32.of(address(word))));
  return local.get;
}
export const heldF32 = (f: Body, name: string, x: number): Expr<'v128'> => held(f, name, bitsOf(x));
export const heldI32 = (f: Body, name: string, x: number): Expr<'v128'> => held(f, name, x | 0);

/**
 * Address of integers that stand one after another: what neighbouring loads can read. The revectorizer does not pair
 * 128-bit immediates, and gives up on all that is computed from them.
 */
export function addressOfRun(run: readonly number[]): number {
  let at = words.findIndex((_, start) => run.every((word, i) => words[start + i] === word));
  if (at < 0) {
    at = words.length;
    words.push(...run);
    checkSpace();
  }
  return START + 4 * at;
}

/** Call after the kernels were emitted, before any of them runs. */
export function writeConstants(state: WebAssembly.Memory): void {
  new Int32Array(state.buffer).set(words, START / 4);
}
