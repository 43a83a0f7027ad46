/** The command line in this process: what it printed and the exit code that it would have ended with. */
import { chdir, cwd, stderr, stdout } from 'node:process';
import { runCommandLine } from '../cli.ts';

interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `onefet <args>` in a working folder; one at a time, since the streams and the folder are the process's. */
export async function onefet(folder: string, ...args: readonly string[]): Promise<Finished> {
  const home = cwd();
  const printed = { stdout: '', stderr: '' };
  const writers = { stdout: stdout.write, stderr: stderr.write };
  const capture = (name: 'stdout' | 'stderr') =>
    ((text: string | Uint8Array) => {
      printed[name] += typeof text === 'string' ? text : Buffer.from(text).toString();
      return true;
    }) as typeof stdout.write;
  chdir(folder);
  stdout.write = capture('stdout');
  stderr.write = capture('stderr');
  try {
    const code = await runCommandLine(args, new AbortController().signal);
    return { code, ...printed };
  } finally {
    stdout.write = writers.stdout;
    stderr.write = writers.stderr;
    chdir(home);
  }
}
