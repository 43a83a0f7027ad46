/** A few faults of the machine; `npm run campaign` runs hundreds and prints the table of SECURITY.md. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, platform } from 'node:process';
import { expect, test } from 'vitest';
import { needs } from '../needs.ts';
import { faultCampaign, faultTable } from './faults.ts';

/** Share of the campaign's rounds, 0 to 1; without one, the few of every day. */
const share = Number(env.ONEFET_FAULTS ?? 0);
const seed = Number(env.ONEFET_CAMPAIGN_SEED ?? 1);
const posix = needs(platform === 'win32' ? 'Windows has no signals' : undefined);

test('the same result after every fault', { ...posix, timeout: 24 * 3600e3 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-faults-'));
  try {
    const results = await faultCampaign(folder, share, seed, new RegExp(env.ONEFET_CAMPAIGN_OF ?? '.'));
    if (share > 0) console.log(faultTable(results));
    expect(results.flatMap(({ failures }) => failures)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
