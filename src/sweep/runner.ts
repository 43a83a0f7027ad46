/** What the kinds of experiments have in common while they run. */
import type { Outcome } from './outcome.ts';
import type { PlannedPoint, PointRun } from './plan.ts';

export interface SweepHooks {
  readonly signal?: AbortSignal;
  /** Shares of the work; `leftS` once something was measured. */
  readonly onProgress?: (done: number, total: number, label: string, leftS: number | undefined) => void;
  readonly onNotice?: (text: string) => void;
  readonly onPoint?: (outcome: Outcome) => void;
  readonly command?: readonly string[];
}

/** Runs points of one kind, one after the other. */
export interface PointRunner<R extends PointRun> {
  /** Throws what point-error.ts knows for a point that fails. */
  run(point: PlannedPoint<R>, run: R): Promise<Outcome>;
  /** The point has its outcome. */
  ended(index: number): void;
  /** Ends what points share. */
  close(): Promise<void>;
}

/** 0, n/2, n/4, 3n/4, ...: numbers with the bits of their place turned round, as van der Corput's sequence has them. */
export function executionOrder(numbers: readonly number[]): number[] {
  const bits = Math.ceil(Math.log2(Math.max(1, numbers.length)));
  const order: number[] = [];
  for (let i = 0; i < 2 ** bits; i++) {
    let turned = 0;
    for (let bit = 0; bit < bits; bit++) turned = 2 * turned + ((i >> bit) & 1);
    if (turned < numbers.length) order.push(numbers[turned]);
  }
  return order;
}

/** What `--dry-run` says. */
export interface SweepEstimate {
  readonly points: number;
  readonly ownPoints: number;
  readonly refused: number;
  readonly jobs: number;
  readonly finishedJobs: number;
  readonly seconds: number;
  readonly memoryBytes: number;
}
