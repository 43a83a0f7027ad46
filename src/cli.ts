/**
 * The command line: parses, calls and prints. Data goes to stdout, progress and logs to stderr; exit codes are in
 * error.ts. No physics here.
 */
import nodeProcess, { env, exit, stderr, stdout } from 'node:process';
import { Command, CommanderError } from 'commander';
import { addBenchCommands } from './cli/bench.ts';
import { addCalibrateCommands } from './cli/calibrate.ts';
import { addDoctorCommand } from './cli/doctor.ts';
import { addExploreCommand } from './cli/explore.ts';
import { addMapCommand } from './cli/map.ts';
import { addModelCommands } from './cli/model.ts';
import { addNodeCommand } from './cli/node.ts';
import { addOptimiseCommand } from './cli/optimise.ts';
import { cliContext } from './cli/options.ts';
import { addPowerCommands } from './cli/power.ts';
import { addReport } from './cli/report.ts';
import { addRunCommands } from './cli/run.ts';
import { addSensitivityCommand } from './cli/sensitivity.ts';
import { addSweepCommands } from './cli/sweep.ts';
import { addWorkspaceCommands } from './cli/workspace.ts';
import { EXIT_CODES, OnefetError } from './error.ts';
import { packageVersion } from './files.ts';

const EXIT_CODE_HELP = `
Exit codes: 0 ok, 1 internal error, 2 usage or configuration, 3 input missing or invalid, 4 simulation or fit
failed, 5 result below --require, 6 points of a sweep refused or failed, 130 interrupted.`;

/** A second Ctrl-C ends at once; what comes sooner is the first again: from the terminal and from a launcher. */
const SAME_SIGNAL_MS = 300;

/** Runs the command line under this process's signals and sets its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const interrupt = new AbortController();
  let firstMs = 0;
  const onSignal = () => {
    if (!interrupt.signal.aborted) {
      firstMs = performance.now();
      interrupt.abort();
    } else if (performance.now() - firstMs > SAME_SIGNAL_MS) {
      exit(EXIT_CODES.interrupted);
    }
  };
  // Listened to from the first turn of the event loop on. Until then, while the program is loaded and the work planned,
  // nobody could hear a listener, and nothing is begun that would be lost: a signal ends the process as it does others.
  const listening = setImmediate(() => {
    nodeProcess.on('SIGINT', onSignal);
    nodeProcess.on('SIGTERM', onSignal);
  });
  let unwritten = false;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that closes the pipe early (head, less) is not an error, and the work goes on: results are in files.
    if (error.code === 'EPIPE' || unwritten) return;
    unwritten = true;
    stderr.write(
      `onefet: error: cannot write the output: ${error.message}\n  hint: free disk space, or write it elsewhere\n`,
    );
    nodeProcess.exitCode ??= EXIT_CODES.input;
  });
  // Nobody is left to tell, which is no reason to stop.
  stderr.on('error', () => {});
  try {
    const code = await runCommandLine(argv, interrupt.signal);
    if (code !== 0) nodeProcess.exitCode = code;
    // Threads that were stopped in the middle of a batch would keep the process for seconds.
    if (interrupt.signal.aborted) stderr.write('', () => exit(code));
  } finally {
    clearImmediate(listening);
    nodeProcess.removeListener('SIGINT', onSignal);
    nodeProcess.removeListener('SIGTERM', onSignal);
  }
}

/** Runs one command line to its end, prints its error if it has one, and returns the exit code. */
export async function runCommandLine(argv: readonly string[], signal: AbortSignal): Promise<number> {
  try {
    const root = program(signal, argv);
    await root.parseAsync(withoutHelpOfUnknown(root, argv), { from: 'user' });
    return 0;
  } catch (error) {
    return reportError(error);
  }
}

/** commander answers `onefet no-such-command --help` with the general help: without the word it says what is wrong. */
function withoutHelpOfUnknown(root: Command, argv: readonly string[]): string[] {
  const [first] = argv.filter((word) => !word.startsWith('-'));
  const known =
    first === undefined ||
    first === 'help' ||
    root.commands.some((c) => c.name() === first || c.aliases().includes(first));
  return known ? [...argv] : argv.filter((word) => word !== '--help' && word !== '-h');
}

/** Names from files may hold control characters, which a terminal obeys: they are shown. */
const printable = (text: string): string =>
  text.replace(/[^\P{Cc}\n\t]/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

function reportError(error: unknown): number {
  if (error instanceof CommanderError) {
    // commander has printed its message; --help and --version end with 0.
    return error.exitCode === 0 ? 0 : EXIT_CODES.usage;
  }
  if (error instanceof OnefetError) {
    stderr.write(`onefet: error: ${printable(error.message)}\n`);
    if (error.hint) stderr.write(`  hint: ${printable(error.hint)}\n`);
    if (error.kind === 'internal' || env.ONEFET_DEBUG) stderr.write(`${error.stack}\n`);
    return error.exitCode;
  }
  stderr.write(
    `onefet: internal error: ${error instanceof Error ? (error.stack ?? error.message) : error}\n`,
  );
  return EXIT_CODES.internal;
}

function program(signal: AbortSignal, argv: readonly string[]): Command {
  const root = new Command('onefet')
    .description(
      'Could a chip multiply with one transistor? SPICE-calibrated log-domain cells run a Llama model,\nwith noise and process variation, and report accuracy, energy, area and speed.',
    )
    .version(packageVersion())
    .option('--quiet', 'no progress and no notes on stderr: errors alone')
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`onefet: ${text}`) })
    .addHelpText(
      'after',
      `
Examples:
  onefet start                              the whole chain on the embedded model
  onefet run --chips 10 --json              accuracy of ten chips as one JSON object
  onefet run --model llama-3.1-8b.gguf --text wiki.test.raw --set adc.bits=7
  onefet generate --prompt "Once upon a time"
  onefet optimise --kl 0.1 --minimise area  the front of accuracy against energy and area
  onefet calibrate --process planar32lp --cell t1
  onefet map --set mapping.method=auto --out stories.image
  onefet synth llama-3.1-8b --type Q4_0
  onefet list cells                         what there is; list keys, runs, models ...
  onefet show design adc                    what the keys of a design mean
  onefet doctor                             is everything here that the commands need?
${EXIT_CODE_HELP}`,
    );
  const context = cliContext(root, signal, argv);
  addRunCommands(root, context);
  addReport(root, context);
  addSweepCommands(root, context);
  addOptimiseCommand(root, context);
  addCalibrateCommands(root, context);
  addPowerCommands(root, context);
  addExploreCommand(root, context);
  addMapCommand(root, context);
  addSensitivityCommand(root, context);
  addModelCommands(root, context);
  addBenchCommands(root, context);
  addWorkspaceCommands(root);
  addNodeCommand(root, signal, argv);
  addDoctorCommand(root);
  hintAtHelp(root, 'onefet', 'lists the commands');
  return root;
}

/** A wrong option points to the help of its own command. */
function hintAtHelp(command: Command, path: string, does: string): void {
  command.showHelpAfterError(`  hint: ${path} --help ${does}`);
  for (const below of command.commands) hintAtHelp(below, `${path} ${below.name()}`, 'shows its options');
}
