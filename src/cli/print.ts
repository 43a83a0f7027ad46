/** Output of the commands on stdout: short tables for people, one JSON object for programs. */
import { stdout } from 'node:process';
import type { calibrateToFile } from '../calibrate/calibrate.ts';
import type { MeasuredCalibration } from '../calibrate/measured/measured.ts';
import type { CostBand } from '../cost/report.ts';
import type { Generation } from '../experiment/generate.ts';
import { type Headline, headlineOf } from '../experiment/headline.ts';
import type { MappingDescription } from '../experiment/map-command.ts';
import type { MappingReport } from '../experiment/mapping-report.ts';
import type { Accuracy, Interval, LowestSnr, RunResult, TaskResult } from '../experiment/result.ts';
import type { ImageInspection } from '../experiment/run-mapping.ts';
import type { MeasuredSensitivity } from '../experiment/sensitivity.ts';
import type { SensitivityDescription } from '../experiment/sensitivity-command.ts';
import { toJson } from '../files.ts';
import { formatSi, grouped, plain } from '../format.ts';
import type { Inspection } from '../model/inspect.ts';
import type { FinishedRun } from './work.ts';

function print(line = ''): void {
  stdout.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  print(toJson(value, 'the output'));
}

/** Lines as they are. */
export function printLines(lines: readonly string[]): void {
  for (const line of lines) print(line);
}

export function printRun({ result, folder, reportPath }: FinishedRun, json: boolean): void {
  if (json) {
    printJson(result);
    return;
  }
  const { chips, text } = result;
  print(
    `${result.model.name} on ${result.design.name} (${result.calibration ? `${result.calibration.process}/${result.calibration.cell}, ${result.calibration.driver} driver` : result.fabric.kind})`,
  );
  print(
    `${result.task ? `${result.task.questions} questions (${result.task.kind}), ` : ''}${text.scored} predictions, ${result.fabric.chipsDiffer ? `${chips.length} ${chips.length === 1 ? 'chip' : 'chips'}` : 'every chip the same'}, seed ${result.seed}, ${text.contextTokens}-token windows`,
  );
  if (result.model.synthetic) printSynthetic(result);
  else {
    if (result.task) printTask(result, result.task);
    else printAccuracy(result);
    printAttribution(result);
  }
  printCosts(result);
  print();
  for (const line of result.verdict) print(line);
  for (const line of result.warnings) print(`WARNING: ${line}`);
  print();
  print(`result  ${folder}/result.json`);
  if (reportPath) print(`report  ${reportPath}`);
}

const chipLabel = ({ fabric }: RunResult) => (fabric.chipsDiffer ? 'chip, mean' : 'chip');

/** Made-up weights have distances of logits and signal-to-noise ratios, and no accuracy. */
function printSynthetic(result: RunResult): void {
  const { recoded, summary } = result;
  print();
  print(
    'SYNTHETIC weights: no accuracy; how far the logits of the chip are from those of the digital model:',
  );
  const row = (label: string, kl: number, top1: number) =>
    print(`${label.padEnd(14)} KL ${kl.toFixed(4)} nats, top-1 ${(100 * top1).toFixed(1)} %`);
  row('recoded', recoded.kl, recoded.top1);
  row(chipLabel(result), summary.kl.mean, summary.top1.mean);
  if (summary.kl.ci95)
    print(`  95 % interval  KL ${interval(summary.kl, 4)}  top-1 ${interval(summary.top1, 3)}`);
  const snr = result.coding.flatMap(({ codingSnrDb }) => codingSnrDb ?? []);
  if (snr.length === 0) print('coding SNR     exact in every tensor');
  else
    print(
      `coding SNR     ${Math.min(...snr).toFixed(1)} to ${Math.max(...snr).toFixed(1)} dB over ${result.coding.length} tensors`,
    );
  if (result.blocks) {
    const { chipDb, recodedDb } = result.blocks;
    const ends = (of: readonly (number | undefined | null)[]) =>
      [of[0], of[of.length - 1]].map((x) => x?.toFixed(1) ?? 'none').join(' to ');
    print(
      `stream SNR     chips ${ends(chipDb.map((x) => x?.mean))} dB, recoded ${ends(recodedDb)} dB, behind the first and the last of ${chipDb.length} blocks`,
    );
  }
  printLayers(result);
}

/** What reading the chips and fitting the digital part to them did. */
function printCorrection({ chips, mapping }: RunResult): void {
  const corrected = chips.flatMap(({ correction }) => correction ?? []);
  if (corrected.length === 0 || !mapping?.correction) return;
  const percent = (of: (chip: (typeof corrected)[number]) => number) =>
    `${((100 * corrected.reduce((sum, chip) => sum + of(chip), 0)) / corrected.length).toPrecision(3)} %`;
  const { rank, readingS } = mapping.correction;
  print(
    `  correction     error of the outputs as read ${percent(({ read }) => read)}, with gains ${percent(({ gains }) => gains)}, with a side path of rank ${rank} ${percent(({ side }) => side)}${readingS === null ? '' : `; read in ${formatSi(readingS, 's')}`}`,
  );
}

function printAccuracy(result: RunResult): void {
  const { digital, recoded, summary } = result;
  const { covers, ...headline } = headlineOf(result);
  print();
  print('                 NLL      perplexity   KL (nats)  top-1');
  const row = (label: string, a: Accuracy) =>
    print(
      `${label.padEnd(14)} ${a.nll.toFixed(4).padStart(7)} ${a.perplexity.toFixed(3).padStart(12)} ${a.kl.toFixed(4).padStart(11)} ${(100 * a.top1).toFixed(1).padStart(6)} %`,
    );
  row('digital', { ...digital, kl: 0, top1: 1 });
  row('recoded', recoded);
  row(chipLabel(result), {
    nll: summary.nll.mean,
    perplexity: summary.perplexity.mean,
    kl: summary.kl.mean,
    top1: summary.top1.mean,
  });
  const intervals = ({ nll, perplexity, kl, top1 }: Omit<Headline, 'covers'>) =>
    `nll ${interval(nll, 4)}  perplexity ${interval(perplexity, 3)}  KL ${interval(kl, 4)}  top-1 ${interval(top1, 3)}`;
  if (headline.kl.ci95) {
    print(`  95 % interval  ${intervals(headline)}`);
    print(`                 covers ${covers}`);
  }
  printSpread(result);
  const { nllDifference, resolve } = result.overText;
  if (nllDifference.ci95) {
    print(`  nll - digital  ${nllDifference.mean.toFixed(4)} (${interval(nllDifference, 4)})`);
    if (summary.kl.ci95) print(`  on this text   ${intervals(summary)}, other chips only`);
  }
  if (resolve) {
    const chips = result.fabric.chipsDiffer
      ? ` and ${resolve.chips} ${resolve.chips === 1 ? 'chip' : 'chips'}`
      : '';
    print(
      `  resolution     a difference of ${resolve.nats} nats would take about ${grouped(Number(resolve.predictions.toPrecision(2)))} predictions${chips}`,
    );
  }
  const { share, ci95, perplexityRatio } = result.yield;
  const within = `within ${perplexityRatio} x the digital perplexity`;
  print(
    ci95
      ? `  yield          ${(100 * share).toFixed(0)} % of the chips (95 % ${(100 * ci95[0]).toFixed(0)} to ${(100 * ci95[1]).toFixed(0)}) ${within}`
      : `  yield          ${share > 0 ? 'every' : 'no'} chip is ${within}`,
  );
  printLayers(result);
  printPrediction(result);
  printCorrection(result);
}

/** Shares of right answers, with 95 % intervals over questions x chips, and what of them is not the digital model's. */
function printTask(result: RunResult, task: TaskResult): void {
  const { summary, recoded } = result;
  const share = ({ mean, ci95 }: Interval) =>
    `${(100 * mean).toFixed(1).padStart(6)} %${ci95 ? ` (${(100 * ci95[0]).toFixed(1)}..${(100 * ci95[1]).toFixed(1)})` : ''}`;
  const nats = (value: Interval) =>
    `${value.mean.toFixed(3).padStart(8)}${value.ci95 ? ` (${interval(value, 3)})` : ''}`;
  const row = (label: string, { acc, accNorm, answerNll }: TaskResult['digital']) =>
    print(`${label.padEnd(16)} ${share(acc).padEnd(23)} ${share(accNorm).padEnd(23)} ${nats(answerNll)}`);
  print();
  print(
    `                 acc                     acc_norm                NLL of the right choice (nats); guessing: ${(100 * task.chance).toFixed(1)} %`,
  );
  row('digital', task.digital);
  row('recoded', task.recoded);
  row(chipLabel(result), task.chips);
  row('recoded-digital', task.recodedLessDigital);
  row('chips-digital', task.chipsLessDigital);
  print('                 95 % intervals of a bootstrap over questions x chips');
  const test = ({ onlyDigital, onlyThis, p }: TaskResult['recodedLessDigital']['mcnemar']) =>
    `right on the digital model alone ${onlyDigital}, here alone ${onlyThis}, p ${p.toPrecision(2)}`;
  print(`  McNemar        recoded: ${test(task.recodedLessDigital.mcnemar)}`);
  task.eachChip.slice(0, 3).forEach(({ mcnemar }, i) => {
    print(`                 chip ${i + 1}: ${test(mcnemar)}`);
  });
  const tokens = (kl: number, top1: number) => `KL ${kl.toFixed(4)} nats, top-1 ${(100 * top1).toFixed(1)} %`;
  print(
    `  tokens         recoded ${tokens(recoded.kl, recoded.top1)}; chips ${tokens(summary.kl.mean, summary.top1.mean)}`,
  );
  printLayers(result);
}

/** KL over positions, and how sure the share of equal top tokens and the perplexities are on this text. */
function printSpread({ positions: { digital, recoded, chips, positions } }: RunResult): void {
  const kl = ({ kl: { median, p90, p99, max } }: typeof chips) =>
    `median ${median.toPrecision(3)}, 90 % ${p90.toPrecision(3)}, 99 % ${p99.toPrecision(3)}, maximum ${max.toPrecision(3)}`;
  const top1 = ({ top1Ci95: [low, high] }: typeof chips) =>
    `top-1 ${(100 * low).toFixed(1)}..${(100 * high).toFixed(1)} %`;
  print(`  KL, recoded    ${kl(recoded)}; ${top1(recoded)}`);
  print(`  KL, chips      ${kl(chips)}; ${top1(chips)} (95 %, binomial over ${positions} positions)`);
  print(
    `  perplexity     +/- ${digital.perplexityError.toFixed(3)} digital, ${recoded.perplexityError.toFixed(3)} recoded, ${chips.perplexityError.toFixed(3)} chips: standard errors over positions, as llama.cpp has them`,
  );
}

/** Where chips are worst, matrix by matrix. */
function printLayers({ layerSnr: { lowest, positions } }: RunResult): void {
  const text = (found: LowestSnr | null) =>
    found === null
      ? 'no error'
      : `${found.matrix.snrDb.toFixed(1)} dB in ${found.matrix.tensor} of layer ${found.matrix.layer} (layer ${found.layer.layer} as a whole ${found.layer.snrDb.toFixed(1)})`;
  print(
    `  matrices       lowest SNR of outputs by their own error ${text(lowest.local)}, along the stream ${text(lowest.stream)}; ${positions} positions`,
  );
}

/** Said with how far it is off: it is no measurement. */
function printPrediction({ prediction }: RunResult): void {
  if (!prediction) return;
  const { klPerError, chips } = prediction;
  const off =
    chips.measuredOverPredicted === null
      ? ''
      : `, measured ${chips.measuredOverPredicted.toFixed(2)} times that`;
  print(
    `  prediction     KL of the chips ${chips.predictedKl.toFixed(4)} from the error of their stream (${chips.error.toFixed(4)} x ${klPerError.toPrecision(3)} nats)${off}${chips.linear ? '' : '; the error is beyond the range of the proportion'}`,
  );
}

function printAttribution({ attribution, recoded }: RunResult): void {
  if (attribution.length === 0) return;
  print();
  print(
    'each source of error alone: KL that it adds to the coding loss, 95 % interval, and perplexity with it',
  );
  const line = (name: string, kl: number, range: string, perplexity: number, chips: string) =>
    print(
      `  ${name.padEnd(15)} ${kl.toFixed(4)}  ${range.padEnd(15)} ${perplexity.toFixed(3).padStart(7)}  ${chips}`,
    );
  line('coding', recoded.kl, '', recoded.perplexity, '');
  for (const { source, excessKl, perplexity, chips, sameOnEveryChip } of attribution) {
    const ran = sameOnEveryChip ? 'every chip alike' : chips === 1 ? 'one chip' : `${chips} chips`;
    line(source, excessKl.mean, excessKl.ci95 ? interval(excessKl, 4) : '', perplexity.mean, ran);
  }
}

function printCosts(result: RunResult): void {
  print();
  for (const [label, cost] of [
    ['this model', result.cost],
    ['8B projection', result.projection],
  ] as const) {
    const { bands } = cost;
    print(
      `${label.padEnd(14)} ${formatSi(cost.perTokenJ, 'J')}/token, ${cost.areaMm2.toPrecision(4)} mm2 (${cost.dies} ${cost.dies === 1 ? 'die' : 'dies'}), ${Math.round(cost.tokensPerSecondPerUser)} tokens/s per user`,
    );
    print(
      `  5 to 95 %    ${bandText(bands.perTokenJ, (v) => formatSi(v, 'J'))}, ${bandText(bands.areaMm2, (v) => plain(v, 4))} mm2, ${bandText(bands.tokensPerSecondPerUser, (v) => String(Math.round(v)))} tokens/s (${bands.draws} draws of the constants)`,
    );
    print(
      `  full         ${formatSi(cost.perTokenAggregateJ, 'J')}/token at ${plain(cost.tokensPerSecondAggregate)} tokens/s of a full pipeline, ${plain(cost.powerW)} W, bound by ${cost.binding}`,
    );
    const lines = [...cost.energyJ].sort((a, b) => b.value - a.value).slice(0, 5);
    print(
      `  energy       ${lines.map(({ name, value }) => `${name} ${formatSi(value, 'J')}`).join(', ')}, ...`,
    );
  }
}

function bandText({ low, high }: CostBand, text: (value: number) => string): string {
  return `${text(low)} to ${text(high)}`;
}

function interval({ ci95 }: Interval, digits: number): string {
  return ci95 ? `${ci95[0].toFixed(digits)}..${ci95[1].toFixed(digits)}` : '-';
}

/** Key and value lines. */
export function printDescription(description: Record<string, unknown>, json: boolean): void {
  if (json) {
    printJson(description);
    return;
  }
  for (const [key, value] of Object.entries(description)) print(`${key.padEnd(16)} ${value}`);
}

export function printGenerated(
  prompt: string,
  { engine, engineReason, texts }: Generation,
  json: boolean,
  streamed: boolean,
): void {
  if (json) {
    printJson({ schema: 'onefet.generate/3', prompt, engine, engineReason: engineReason ?? null, texts });
    return;
  }
  if (streamed) print();
  for (const { name, seed, text, sameTokens, tokens, tokensPerSecond } of texts) {
    const label = seed === null ? name : `${name} ${seed}`;
    if (!streamed) print(`[${label}] ${prompt}${text}`);
    const speed = tokensPerSecond === null ? '' : `${tokensPerSecond.toPrecision(3)} tokens/s`;
    const same = `the first ${sameTokens} of ${tokens.length} tokens are the digital model's`;
    const notes = [...(name === 'digital' ? [] : [same]), ...(speed === '' ? [] : [speed])];
    if (notes.length > 0) print(`  (${label}: ${notes.join('; ')})`);
    if (!streamed) print();
  }
  if (engineReason !== undefined) print(`${engine} engine: ${engineReason}`);
}

/** [a.b.c, value] of nested records. */
function flatEntries(values: object, prefix: string): [string, unknown][] {
  return Object.entries(values).flatMap(([key, value]): [string, unknown][] => {
    const name = prefix ? `${prefix}.${key}` : key;
    const nested = typeof value === 'object' && value !== null && !Array.isArray(value);
    return nested ? flatEntries(value, name) : [[name, value]];
  });
}

/** What a mapping is, in all, and matrix by matrix. */
function printMatrices(report: MappingReport): void {
  const { method, text, cellsPerWeight, reasons, matrices, imageSha256, digitalNumbers, ranges } = report;
  const fact = (name: string, value: string): void => print(`${name.padEnd(16)} ${value}`);
  const weights = matrices.reduce((sum, { outputs, inputs }) => sum + outputs * inputs, 0);
  const some = (of: (matrix: (typeof matrices)[number]) => boolean): string => {
    const count = matrices.filter(of).length;
    return count === 0 ? 'no' : count === matrices.length ? 'all' : String(count);
  };
  fact('image', imageSha256.slice(0, 12));
  fact('method', method);
  for (const reason of reasons) fact('because', reason);
  fact('calibration', `${text.file}, ${text.tokens} tokens`);
  fact('weights', `${weights.toLocaleString('en-US')} in ${matrices.length} matrices`);
  fact('cells a weight', cellsPerWeight.toFixed(3));
  fact('digital part', `${digitalNumbers.toLocaleString('en-US')} numbers beside scales and codes`);
  fact(
    'matrices with',
    `centred inputs: ${some(({ centred }) => centred)}; a transform before the rows: ${some(({ rotatedOnline }) => rotatedOnline)}; a side path: ${some(({ side }) => side > 0)}; a principal part: ${some(({ principal }) => principal > 0)}`,
  );
  fact('ranges', ranges ? `${ranges.fabric}, on ${ranges.tokens} tokens of ${ranges.file}` : 'not measured');
  fact('stream', report.residualRotated ? 'rotated' : "the model's own");
  print();
  print(
    'Matrices: size, bits of a weight, ranks of side path and principal part, error of the outputs on the',
  );
  print('calibration text after each step that was measured (per cent of what they vary by)');
  print();
  const head = ['matrix', 'outputs', 'inputs', 'bits', 'side', 'principal', 'error by step, %'];
  const rows = matrices.map(({ name, outputs, inputs, bits, side, principal, steps }) => [
    name,
    ...[outputs, inputs, bits, side, principal].map(String),
    steps.map(({ step, error }) => `${step} ${(100 * error).toPrecision(3)}`).join(', '),
  ]);
  for (const row of [head, ...rows]) {
    print(
      row.map((cell, i) => (i === 0 ? cell.padEnd(22) : i < 6 ? cell.padStart(9) : `  ${cell}`)).join(''),
    );
  }
}

/** Numbers as one says them; the JSON has them whole. */
export function printMappingPlan(plan: MappingDescription, json: boolean): void {
  if (json) {
    printJson(plan);
    return;
  }
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toPrecision(2)} GB`;
  printDescription(
    {
      model: plan.model,
      design: plan.design,
      method: plan.method,
      'cells a weight': plan.cellsPerWeight.toPrecision(3),
      text: `${plan.text}, ${plan.tokens} tokens`,
      operations: plan.operations.toExponential(1),
      time: `about ${duration(plan.seconds)}, ${duration(plan.secondsPerBlock)} a block`,
      memory: `about ${gigabytes(plan.memoryBytes)}, ${gigabytes(plan.freeBytes)} are free`,
      ranges:
        plan.ranges === null ? 'not measured' : `of the converters, on ${plan.ranges} tokens of the text`,
      out: plan.out ?? 'not written: no --out',
    },
    false,
  );
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Number(seconds.toPrecision(2))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export function printMapping(path: string, report: MappingReport, json: boolean): void {
  if (json) {
    printJson({ path, ...report });
    return;
  }
  printMatrices(report);
  print();
  print(`written to       ${path}`);
}

export function printSensitivityPlan(plan: SensitivityDescription, json: boolean): void {
  if (json) {
    printJson(plan);
    return;
  }
  printDescription(
    {
      model: plan.model,
      image: plan.image,
      matrices: `${plan.matrices}, measured in ${plan.blocks.length} blocks`,
      tokens: String(plan.tokens),
      operations: plan.operations.toExponential(1),
      time: `about ${duration(plan.seconds)}`,
      memory: `about ${(plan.memoryBytes / 1e9).toPrecision(2)} GB, ${(plan.freeBytes / 1e9).toPrecision(2)} GB are free`,
    },
    false,
  );
}

/** Matrices that a table of sensitivities names. */
const MOST_SENSITIVE = 20;

export function printSensitivity(path: string, measured: MeasuredSensitivity, json: boolean): void {
  if (json) {
    printJson({ path, ...measured });
    return;
  }
  const sorted = Object.entries(measured.kl).sort(([, a], [, b]) => b - a);
  const total = sorted.reduce((sum, [, kl]) => sum + kl, 0);
  print(`nats per prediction that the code of a matrix costs, the most first; of all ${plain(total)}`);
  for (const [key, kl] of sorted.slice(0, MOST_SENSITIVE)) print(`${key.padEnd(26)} ${plain(kl)}`);
  print();
  print(`written to       ${path}`);
}

export function printImage(inspection: ImageInspection, json: boolean): void {
  if (json) {
    printJson(inspection);
    return;
  }
  const { model, design, mapping } = inspection;
  print(`${'chip image'.padEnd(16)} ${inspection.file}`);
  print(`${'model'.padEnd(16)} ${model.name} ${model.sha256.slice(0, 12)}`);
  print(`${'design'.padEnd(16)} ${design.name} ${design.sha256.slice(0, 12)}`);
  printMatrices(mapping);
}

export function printInspection(inspection: Inspection, json: boolean): void {
  if (json) {
    printJson(inspection);
    return;
  }
  const { shape, tokenizer, tensorTypes, metadata, unsupported, ...rest } = inspection;
  const groups = { '': rest, shape, tokenizer, tensorTypes, metadata };
  for (const [group, values] of Object.entries(groups)) {
    for (const [key, value] of flatEntries(values ?? {}, group)) print(`${key.padEnd(24)} ${value}`);
  }
  for (const { message, hint } of unsupported) {
    print(`${'not supported'.padEnd(24)} ${message}`);
    if (hint !== undefined) print(`${'  hint:'.padEnd(24)} ${hint}`);
  }
}

export function printCalibration(
  { path, calibration }: Awaited<ReturnType<typeof calibrateToFile>>,
  json: boolean,
  /** Of data from a laboratory, which no simulator has seen. */
  measured?: MeasuredCalibration['summary'],
): void {
  if (json) {
    printJson({ path, ...calibration, ...(measured ? { measured } : {}) });
    return;
  }
  const { nominal, device, mismatch, noise, multiply, validRange } = calibration;
  const percent = (x: number, digits = 2) => `${(100 * x).toFixed(digits)} %`;
  print(
    `${calibration.process}/${calibration.cell}: W/L ${(device.widthM * 1e6).toPrecision(3)}/${(device.lengthM * 1e6).toPrecision(3)} um, ${formatSi(nominal.fullScaleA, 'A')} at full scale, ${calibration.driver} driver, ${calibration.engine}`,
  );
  print();
  print('corner   fitted RMS / max    held-out Vds        held-out temperature   (of ln I)');
  const [where, against] = measured ? ['measured', 'the data'] : ['in SPICE', 'SPICE, not fitted'];
  const residual = (r: { points: number; rms: number; max: number }) =>
    (r.points === 0 ? 'nothing held out' : `${percent(r.rms)} / ${percent(r.max)}`).padEnd(19);
  for (const [corner, { fit, heldOutVds, heldOutTemp }] of Object.entries(calibration.corners)) {
    print(`${corner.padEnd(8)} ${residual(fit)} ${residual(heldOutVds)} ${residual(heldOutTemp)}`);
  }
  print();
  multiply.tempK.forEach((tempK, i) => {
    print(
      `product  ${(tempK - 273.15).toFixed(0).padStart(4)} C: against the exact product ${residual(multiply.product[i])} fit against ${against} ${residual(multiply.heldOut[i])}`,
    );
  });
  print(
    `slope    n = ${nominal.ladderSlopeFactorN.toFixed(4)}, full scale at ${(nominal.fullScaleVgsV * 1e3).toFixed(1)} mV`,
  );
  print(
    `mismatch sigma(Vt) ${(mismatch.sigmaVtV * 1e3).toFixed(2)} mV, sigma(beta) ${percent(mismatch.sigmaBeta)}; sigma(ln I) ${where} ${percent(last(mismatch.monteCarlo.lnSigmaSpice), 1)}, theory ${percent(last(mismatch.monteCarlo.lnSigmaTheory), 1)} at full scale`,
  );
  print(
    `noise    white ${noise.whiteRatioSpice.toFixed(2)} x 2qI${measured ? '' : ' in SPICE'} (${noise.whiteRatioTheory.toFixed(2)} by theory), flicker S/I2 ${noise.flickerRelativePsdAt1Hz.toExponential(2)} /Hz at 1 Hz`,
  );
  print(
    `valid    ${(validRange.tempK[0] - 273.15).toFixed(0)} to ${(validRange.tempK[1] - 273.15).toFixed(0)} C, Vds ${validRange.vdsV[0]} to ${validRange.vdsV[1]} V, products ${validRange.smallestProduct.toExponential(1)} to ${validRange.largestProduct} of full scale`,
  );
  print();
  const [bad] = multiply.tempK.filter((_, i) => multiply.product[i].rms > LARGE_PRODUCT_ERROR);
  if (bad !== undefined)
    print(
      `WARNING: at ${(bad - 273.15).toFixed(0)} C products are off by more than ${percent(LARGE_PRODUCT_ERROR, 0)} RMS: the fit holds there, the multiplication does not`,
    );
  print(`calibration  ${path}`);
}

/** RMS of ln(product) against the exact one that the datasheets of the shipped cells allow. */
const LARGE_PRODUCT_ERROR = 0.01;

function last(values: readonly number[]): number {
  return values[values.length - 1];
}
