/**
 * Campaign of SPICE faults, small; larger ones by the counts in the environment:
 *   ONEFET_SPICE_JOBS=10000 npx vitest run src/spice/campaign.test.ts
 */
import { env } from 'node:process';
import { expect, test } from 'vitest';
import { memoryOfJobs, spiceCampaign } from '../testing/spice-campaign.ts';

const jobs = Number(env.ONEFET_SPICE_JOBS ?? 60);
const slow = 60_000 + 200 * jobs;

test(
  `${jobs} jobs, faults among them: each good job has its own numbers, each fault its own error`,
  async () => {
    const { outcomes, wrong, threadsStarted } = await spiceCampaign({
      jobs,
      threads: 2,
      seed: 1,
      faultEvery: 4,
    });
    expect(wrong).toEqual([]);
    expect(Object.keys(outcomes)).toHaveLength(16);
    if (env.ONEFET_SPICE_JOBS) console.info(JSON.stringify({ threadsStarted, outcomes }, null, 1));
  },
  slow,
);

// A few jobs say nothing about memory.
if (jobs >= 5000) {
  test(
    `${jobs} good jobs: memory grows by less than 5 %`,
    async () => {
      const mib = await memoryOfJobs(jobs);
      console.info(`resident memory after each tenth: ${mib.map(Math.round).join(' ')} MiB`);
      // One reading is some percent off: when the memory of an ended thread goes back is the system's affair.
      const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
      expect(mean(mib.slice(-3)) / mean(mib.slice(2, 5))).toBeLessThan(1.05);
    },
    slow,
  );
}
