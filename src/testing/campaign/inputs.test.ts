/** Some thousands of changed inputs; `npm run campaign` tries more and prints the table of SECURITY.md. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { expect, test } from 'vitest';
import { INPUT_TARGETS } from './inputs.ts';
import { campaignTable, runCampaign, type Target } from './run.ts';
import { SEALED_TARGETS } from './sealed.ts';
import { WRITTEN_TARGETS } from './written.ts';

const asked = Number(env.ONEFET_CAMPAIGN ?? 0);
const seed = Number(env.ONEFET_CAMPAIGN_SEED ?? 1);
/** Of what: a part of a name in the table. */
const only = new RegExp(env.ONEFET_CAMPAIGN_OF ?? '.');

const campaigns: readonly [string, readonly Target[], number][] = [
  ['what others wrote is taken or refused', INPUT_TARGETS, 100],
  ['what somebody sealed again is taken or refused', WRITTEN_TARGETS, 100],
  ['what onefet wrote is what was written, or is not believed', SEALED_TARGETS, 200],
];

test.each(campaigns)('changed files: %s', { timeout: 24 * 3600e3 }, async (_, targets, few) => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-campaign-'));
  try {
    const results = await runCampaign(targets, folder, asked || few, seed, only);
    if (asked) console.log(campaignTable(results));
    expect(
      results
        .flatMap(({ failures }) => failures)
        .map((failure) => failure.split('\n').slice(0, 4).join(' '))
        .slice(0, 20),
    ).toEqual([]);
    // A target that takes all or nothing tells nothing.
    for (const { what, inputs, taken, refused } of results) {
      expect(refused, what).toBeGreaterThan(0);
      if (inputs >= few) expect(taken, what).toBeGreaterThan(0);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
