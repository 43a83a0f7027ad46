/**
 * Results of simulations by content hash, in `.onefet/cache/spice/` of the working folder. An entry is one JSON line
 * (hash of the body, lengths of the raw files) followed by the raw files. A damaged entry counts as absent.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { keepFile, sha256 } from '../files.ts';

export const DEFAULT_CACHE_FOLDER = join('.onefet', 'cache', 'spice');

const headerSchema = z.strictObject({
  schema: z.literal('onefet.spice-cache/1'),
  bodySha256: z.string(),
  lengths: z.array(z.int().nonnegative()).max(4096),
});

function entryPath(folder: string, hash: string): string {
  return join(folder, hash.slice(0, 2), `${hash}.raw`);
}

/** Raw files of a finished job, or undefined when there is no intact entry. */
export function readCache(folder: string, hash: string): Uint8Array[] | undefined {
  const path = entryPath(folder, hash);
  if (!existsSync(path)) return undefined;
  try {
    const bytes = readFileSync(path);
    const end = bytes.indexOf(10);
    if (end < 0) return undefined;
    const header = headerSchema.parse(JSON.parse(bytes.toString('utf8', 0, end)));
    const body = bytes.subarray(end + 1);
    if (header.lengths.reduce((sum, length) => sum + length, 0) !== body.length) return undefined;
    if (sha256(body) !== header.bodySha256) return undefined;
    const files: Uint8Array[] = [];
    let at = 0;
    for (const length of header.lengths) {
      files.push(Uint8Array.from(body.subarray(at, at + length)));
      at += length;
    }
    return files;
  } catch {
    // Unreadable or not ours: simulate again and overwrite it.
    return undefined;
  }
}

export function writeCache(folder: string, hash: string, files: readonly Uint8Array[]): void {
  const body = Buffer.concat(files);
  const header = {
    schema: 'onefet.spice-cache/1',
    bodySha256: sha256(body),
    lengths: files.map((file) => file.byteLength),
  };
  keepFile(entryPath(folder, hash), Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), body]));
}
