/**
 * Fits of corners by content hash, beside the cached simulations. A fit takes half a second, twenty times what its
 * cached simulation takes to load; with both cached a repeated calibration does nothing twice.
 *
 * The key covers everything that decides a fit: the swept currents, the arguments, and the revision of the fit.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { cornerSchema } from '../../cell/calibration.ts';
import { COEFFICIENT_COUNT } from '../../cell/ekv.ts';
import { keepFile, sha256 } from '../../files.ts';
import type { TransferSweep } from '../sweeps.ts';
import { fitCorner } from './corner-fit.ts';

type Fitted = ReturnType<typeof fitCorner>;

const row = z.array(z.number()).length(COEFFICIENT_COUNT);
const entrySchema = z.strictObject({
  schema: z.literal('onefet.fit-cache/1'),
  bodySha256: z.string(),
  body: z.string().max(16 << 20),
});
const bodySchema = z.strictObject({
  fit: z.strictObject({
    coefficients: row,
    covariance: z.array(row).length(COEFFICIENT_COUNT),
    residual: z.strictObject({ points: z.int(), rms: z.number(), max: z.number() }),
    iterations: z.int(),
  }),
  entry: cornerSchema,
});

/** Raise it with any change of fit.ts, corner-fit.ts or ekv.ts that changes a fitted number: older entries become unknown. */
const FIT_REVISION = 'fit 2';

/** As fitCorner, from the cache where it is known. `folder` null or undefined: no cache. A damaged entry counts as absent. */
export function cachedFitCorner(
  folder: string | null | undefined,
  sweep: TransferSweep,
  fullScaleA: number,
  nominalVdsV: number,
  start: readonly number[] | undefined,
): Fitted {
  if (folder === null || folder === undefined) return fitCorner(sweep, fullScaleA, nominalVdsV, start);
  const { tempK, vgs, vds, drainA } = sweep;
  const key = sha256(
    FIT_REVISION,
    JSON.stringify({ tempK, vgs, vds, fullScaleA, nominalVdsV, start: start ?? null }),
    ...drainA.map((values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
  );
  const path = join(folder, 'fit', key.slice(0, 2), `${key}.json`);
  const known = read(path);
  if (known !== undefined) return known;
  const fitted = fitCorner(sweep, fullScaleA, nominalVdsV, start);
  const body = JSON.stringify(fitted);
  keepFile(path, JSON.stringify({ schema: 'onefet.fit-cache/1', bodySha256: sha256(body), body }));
  return fitted;
}

function read(path: string): Fitted | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const { body, bodySha256 } = entrySchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    if (sha256(body) !== bodySha256) return undefined;
    return bodySchema.parse(JSON.parse(body));
  } catch {
    // Unreadable or not ours: fit again and overwrite it.
    return undefined;
  }
}
