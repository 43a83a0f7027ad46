/** `node`: a script of one's own on the Node that onefet itself runs with, which the installed one may be too old for. */
import { spawn } from 'node:child_process';
import nodeProcess, { execPath } from 'node:process';
import type { Command } from 'commander';
import { OnefetError } from '../error.ts';

/** `argv`: of the whole command line, for what stands behind `node` belongs to the script. */
export function addNodeCommand(root: Command, signal: AbortSignal, argv: readonly string[]): void {
  const command = root
    .command('node')
    .description('run a script of your own with the Node that onefet runs with (24 or newer)')
    .argument('[script]', 'a file that imports onefet')
    .argument('[args...]', 'what the script gets')
    .helpOption(false)
    .allowUnknownOption()
    .addHelpText('after', '\nExample:\n  onefet node sweep.mjs')
    .action(async () => {
      const words = argv.slice(argv.indexOf('node') + 1);
      if (words.length === 0 || words[0] === '--help' || words[0] === '-h') command.outputHelp();
      else nodeProcess.exitCode = await runScript(words, signal);
    });
}

/** Returns the script's exit code. It gets the interruption of this process; dead of it, its code is 130, of another signal 1. */
async function runScript(words: readonly string[], interrupt: AbortSignal): Promise<number> {
  const child = spawn(execPath, words, { stdio: 'inherit' });
  interrupt.addEventListener('abort', () => child.kill('SIGINT'));
  return new Promise((resolve, reject) => {
    child.on('error', (error) =>
      reject(new OnefetError('internal', 'NODE', `cannot start ${execPath}: ${error.message}`)),
    );
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 1)));
  });
}
