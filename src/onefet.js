#!/usr/bin/env node
// The launcher, in plain JavaScript that any Node from 18 on can parse. It finds a Node that runs onefet (24 or
// newer: TypeScript without a build step, and a WebAssembly compiler whose SIMD is fast and correct), which it fetches once
// where there is none, and the program (src/cli.ts in a checkout, dist/cli.js in an installed package: Node strips no types
// below node_modules).
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import nodeProcess, { argv, env, exit, kill, pid, stderr, versions } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { cacheFolder, fetchedNode, fetchNode, installedNode, WANTED_MAJOR } from './another-node.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src', 'cli.ts');
const compiled = join(root, 'dist', 'cli.js');
const inCheckout = existsSync(source) && !root.split(/[\\/]/).includes('node_modules');
const program = inCheckout ? source : compiled;

if (Number(versions.node.split('.')[0]) >= WANTED_MAJOR) {
  cacheCompiledCode();
  const cli = await import(pathToFileURL(program).href);
  await cli.main(argv.slice(2));
} else {
  runWith(installedNode() ?? fetchedNode() ?? (await fetchNode()));
}

/**
 * Keeps compiled code, with the types stripped, in the user's cache folder: never in the working folder or in the
 * package, which may be read-only. Node goes on without a cache where it cannot be written, and an environment that
 * names one (NODE_COMPILE_CACHE) or wants none (NODE_DISABLE_COMPILE_CACHE) is obeyed.
 */
function cacheCompiledCode() {
  if (typeof module.enableCompileCache !== 'function' || env.NODE_COMPILE_CACHE) return;
  try {
    const folder = join(cacheFolder(), 'node');
    const { status } = module.enableCompileCache(folder);
    // Worker threads know the folder by the environment only; each would compile the engine or a simulator again.
    if (status === module.constants.compileCacheStatus.ENABLED) env.NODE_COMPILE_CACHE = folder;
  } catch {
    // No home folder: compile as ever.
  }
}

/** Runs this launcher again with another Node: signals go to it, and this process ends as it does. */
function runWith(node) {
  let child;
  const early = [];
  // Before the child is started: a signal that comes meanwhile would end this process and leave the child alone.
  // At a terminal Ctrl-C reaches the child twice, from the terminal and from here: src/cli.ts counts that as once.
  const forwarded = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGBREAK'];
  for (const signal of forwarded)
    if (signal in constants.signals)
      nodeProcess.on(signal, () => (child ? child.kill(signal) : early.push(signal)));
  child = spawn(node, [fileURLToPath(import.meta.url), ...argv.slice(2)], { stdio: 'inherit' });
  for (const signal of early) child.kill(signal);
  child.on('error', (error) => {
    stderr.write(`onefet: error: cannot start ${node}: ${error.message}\n`);
    exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) exit(code);
    // Dies of the same signal; where that is impossible, with the exit code by which shells tell of it.
    nodeProcess.removeAllListeners(signal);
    kill(pid, signal);
    setTimeout(() => exit(128 + (constants.signals[signal] ?? 1)), 100);
  });
}
