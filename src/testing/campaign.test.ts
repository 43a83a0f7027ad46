/** Some thousands of changed inputs; `npm run campaign` tries more and prints the table of SECURITY.md. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { expect, test } from 'vitest';
import { runCampaign } from './campaign.ts';

const asked = Number(env.ONEFET_CAMPAIGN ?? 0);

test('changed inputs are taken or refused, and nothing else', { timeout: 24 * 3600e3 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-campaign-'));
  try {
    const results = runCampaign(folder, asked || 100, asked || 1);
    if (asked) {
      const rows = results.map(
        ({ what, inputs, taken, refused, failures, slowestMs }) =>
          `| ${what} | ${inputs} | ${taken} | ${refused} | ${failures.length} | ${slowestMs.toFixed(0)} |`,
      );
      console.log(
        [
          '| inputs | tried | taken | refused | failed | slowest, ms |',
          '|---|---|---|---|---|---|',
          ...rows,
        ].join('\n'),
      );
    }
    expect(
      results
        .flatMap(({ failures }) => failures)
        .map((failure) => failure.split('\n').slice(0, 3).join(' '))
        .slice(0, 20),
    ).toEqual([]);
    for (const { what, taken, refused } of results) expect(taken * refused, what).toBeGreaterThan(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
