/** Pools of simulators for tests. */
import type { SpicePool } from '../spice/pool.ts';

interface CountingPool {
  readonly pool: SpicePool;
  /** Of every finished job, in order. */
  readonly jobs: { hash: string; fromCache: boolean }[];
}

/** Wraps a pool and notes every job that it finishes: work is counted, not timed. */
export function countingPool(inner: SpicePool): CountingPool {
  const jobs: CountingPool['jobs'] = [];
  const pool: SpicePool = {
    ...inner,
    get threadsStarted() {
      return inner.threadsStarted;
    },
    async run(job, signal) {
      const result = await inner.run(job, signal);
      jobs.push({ hash: result.hash, fromCache: result.fromCache });
      return result;
    },
  };
  return { pool, jobs };
}
