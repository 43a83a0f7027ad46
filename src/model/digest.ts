/**
 * SHA-256 of model files: of one of several gigabytes it takes longer than opening it, so it is kept by the file's identity
 * (device, inode, size, times of change) in .onefet/cache/digests.json of the working folder, for the files that were hashed
 * last. A file that was written in the last seconds could be written again without any of these changing: its digest is not
 * kept. It is a cache: where it cannot be read or written, files are hashed.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { keepFile } from '../files.ts';
import { decodeResult, encodeResult } from '../sources.ts';
import type { GgufFile } from './gguf-file.ts';

const PATH = join('.onefet', 'cache', 'digests.json');
/** Smaller files are hashed in less time than the record is read and written in. */
const LEAST_BYTES = 2 ** 24;
const MOST_ENTRIES = 64;
/** Longer than the steps of any file system's clock. */
const SETTLED_MS = 3000;

const recordSchema = z.strictObject({
  schema: z.literal('onefet.digests/2'),
  /** The newest last. */
  digests: z.array(z.tuple([z.string(), z.string().regex(/^[0-9a-f]{64}$/)])).max(MOST_ENTRIES),
});
type Digests = z.infer<typeof recordSchema>['digests'];

type Hashed = Pick<GgufFile, 'identity' | 'sizeBytes' | 'read'>;

/** Returns the SHA-256 of an open model, in hex: kept, or computed and kept. */
export function fileDigest(file: Hashed, path = PATH, leastBytes = LEAST_BYTES): string {
  if (file.sizeBytes < leastBytes) return hashFile(file);
  const kept = readDigests(path);
  const known = kept.find(([identity]) => identity === file.identity);
  if (known) return known[1];
  const digest = hashFile(file);
  if (isSettled(file)) {
    const others = readDigests(path).filter(([identity]) => identity !== file.identity);
    const digests = [...others, [file.identity, digest]].slice(-MOST_ENTRIES);
    keepFile(path, encodeResult({ schema: 'onefet.digests/2', digests }, 'the digests of models'));
  }
  return digest;
}

function readDigests(path: string): Digests {
  try {
    return recordSchema.parse(decodeResult(readFileSync(path, 'utf8'))).digests;
  } catch {
    return [];
  }
}

/** Is the last change of every part some seconds ago? An identity has device, inode, size and two times, ns, of each. */
function isSettled({ identity }: Hashed): boolean {
  const changes = identity.split(' ').flatMap((part) => part.split(':').slice(3));
  return changes.every((ns) => Number(BigInt(ns) / 1_000_000n) < Date.now() - SETTLED_MS);
}

function hashFile(file: Hashed): string {
  const hash = createHash('sha256');
  const chunk = new Uint8Array(2 ** 20);
  for (let position = 0; position < file.sizeBytes; position += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, file.sizeBytes - position));
    file.read(position, part);
    hash.update(part);
  }
  return hash.digest('hex');
}
