/** Option parsers and the options that several commands share. */
import { stderr } from 'node:process';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ENGINE_CHOICES, PRECISION_CHOICES } from '../engine/names.ts';
import { DESIGN_DEFAULTS, EMBEDDED_MODEL, EMBEDDED_TEXT } from '../experiment/options.ts';
import { parseRequirement } from '../experiment/require.ts';
import { requireDataFile } from '../files.ts';
import { type AdapterChoice, parseAdapterChoice } from '../model/adapter-choice.ts';
import { type Progress, stderrProgress } from '../progress.ts';
import { mostThreads } from '../threads.ts';

/** The program around a command, as far as it needs it. */
export interface CliContext {
  readonly signal: AbortSignal;
  readonly argv: readonly string[];
  readonly progress: () => Progress;
  /** A line for a person beside the data, on stderr; none with --quiet. What a result must not be read without is in the result. */
  readonly notice: (text: string) => void;
}

export function cliContext(root: Command, signal: AbortSignal, argv: readonly string[]): CliContext {
  const quiet = () => root.opts<{ quiet?: boolean }>().quiet === true;
  const notice = (text: string) => {
    if (!quiet()) stderr.write(`onefet: ${text}\n`);
  };
  root.hook('preAction', (_root, command) => limitThreads(command, notice));
  return { signal, argv, progress: () => stderrProgress(!quiet()), notice };
}

/** Takes what the machine runs at a time where --threads asks for more, and says so. */
function limitThreads(command: Command, notice: (text: string) => void): void {
  const asked: unknown = command.getOptionValue('threads');
  const most = mostThreads();
  if (typeof asked !== 'number' || asked <= most) return;
  notice(`--threads ${asked}: this machine runs ${most} at a time, so ${most} are used`);
  command.setOptionValueWithSource('threads', most, command.getOptionValueSource('threads') ?? 'cli');
}

/** Inputs of `onefet start` and of the other commands where none are given. */
export function embedded(): { model: string; text: string } {
  return {
    model: requireDataFile(EMBEDDED_MODEL, 'embedded model'),
    text: requireDataFile(EMBEDDED_TEXT, 'embedded text'),
  };
}

/** Gathers the values of an option that may be repeated. */
export const collect = (value: string, previous: string[]): string[] => [...previous, value];

/** LoRA adapters of a model: repeatable, and added up. */
export const loraOption = (): Option =>
  new Option(
    '--lora <file[:scale]>',
    "LoRA adapter in llama.cpp's GGUF format, beside the tiles (repeatable)",
  ).argParser((value: string, previous: AdapterChoice[] | undefined) => [
    ...(previous ?? []),
    parseAdapterChoice(value),
  ]);

/** Collects --require, and finds a typo before the run and not after it. */
export function collectRequirement(value: string, previous: string[]): string[] {
  parseRequirement(value);
  return [...previous, value];
}

export function integer(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}.`);
    }
    return value;
  };
}

export function number(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high)) {
      throw new InvalidArgumentError(`expected a number from ${low} to ${high}.`);
    }
    return value;
  };
}

export const threadsOption = (): Option =>
  new Option('-t, --threads <n>', 'worker threads; results do not depend on it')
    .argParser(integer(1, 256))
    .default(DESIGN_DEFAULTS.threads);

export const seedOption = (): Option =>
  new Option('-s, --seed <n>', 'seed of all random draws')
    .argParser(integer(0, 2 ** 48))
    .default(DESIGN_DEFAULTS.seed);

export const jsonOption = (): Option => new Option('--json', 'print one JSON object');

export const designOptions = (command: Command): Command =>
  command
    .option(
      '--design <name>',
      'design: a name below experiments/designs, or a YAML file',
      DESIGN_DEFAULTS.design,
    )
    .option(
      '--set <key=value>',
      'override a key of the design, as in --set adc.bits=6 (repeatable)',
      collect,
      [],
    );

export const engineOption = (): Option =>
  new Option(
    '--engine <name>',
    'what computes: WebAssembly, the scalar engine, or that cell by cell; auto is the first that can',
  )
    .choices(ENGINE_CHOICES)
    .default(DESIGN_DEFAULTS.engine);

export const precisionOption = (): Option =>
  new Option(
    '--precision <name>',
    'of chips: fast has inputs and weights of 7 bits, exact of 14 and 8; auto is fast where a design allows it',
  )
    .choices(PRECISION_CHOICES)
    .default('auto');
