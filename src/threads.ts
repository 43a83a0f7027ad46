/** How many worker threads may work for one command or call. */
import { availableParallelism } from 'node:os';
import { OnefetError } from './error.ts';

/** What the machine runs at a time, two at least: threads of an engine wait for each other without sleeping. */
export const mostThreads = (): number => Math.max(2, availableParallelism());

/** Refuses a number of threads that would never end. Error: THREADS. */
export function requireThreads(threads: number): void {
  const most = mostThreads();
  if (Number.isInteger(threads) && threads >= 1 && threads <= most) return;
  throw new OnefetError(
    'usage',
    'THREADS',
    `threads is ${threads}: 1 to ${most} are possible on this machine`,
    {
      hint: 'threads of an engine wait for each other without sleeping: more than the machine runs at a time never end',
    },
  );
}
