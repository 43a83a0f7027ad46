/** Assembles kernels to a WebAssembly module. */
import { version, versions } from 'node:process';
import v8 from 'node:v8';
import type Wabt from 'wabt';
import { OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import { moduleText, type WatFunction } from './wat.ts';

let assembler: ReturnType<typeof Wabt> | undefined;

/**
 * V8 settings while the kernels are compiled, and back to what V8 does by default afterwards:
 *   experimental-wasm-revectorize  pairs neighbouring 128-bit operations into 256-bit ones (twice the speed)
 *   no-liftoff, no-wasm-lazy-compilation  everything through the optimising compiler at once: the self-test then sees the
 *     code that will run, and the first token is as fast as the last
 *   experimental-wasm-relaxed-simd  multiplications with additions, a part of the language since Node 21
 * Each with the first version of Node that knows it: a version that does not would complain on stderr.
 */
const NODE = Number.parseInt(versions.node, 10);
const FLAGS = [
  { on: '--experimental-wasm-revectorize', off: '--no-experimental-wasm-revectorize', known: NODE >= 22 },
  { on: '--no-liftoff', off: '--liftoff', known: true },
  { on: '--no-wasm-lazy-compilation', off: '--wasm-lazy-compilation', known: true },
  { on: '--experimental-wasm-relaxed-simd', off: '--no-experimental-wasm-relaxed-simd', known: NODE < 21 },
].filter(({ known }) => known);

export async function compileKernels(functions: readonly WatFunction[]): Promise<WebAssembly.Module> {
  // Threads that are given compiled kernels import this file as well: the assembler is loaded where it is used.
  assembler ??= import('wabt').then(({ default: wabt }) => wabt());
  const { parseWat } = await assembler;
  const features = { simd: true, relaxed_simd: true, threads: true, multi_memory: true, bulk_memory: true };
  const parsed = parseWat('kernels.wat', moduleText(functions), features);
  const bytes = parsed.toBinary({}).buffer;
  parsed.destroy();
  for (const { on } of FLAGS) v8.setFlagsFromString(on);
  try {
    return new WebAssembly.Module(bytes);
  } catch (cause) {
    throw new OnefetError(
      'internal',
      'ENGINE_COMPILE',
      `the engine's kernels do not compile on Node ${version}: ${reasonOf(cause)}`,
      { cause, hint: 'WebAssembly with several memories needs Node 22 or newer; take --engine scalar' },
    );
  } finally {
    for (const { off } of FLAGS) v8.setFlagsFromString(off);
  }
}
