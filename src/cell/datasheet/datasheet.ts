/**
 * A datasheet: specifications of a cell (minimum, typical, maximum, each at stated conditions) checked against its
 * calibration, as a foundry's characterisation report does. src/report/datasheet.ts makes the page.
 *
 * calibration/datasheets/<process>/<cell>.yaml:
 *   schema: onefet.datasheet/1
 *   title: ...
 *   specs:
 *     - { quantity: off-current, at: { corner: all, tempC: [-40, 27] }, unit: pA, max: 5, source: why this limit }
 * A condition is a value, a list, or `all` (corners, and temperatures of the valid range's ends and 27 C): the limits
 * must hold at every combination, and `typ` is compared at the nominal one.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { loadYaml } from '../../config.ts';
import { nearestName, OnefetError } from '../../error.ts';
import { displayPath, requireDataFile } from '../../files.ts';
import { type Calibration, calibratedCorners } from '../calibration.ts';
import { CORNERS, type Corner, checkName } from '../technology.ts';
import { type Condition, type ConditionName, nominalCondition, QUANTITIES, UNITS } from './quantities.ts';

const oneOrMore = <T extends z.ZodType>(item: T) =>
  z.union([item, z.array(item).min(1).max(64), z.literal('all')]);

const specSchema = z.strictObject({
  quantity: z.string().min(1).max(64),
  at: z
    .strictObject({
      corner: oneOrMore(z.enum(CORNERS)).optional(),
      tempC: oneOrMore(z.number().min(-273).max(500)).optional(),
      vdsV: z.union([z.number(), z.array(z.number()).min(1).max(64)]).optional(),
      product: z.union([z.number().positive(), z.array(z.number().positive()).min(1).max(64)]).optional(),
      offVgsV: z.union([z.number(), z.array(z.number()).min(1).max(64)]).optional(),
      tolerance: z.number().positive().optional(),
    })
    .default({}),
  unit: z.string(),
  min: z.number().optional(),
  typ: z.number().optional(),
  max: z.number().optional(),
  /** Source of the limit. */
  source: z.string().min(1),
});

const datasheetSchema = z.strictObject({
  schema: z.literal('onefet.datasheet/1'),
  title: z.string().min(1).max(200),
  specs: z.array(specSchema).min(1).max(500),
});

export type DatasheetSpec = z.infer<typeof datasheetSchema>;
type Spec = z.infer<typeof specSchema>;

export interface DatasheetRow {
  readonly quantity: string;
  readonly title: string;
  /** e.g. "all corners, -40 to 125 C, Vgs 0 V". */
  readonly condition: string;
  readonly unit: string;
  readonly min: number | undefined;
  readonly typ: number | undefined;
  readonly max: number | undefined;
  /** In `unit`: lowest, at nominal (or the first combination), highest; undefined when it could not be evaluated. */
  readonly found: { readonly low: number; readonly nominal: number; readonly high: number } | undefined;
  /** `info`: no limit was given. */
  readonly verdict: 'pass' | 'fail' | 'info';
  /** Place of the worst value, or the reason why there is none. */
  readonly remark: string;
  readonly source: string;
}

export interface Datasheet {
  readonly title: string;
  readonly process: string;
  readonly cell: string;
  readonly rows: readonly DatasheetRow[];
  readonly passed: number;
  readonly failed: number;
}

/** Returns where the specifications of a cell are, from the working folder or the package. */
export function datasheetPath(process: string, cell: string): string {
  return join('calibration', 'datasheets', process, `${cell}.yaml`);
}

/** Reads and checks a specification file. Errors: FILE_MISSING, DATASHEET_INVALID. */
export function loadDatasheetSpec(
  process: string,
  cell: string,
  specPath?: string,
): { spec: DatasheetSpec; path: string } {
  checkName(process, 'process');
  checkName(cell, 'cell');
  const path = specPath ?? requireDataFile(datasheetPath(process, cell), `datasheet of ${process}/${cell}`);
  const shown = displayPath(path);
  const spec = loadYaml(path, 'datasheet', datasheetSchema, 'DATASHEET_INVALID', shown);
  for (const [i, item] of spec.specs.entries()) checkSpec(item, `${shown}: specs.${i}`);
  return { spec, path };
}

function checkSpec(spec: Spec, where: string): void {
  const wrong = (what: string, hint?: string) =>
    new OnefetError('input', 'DATASHEET_INVALID', `${where}: ${what}`, hint === undefined ? {} : { hint });
  if (!Object.hasOwn(QUANTITIES, spec.quantity)) {
    const known = Object.keys(QUANTITIES);
    const nearest = nearestName(spec.quantity, known);
    throw wrong(
      `unknown quantity "${spec.quantity}"`,
      nearest ? `did you mean ${nearest}?` : `quantities are ${known.join(', ')}`,
    );
  }
  const quantity = QUANTITIES[spec.quantity];
  const units = Object.keys(UNITS).filter((unit) => UNITS[unit][1] === quantity.unit);
  if (!units.includes(spec.unit))
    throw wrong(`${spec.quantity} in "${spec.unit}"`, `units are ${units.join(', ')}`);
  for (const name of Object.keys(spec.at)) {
    if (!quantity.takes.includes(name as ConditionName)) {
      throw wrong(
        `${spec.quantity} does not depend on ${name}`,
        quantity.takes.length > 0 ? `it takes ${quantity.takes.join(', ')}` : 'it takes no condition',
      );
    }
  }
  const { min, typ, max } = spec;
  if (min === undefined && typ === undefined && max === undefined) throw wrong('neither min nor typ nor max');
  if ((min ?? typ ?? max)! > (typ ?? max ?? min)! || (typ ?? min ?? max)! > (max ?? typ ?? min)!) {
    throw wrong('min, typ and max do not ascend');
  }
}

/** Evaluates every specification. A condition outside the calibrated range fails its row: it is not shown to hold. */
export function checkDatasheet(spec: DatasheetSpec, cal: Calibration): Datasheet {
  const rows = spec.specs.map((item) => checkRow(item, cal));
  return {
    title: spec.title,
    process: cal.process,
    cell: cal.cell,
    rows,
    passed: rows.filter(({ verdict }) => verdict === 'pass').length,
    failed: rows.filter(({ verdict }) => verdict === 'fail').length,
  };
}

function checkRow(spec: Spec, cal: Calibration): DatasheetRow {
  const quantity = QUANTITIES[spec.quantity];
  const [factor] = UNITS[spec.unit];
  const { min, typ, max } = spec;
  const lists = expand(spec, cal);
  const base = {
    quantity: spec.quantity,
    title: quantity.title,
    condition: describe(quantity.takes, lists, cal),
    unit: spec.unit,
    min,
    typ,
    max,
    source: spec.source,
  };
  const nominal = nominalCondition(cal);
  const values: { at: Condition; value: number }[] = [];
  try {
    for (const at of combinations(lists, nominal)) {
      const value = quantity.value(cal, at) / factor;
      if (!Number.isFinite(value)) throw new OnefetError('input', 'OUT_OF_RANGE', `it is ${value}`);
      values.push({ at, value });
    }
  } catch (cause) {
    if (!(cause instanceof OnefetError)) throw cause;
    return { ...base, found: undefined, verdict: 'fail', remark: `not shown: ${cause.message}` };
  }
  const low = values.reduce((a, b) => (b.value < a.value ? b : a));
  const high = values.reduce((a, b) => (b.value > a.value ? b : a));
  const centre =
    values.find(({ at }) => quantity.takes.every((name) => at[name] === nominal[name])) ?? values[0];
  const below = min !== undefined && low.value < min;
  const above = max !== undefined && high.value > max;
  const worst = above ? high : below ? low : max === undefined && min !== undefined ? low : high;
  const varied = Object.keys(lists).filter(
    (name) => lists[name as ConditionName]!.length > 1,
  ) as ConditionName[];
  return {
    ...base,
    found: { low: low.value, nominal: centre.value, high: high.value },
    verdict: below || above ? 'fail' : min === undefined && max === undefined ? 'info' : 'pass',
    remark:
      varied.length === 0 ? '' : `worst at ${varied.map((name) => printed(name, worst.at[name])).join(', ')}`,
  };
}

type Lists = Partial<Record<ConditionName, readonly (number | Corner)[]>>;

function expand(spec: Spec, cal: Calibration): Lists {
  const lists: Lists = {};
  for (const [name, value] of Object.entries(spec.at) as [ConditionName, unknown][]) {
    if (value === undefined) continue;
    if (value === 'all') {
      lists[name] =
        name === 'corner'
          ? calibratedCorners(cal)
          : [cal.validRange.tempK[0] - 273.15, nominalCondition(cal).tempC, cal.validRange.tempK[1] - 273.15];
    } else lists[name] = Array.isArray(value) ? value : [value as number];
  }
  return lists;
}

function combinations(lists: Lists, nominal: Condition): Condition[] {
  return (Object.keys(lists) as ConditionName[]).reduce<Condition[]>(
    (list, name) =>
      list.flatMap((at) => lists[name]!.map((value) => ({ ...at, [name]: value }) as Condition)),
    [nominal],
  );
}

const tidy = (value: number): string => String(Number(value.toPrecision(6)));

function printed(name: ConditionName, value: number | Corner): string {
  if (typeof value === 'string') return value;
  switch (name) {
    case 'tempC':
      return `${tidy(value)}\u00a0°C`;
    case 'vdsV':
      return `Vds\u00a0${tidy(value)}\u00a0V`;
    case 'offVgsV':
      return `Vgs\u00a0${tidy(value)}\u00a0V`;
    case 'product':
      return `product ${tidy(value)}`;
    default:
      return `within ${tidy(100 * value)} %`;
  }
}

function describe(takes: readonly ConditionName[], lists: Lists, cal: Calibration): string {
  const nominal = nominalCondition(cal);
  return takes
    .map((name) => {
      const list = lists[name] ?? [nominal[name]];
      if (list.length === 1) return printed(name, list[0]);
      if (name === 'corner') return (list as Corner[]).join(' ');
      const texts = list.map((value) => printed(name, value));
      return texts.length > 3
        ? `${texts[0]} to ${texts[texts.length - 1]} (${texts.length})`
        : texts.join(', ');
    })
    .join('; ');
}

/** A number of a datasheet: four significant digits. */
export function printValue(value: number | undefined): string {
  if (value === undefined) return '';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** The same as a Markdown page. */
export function datasheetMarkdown(sheet: Datasheet, cal: Calibration): string {
  const inCell = (text: string) =>
    text.replaceAll('\\', '\\\\').replaceAll('|', '\\|').replaceAll('<', '&lt;').replace(/\s+/g, ' ');
  const rows = sheet.rows.map((row) =>
    [
      inCell(row.title),
      inCell(row.condition),
      printValue(row.min),
      printValue(row.typ),
      printValue(row.max),
      row.unit,
      row.found === undefined
        ? ''
        : row.found.low === row.found.high
          ? printValue(row.found.nominal)
          : `${printValue(row.found.low)} … ${printValue(row.found.high)}`,
      { pass: 'pass', fail: '**FAIL**', info: '' }[row.verdict],
      inCell([row.remark, row.source].filter((text) => text !== '').join('; ')),
    ].join(' | '),
  );
  const { widthM, lengthM } = cal.device;
  return `# ${inCell(sheet.title)}

${sheet.process}/${sheet.cell}, W/L ${tidy(widthM * 1e6)}/${tidy(lengthM * 1e6)} µm, ${cal.engine}

**${sheet.failed === 0 ? 'PASS' : 'FAIL'}**: ${sheet.passed} specifications hold, ${sheet.failed} do not.

| Parameter | Conditions | Min | Typ | Max | Unit | Found | Verdict | Remark and source of the limit |
|---|---|--:|--:|--:|---|--:|---|---|
${rows.map((row) => `| ${row} |`).join('\n')}

Found: over all combinations of the conditions. A condition that is not stated is nominal: TT, 27 °C, Vds ${tidy(cal.nominal.vdsV)} V, full scale ${tidy(cal.nominal.fullScaleA * 1e9)} nA.
`;
}
