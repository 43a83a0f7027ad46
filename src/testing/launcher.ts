/** The command line as a process of its own, through the launcher. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { env, execPath } from 'node:process';
import { packageRoot } from '../files.ts';

export const LAUNCHER = join(packageRoot, 'src/onefet.js');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Launched {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

export interface LaunchOptions {
  readonly folder: string;
  /** Options of Node itself. */
  readonly node?: readonly string[];
  /** A program that starts Node, with its options: strace, a shell that sets a limit. */
  readonly under?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts `onefet <args>` in a working folder. */
export function launch(options: LaunchOptions, ...args: readonly string[]): Launched {
  const [program, ...words] = [
    ...(options.under ?? []),
    execPath,
    ...(options.node ?? []),
    LAUNCHER,
    ...args,
  ];
  const child = spawn(program, words, { cwd: options.folder, env: { ...env, ...options.environment } });
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      printed[name] += chunk;
    });
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...printed }));
  });
  return { child, ended };
}
