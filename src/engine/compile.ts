/** Assembles kernels to a WebAssembly module. */
import v8 from 'node:v8';
import wabt from 'wabt';
import { OnefetError } from '../error.ts';
import { moduleText, type WatFunction } from './wat.ts';

let assembler: ReturnType<typeof wabt> | undefined;

/**
 * Lets V8 pair neighbouring 128-bit operations into 256-bit ones. A flag of the whole process, read whenever a
 * function is optimised; Node versions that do not know it print nothing and go on with 128 bits.
 */
export function requestWideVectors(): void {
  v8.setFlagsFromString('--experimental-wasm-revectorize');
}

export async function compileKernels(functions: readonly WatFunction[]): Promise<WebAssembly.Module> {
  assembler ??= wabt();
  const { parseWat } = await assembler;
  const features = { simd: true, relaxed_simd: true, threads: true, multi_memory: true, bulk_memory: true };
  const module = parseWat('kernels.wat', moduleText(functions), features);
  try {
    return await WebAssembly.compile(module.toBinary({}).buffer as Uint8Array<ArrayBuffer>);
  } catch (cause) {
    throw new OnefetError(
      'internal',
      'ENGINE_COMPILE',
      `the engine's kernels do not compile on Node ${process.version}`,
      {
        cause,
        hint: 'the fast engine needs Node 22 or later (multi-memory); use the scalar kernel',
      },
    );
  } finally {
    module.destroy();
  }
}
