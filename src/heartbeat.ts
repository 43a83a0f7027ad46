/**
 * Signs of life of the locks that this process holds: every BEAT_S seconds a thread of its own writes the first byte of each
 * again, so that the file system's own clock marks it, also while the main thread computes. The thread starts with the
 * first lock that is held for longer than START_MS, and keeps no process alive.
 */
import { Worker } from 'node:worker_threads';

export const BEAT_S = 30;
const START_MS = 5000;

/** Plain JavaScript: a thread that needs none of the program. A lock begins with a brace. */
const CODE = `
const { parentPort, workerData } = require('node:worker_threads');
const { closeSync, openSync, writeSync } = require('node:fs');
const paths = new Set();
const beat = (path) => {
  try {
    const handle = openSync(path, 'r+');
    try { writeSync(handle, '{', 0); } finally { closeSync(handle); }
  } catch {}
};
setInterval(() => paths.forEach(beat), workerData.beatMs);
parentPort.on('message', ({ path, held }) => {
  if (held) { paths.add(path); beat(path); } else paths.delete(path);
});
`;

let thread: Worker | undefined;

/** Keeps the lock at `path` fresh until the returned function is called. */
export function keepFresh(path: string, { startMs = START_MS, beatS = BEAT_S } = {}): () => void {
  let told = false;
  const timer = setTimeout(() => {
    thread ??= startThread(beatS);
    thread.postMessage({ path, held: true });
    told = true;
  }, startMs);
  timer.unref();
  return () => {
    clearTimeout(timer);
    if (told) thread?.postMessage({ path, held: false });
  };
}

function startThread(beatS: number): Worker {
  const started = new Worker(CODE, { eval: true, workerData: { beatMs: beatS * 1e3 } });
  started.unref();
  // Without it locks go stale after their lease, which holders notice before they write.
  started.on('error', () => {
    thread = undefined;
  });
  return started;
}
