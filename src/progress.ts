/** Progress with an estimate on stderr: one line that is rewritten on a terminal, a line every few seconds elsewhere. */
import { stderr } from 'node:process';

export interface Progress {
  /** `done` of `total` in any unit that is roughly proportional to time; `leftS`: an estimate of one's own, s. */
  update(done: number, total: number, label: string, leftS?: number): void;
  /** A line that stays. */
  say(line: string): void;
  /** Ends the line; without a message the line is wiped. */
  finish(message?: string): void;
}

/** Seconds between two lines where stderr is not a terminal. */
const PLAIN_INTERVAL_S = 5;

export function stderrProgress(enabled: boolean): Progress {
  const stream = stderr;
  let startedMs: number | undefined;
  let startedAt = 0;
  let printedMs = 0;
  let open = false;
  return {
    update(done, total, label, leftS) {
      if (!enabled) return;
      const now = performance.now();
      if (startedMs === undefined) {
        startedMs = now;
        // Work that an earlier run finished is not part of the rate.
        startedAt = done;
        printedMs = now;
      }
      const last = done >= total;
      const interval = stream.isTTY ? 0.1 : PLAIN_INTERVAL_S;
      if (!last && now - printedMs < interval * 1e3) return;
      printedMs = now;
      const elapsedS = (now - startedMs) / 1e3;
      const rate = (done - startedAt) / elapsedS;
      const seconds = leftS ?? (rate > 0 ? (total - done) / rate : undefined);
      const left = seconds !== undefined && !last ? `, about ${formatSeconds(seconds)} left` : '';
      const text = `${label}  ${total > 0 ? Math.floor((100 * done) / total) : 100} %${left}`;
      if (stream.isTTY) {
        stream.write(`\r\x1b[2K${text.slice(0, (stream.columns || 80) - 1)}`);
        open = true;
      } else stream.write(`${text}\n`);
    },
    say(line) {
      if (!enabled) return;
      if (open) stream.write('\r\x1b[2K');
      open = false;
      stream.write(`${line}\n`);
    },
    finish(message) {
      if (!enabled) return;
      if (open) stream.write('\r\x1b[2K');
      open = false;
      startedMs = undefined;
      if (message) stream.write(`${message}\n`);
    },
  };
}

/** Writes a time for people. */
export function formatSeconds(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
