/**
 * Which variant of the kernels was the fastest on this machine, in .onefet/cache/kernel.json of the working folder: the next
 * command need not compile, test and time the others. What is taken by it is tested all the same.
 */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { arch, version } from 'node:process';
import { z } from 'zod';
import { keepFile } from '../../../files.ts';
import { DOT_KINDS, type DotKind } from '../kernels/dot.ts';

const PATH = join('.onefet', 'cache', 'kernel.json');

const recordSchema = z.strictObject({
  schema: z.literal('onefet.kernel/1'),
  /** Node and processor. */
  machine: z.string(),
  kernel: z.enum(DOT_KINDS),
});

const machine = (): string => [version, arch, cpus()[0]?.model ?? ''].join(' ');

/** undefined where none was kept, or on another machine. */
export function knownKernel(path = PATH): DotKind | undefined {
  try {
    const record = recordSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    return record.machine === machine() ? record.kernel : undefined;
  } catch {
    return undefined;
  }
}

export function keepKernel(kernel: DotKind, path = PATH): void {
  keepFile(path, JSON.stringify({ schema: 'onefet.kernel/1', machine: machine(), kernel }));
}
