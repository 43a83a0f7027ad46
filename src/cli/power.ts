/** `power` and `cost`: what designs cost at a shape and contexts, from stored counts. */
import { stdout } from 'node:process';
import { type Command, InvalidArgumentError } from 'commander';
import { OnefetError } from '../error.ts';
import { DESIGN_DEFAULTS } from '../experiment/options.ts';
import { LLAMA_3_1_8B, type NamedShape, shapeByName } from '../model/shapes.ts';
import type { PowerSubject } from '../power/power.ts';
import { type CliContext, collect, jsonOption } from './options.ts';
import { printJson, printLines } from './print.ts';

interface PowerFlags {
  design?: string[];
  set: string[];
  node?: string;
  modelShape?: string;
  model?: string;
  context?: number[];
  compare?: boolean;
  questions?: boolean;
  validate?: boolean;
  json?: boolean;
  csv?: boolean;
  html?: string;
  out: string;
}

/** `1k 512,2k` and so on: whole numbers of tokens, k is 1,024. */
function contexts(text: string, previous: number[] | undefined): number[] {
  const found = text.split(',').map((one) => {
    const [, digits, k] = /^(\d{1,9})(k?)$/i.exec(one.trim()) ?? [];
    const tokens = Number(digits) * (k ? 1024 : 1);
    if (digits === undefined || tokens < 1 || tokens > 2 ** 24) {
      throw new InvalidArgumentError('expected numbers of tokens, as in 512,2k,8k.');
    }
    return tokens;
  });
  return [...(previous ?? []), ...found];
}

const shapeOptions = (command: Command): Command =>
  command
    .option('--model-shape <name>', 'shape of the model that is priced, as in llama-3.1-8b')
    .option('-m, --model <file>', 'or that of a GGUF file; no weight is read')
    .option('-c, --context <tokens>', 'contexts, as in 512,2k,8k (repeatable; default: 1k)', contexts)
    .option('--html <file>', 'write a page with figures, the plan of the ground and every line')
    .option('--csv', 'print as CSV')
    .addOption(jsonOption());

export function addPowerCommands(root: Command, { notice }: CliContext): void {
  shapeOptions(
    root
      .command('power')
      .description(
        'what designs cost per token beside published systems, from stored counts: no weights are run',
      )
      .option('--design <name...>', 'designs below experiments/designs, or YAML files (default: log-domain)')
      .option(
        '--set <key=value>',
        'override a key of every design, as in --set kvBits=8 (repeatable)',
        collect,
        [],
      )
      .option('--node <name>', 'everything of one node: 28, 7, or mixed as shipped (experiments/nodes.yaml)')
      .option('--compare', 'all shipped designs, and published systems'),
  )
    .option(
      '--questions',
      'answer the standing questions: rate, wires, bits, a USB stick, lifetime of a model',
    )
    .option('--validate', "hold the cost's laws against published compute-in-memory macros, and stop")
    .option('--out <folder>', 'where run folders are', 'runs')
    .addHelpText(
      'after',
      '\nExamples:\n  onefet power --compare\n  onefet power --compare --node 7\n  onefet power --design routed hardwired --context 1k,8k --csv > power.csv',
    )
    .action(async (flags: PowerFlags) => {
      if (flags.validate) return validate(flags);
      const { subjectOf } = await import('../power/power.ts');
      const { storedActivities } = await import('../power/find-activity.ts');
      const stored = storedActivities(flags.out);
      const subjects = (await askedDesigns(flags, notice)).flatMap(({ design, settings }) => {
        try {
          return [subjectOf(design, [...settings, ...flags.set], flags.out, stored)];
        } catch (error) {
          // What nobody named may be missing.
          if (flags.design || !(error instanceof OnefetError) || error.code !== 'ACTIVITY_MISSING')
            throw error;
          notice(`${error.message}: left out`);
          return [];
        }
      });
      if (subjects.length === 0) {
        throw new OnefetError('input', 'ACTIVITY_MISSING', 'no design has stored counts', {
          hint: 'run one: onefet run',
        });
      }
      await report(subjects, await shapeOf(flags, LLAMA_3_1_8B), flags, notice);
    });
  shapeOptions(
    root
      .command('cost')
      .description(
        'what the design of a finished run costs at other contexts and shapes: nothing is computed again',
      )
      .argument('<folder>', 'a folder below runs/, as in runs/latest'),
  )
    .addHelpText(
      'after',
      '\nExample:\n  onefet cost runs/latest --model-shape llama-3.1-8b --context 512,2k,8k,32k',
    )
    .action(async (folder: string, flags: PowerFlags) => {
      const { subjectOfRun } = await import('../power/power.ts');
      await report([subjectOfRun(folder)], await shapeOf(flags, undefined), flags, notice);
    });
}

/** The designs that were named, or all shipped ones, or the default; at a node, what they become there. */
async function askedDesigns(
  { design, compare, node }: PowerFlags,
  notice: CliContext['notice'],
): Promise<readonly { readonly design: string; readonly settings: readonly string[] }[]> {
  if (node === undefined) {
    const { shippedDesigns } = await import('../power/find-activity.ts');
    const names = design ?? (compare ? shippedDesigns() : [DESIGN_DEFAULTS.design]);
    return names.map((name) => ({ design: name, settings: [] }));
  }
  const { designAtNode, loadNode } = await import('../power/nodes.ts');
  const at = loadNode(node);
  notice(`node  ${at.name}: ${at.description}`);
  const names = design ?? (compare ? [...at.designs.keys()] : [DESIGN_DEFAULTS.design]);
  return names.map((name) => designAtNode(at, name));
}

async function shapeOf(
  { modelShape, model }: PowerFlags,
  usual: NamedShape | undefined,
): Promise<NamedShape | undefined> {
  if (modelShape !== undefined && model !== undefined) {
    throw new OnefetError('usage', 'POWER_SHAPE', '--model-shape and --model: give one of them');
  }
  if (modelShape !== undefined) return shapeByName(modelShape);
  if (model === undefined) return usual;
  const { shapeOfModel } = await import('../model/shape-of-file.ts');
  return shapeOfModel(model);
}

/** Published macros: experiments/macros.yaml. */
async function validate({ json, csv }: PowerFlags): Promise<void> {
  const { loadMacros } = await import('../power/macros.ts');
  const { validateMacros, validationLines } = await import('../power/validate.ts');
  const rows = validateMacros(loadMacros());
  if (json) printJson({ schema: 'onefet.power-validate/1', rows });
  else if (csv) {
    const { toCsv } = await import('../csv.ts');
    stdout.write(toCsv(rows.map((row) => ({ ...row }))));
  } else printLines(validationLines(rows));
}

/** Prices, prints, and writes the page where one is asked for. */
async function report(
  subjects: readonly PowerSubject[],
  shape: NamedShape | undefined,
  flags: PowerFlags,
  notice: CliContext['notice'],
): Promise<void> {
  const { DEFAULT_CONTEXT, powerRows } = await import('../power/power.ts');
  const { powerRecord, publishedRecord } = await import('../power/records.ts');
  const { loadComparators } = await import('../cost/comparators.ts');
  const comparators = loadComparators();
  if (flags.model !== undefined) {
    const { weightBitsOfFile, weightBitsWarning } = await import('../experiment/weight-bits.ts');
    const bits = weightBitsOfFile(flags.model);
    for (const { name, fabric } of subjects) {
      const warning = weightBitsWarning(fabric.design, bits);
      if (warning !== undefined) notice(`${name}: ${warning}`);
    }
  }
  const rows = powerRows(subjects, { shape, contexts: flags.context ?? [DEFAULT_CONTEXT] });
  const records = [
    ...rows.map((row) => powerRecord(row, comparators)),
    ...(flags.compare ? comparators.systems.map(publishedRecord) : []),
  ];
  const { answerLines, answerQuestions } = await import('../power/questions.ts');
  const answers = flags.questions ? answerQuestions(rows, flags.out) : [];
  if (flags.html !== undefined) {
    const { contextCurves, userCurves } = await import('../power/curves.ts');
    const { writePowerPage } = await import('../report/power-page.ts');
    const [{ shape: priced, cost }] = rows;
    const first = rows.filter((row) => row.cost.contextTokens === cost.contextTokens);
    writePowerPage(flags.html, {
      ...{ rows, comparators, answers, compare: flags.compare === true },
      byContext: contextCurves(subjects, priced),
      byUsers: userCurves(first),
    });
    notice(`page  ${flags.html}`);
  }
  if (flags.json) {
    const costs = rows.map(({ subject, cost, price, warnings }) => ({
      ...{ design: subject.name, contextTokens: cost.contextTokens, source: subject.found.source },
      ...{ cost, price, warnings },
    }));
    printJson({ schema: 'onefet.power/1', rows: records, costs, answers });
  } else if (flags.csv) {
    const { toCsv } = await import('../csv.ts');
    stdout.write(toCsv(records));
  } else {
    const { powerTable, powerNotes, textTable } = await import('../power/table.ts');
    printLines([
      ...powerTable(records),
      '',
      ...powerNotes(rows, records),
      ...answerLines(answers, textTable),
    ]);
  }
}
