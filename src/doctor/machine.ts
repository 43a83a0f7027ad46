/** Checks of the machine: processor, Node, threads, memory, disk, and programs that some commands start. */
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { availableParallelism, cpus, freemem } from 'node:os';
import { delimiter, join } from 'node:path';
import { arch, cwd, env, platform, version, versions } from 'node:process';
import { reasonOf } from '../files.ts';
import { memoryLimitBytes } from '../memory.ts';
import type { Check } from './check.ts';

/** Oldest Node that runs the program; below the second one the WebAssembly engine is not trusted. */
const LEAST_NODE = 20;
const ENGINE_NODE = 22;
/** `npm start` peaks at 0.8 GB, an emulated Llama 3.1 8B at 9.9 GB with 8.3 GB of files. */
const LEAST_MEMORY_BYTES = 1 * 2 ** 30;
const LARGE_MEMORY_BYTES = 10 * 2 ** 30;
const LEAST_DISK_BYTES = 100 * 2 ** 20;
const LARGE_DISK_BYTES = 10 * 2 ** 30;

const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

export function checkMachine(): Check {
  const [first] = cpus();
  return {
    name: 'machine',
    state: 'ok',
    found: `${platform}-${arch}, ${first?.model.trim() ?? 'processor unknown'}`,
  };
}

/** `nodeVersion`: for tests. */
export function checkNode(nodeVersion: string = versions.node): Check {
  const major = Number(nodeVersion.split('.')[0]);
  const found = nodeVersion === versions.node ? version : `v${nodeVersion}`;
  if (major >= ENGINE_NODE) return { name: 'node', state: 'ok', found };
  const hint = 'install Node 24, or run onefet node SCRIPT, which takes the one that onefet runs with';
  if (major >= LEAST_NODE) {
    return { name: 'node', state: 'note', found: `${found}: the scalar engine only, which is slow`, hint };
  }
  return {
    name: 'node',
    state: 'fail',
    kind: 'usage',
    found: `${found}, ${LEAST_NODE} or newer is needed`,
    hint,
  };
}

export function checkThreads(): Check {
  const threads = availableParallelism();
  const found = `${threads} at a time`;
  return threads > 1
    ? { name: 'threads', state: 'ok', found }
    : { name: 'threads', state: 'note', found, hint: '--threads 1 avoids that two threads share one core' };
}

/** `limitBytes`: for tests. */
export function checkMemory(limitBytes: number = memoryLimitBytes()): Check {
  const found = `${gib(limitBytes)}, ${gib(Math.min(freemem(), limitBytes))} of it free`;
  if (limitBytes >= LARGE_MEMORY_BYTES) return { name: 'memory', state: 'ok', found };
  if (limitBytes >= LEAST_MEMORY_BYTES) {
    return {
      name: 'memory',
      state: 'note',
      found,
      hint: 'enough for small models; Llama 3.1 8B takes 9.9 GB: onefet run --dry-run says what a run needs',
    };
  }
  return { name: 'memory', state: 'fail', kind: 'usage', found, hint: 'give the machine or container 1 GiB' };
}

/** Can the working folder be written, and is there room? `folder`: for tests. */
export function checkDisk(folder: string = cwd()): Check {
  try {
    accessSync(folder, constants.W_OK);
    const { bavail, bsize } = statfsSync(folder);
    const freeBytes = bavail * bsize;
    const found = `${gib(freeBytes)} free in ${folder}`;
    if (freeBytes >= LARGE_DISK_BYTES) return { name: 'disk', state: 'ok', found };
    if (freeBytes >= LEAST_DISK_BYTES) {
      return {
        name: 'disk',
        state: 'note',
        found,
        hint: 'a Llama 3.1 8B and its caches take 8.3 GB; .onefet/cache may be removed whenever you like',
      };
    }
    return {
      name: 'disk',
      state: 'fail',
      kind: 'input',
      found,
      hint: 'free disk space; .onefet/cache may be removed whenever you like',
    };
  } catch (cause) {
    return {
      name: 'disk',
      state: 'fail',
      kind: 'input',
      found: `${folder} cannot be written: ${reasonOf(cause)}`,
      hint: 'work in a folder that can be written, or give --out',
    };
  }
}

const onPath = (...names: readonly string[]): string | undefined =>
  (env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, platform === 'win32' ? `${name}.exe` : name)))
    .find((path) => existsSync(path));

/** Programs that nothing but the named commands needs. */
export function checkPrograms(): Check[] {
  const optional = (name: string, use: string, hint: string, ...names: readonly string[]): Check => {
    const path = onPath(...names);
    return path === undefined
      ? { name, state: 'note', found: `not installed; only ${use} needs it`, hint }
      : { name, state: 'ok', found: path };
  };
  return [
    optional('native ngspice', 'onefet bench spice', 'on Debian: apt-get install ngspice', 'ngspice'),
    optional(
      'chromium',
      'the test of the report pages',
      'on Debian: apt-get install chromium',
      ...['chromium', 'chromium-browser', 'google-chrome'],
    ),
  ];
}
