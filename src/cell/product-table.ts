/**
 * A multiplier that is not one exponentiator at one gate node is calibrated as a table: current by input magnitude and
 * tap, at each corner, temperature and supply, with the slopes that mismatch needs. Stored is ln(I / (I_fs x m/M)), which
 * is zero for a perfect multiplier and smooth in everything, so that a few nodes suffice; the interpolation error is
 * measured on conditions that are not nodes.
 */
import { OnefetError } from '../error.ts';
import type { Calibration } from './calibration.ts';
import type { ProductTable } from './product-schema.ts';
import type { Corner } from './technology.ts';

export interface TableOperatingPoint {
  readonly corner: Corner;
  readonly tempK: number;
  readonly vdsV: number;
  readonly fullScaleA: number;
  /** Default: the supply at which the bit line stands at vdsV. */
  readonly supplyV?: number;
}

export interface ProductResponse {
  /** [levels][taps + 1] I / I_fs; row 0 magnitudes and tap 0 are 0. */
  readonly table: readonly Float64Array[];
  /** [levels][taps + 1] -d ln I / dVt of one threshold common to the cell's transistors, 1/V. */
  readonly thresholdSlopePerV: readonly Float64Array[];
  /** [levels][taps + 1] d ln I / dV of an offset common to the row, 1/V. */
  readonly rowSlopePerV: readonly Float64Array[];
  /** [taps + 1] current of a connected cell whose row is off over I_fs. */
  readonly off: Float64Array;
  /** Bias that the replica settles at, in the unit of the table. */
  readonly bias: number;
}

/**
 * Response of a table-calibrated cell with a replica bias and a PTAT ladder, the conditions it was calibrated with.
 * `magnitudes` are 0 (off) or between 1/1023 and 1. `offLevelV` is ignored by a transistor driver, whose off level is the
 * ground rail (`cal.product.offLevelV` is empty then). Errors: NO_PRODUCT_TABLE, OUT_OF_RANGE, CORNER_UNKNOWN.
 */
export function productTable(
  cal: Calibration,
  op: TableOperatingPoint,
  magnitudes: ArrayLike<number>,
  taps: number,
  offLevelV: number,
): ProductResponse {
  const name = `${cal.process}/${cal.cell}`;
  const table = cal.product;
  if (table === undefined) {
    throw new OnefetError('input', 'NO_PRODUCT_TABLE', `${name}: calibrated as an equation, not as a table`);
  }
  const supplyV = op.supplyV ?? op.vdsV / table.vdsOfSupply;
  if (Math.abs(op.vdsV / (table.vdsOfSupply * supplyV) - 1) > 0.01) {
    throw outOfRange(
      name,
      'Vds',
      'vdsV',
      op.vdsV,
      [table.vdsOfSupply * supplyV, table.vdsOfSupply * supplyV],
      'V',
    );
  }
  if (Math.abs(op.fullScaleA / table.fullScaleA - 1) > 1e-6) {
    throw outOfRange(
      name,
      'full-scale current',
      'fullScaleA',
      op.fullScaleA,
      [table.fullScaleA, table.fullScaleA],
      'A',
    );
  }
  within(name, 'supply', 'supplyV', supplyV, table.supplyV, 'V');
  within(name, 'temperature', 'tempK', op.tempK, table.tempK, 'K');
  const entry = pickTable(table, taps, name);
  const corner = entry.corners[op.corner];
  if (corner === undefined) {
    throw new OnefetError('usage', 'CORNER_UNKNOWN', `${name}: no corner ${op.corner}`, {
      hint: `calibrated corners are ${Object.keys(entry.corners).join(', ')}`,
    });
  }
  const xs = Array.from(magnitudes);
  for (const x of xs) {
    if (x !== 0) within(name, 'ln of the input magnitude', undefined, Math.log(x), table.lnMagnitude, '');
  }
  const slopesOf = (values: readonly number[]) =>
    xs.map((x) =>
      Float64Array.from({ length: taps + 1 }, (_, m) => {
        if (x === 0 || m === 0) return 0;
        return evaluate(table, values, taps, op.tempK, undefined, m, Math.log(x));
      }),
    );
  const level = offLevel(name, table, offLevelV);
  const temps = lagrange(table.tempK, op.tempK);
  const levels = Math.max(1, table.offLevelV.length);
  const off = Float64Array.from({ length: taps + 1 }, (_, m) => {
    if (m === 0) return 0;
    let sum = 0;
    for (const [t, wt] of temps) {
      for (const [o, wo] of level) sum += wt * wo * corner.lnOffA[(t * levels + o) * taps + m - 1];
    }
    return Math.exp(sum) / table.fullScaleA;
  });
  let bias = 0;
  for (const [s, ws] of lagrange(table.supplyV, supplyV)) {
    for (const [t, wt] of temps) bias += ws * wt * corner.bias[s * table.tempK.length + t];
  }
  return {
    table: interpolate(table, op.corner, op.tempK, supplyV, xs, taps),
    thresholdSlopePerV: slopesOf(entry.thresholdSlopePerV),
    rowSlopePerV: slopesOf(entry.rowSlopePerV),
    off,
    bias,
  };
}

function offLevel(name: string, table: ProductTable, levelV: number): [number, number][] {
  if (table.offLevelV.length === 0) return [[0, 1]];
  within(name, 'off level', 'driver.offVgsV', levelV, table.offLevelV, 'V');
  return lagrange(table.offLevelV, levelV);
}

function pickTable(table: ProductTable, taps: number, name: string) {
  const entry = table.tables.find((candidate) => candidate.taps === taps);
  if (entry !== undefined) return entry;
  throw new OnefetError('input', 'OUT_OF_RANGE', `${name}: no table for ${taps} taps`, {
    hint: `there is one for ${table.tables.map((t) => t.taps).join(' and ')}`,
  });
}

/** [levels][taps + 1] I / I_fs inside the range; the caller has checked it. */
export function interpolate(
  table: ProductTable,
  corner: Corner,
  tempK: number,
  supplyV: number,
  magnitudes: readonly number[],
  taps: number,
): Float64Array[] {
  const { lnDeviation } = pickTable(table, taps, 'table').corners[corner]!;
  return magnitudes.map((x) =>
    Float64Array.from({ length: taps + 1 }, (_, m) => {
      if (x === 0 || m === 0) return 0;
      return ((x * m) / taps) * Math.exp(evaluate(table, lnDeviation, taps, tempK, supplyV, m, Math.log(x)));
    }),
  );
}

/** Value of [supply][temp][tap][magnitude] (or without supply) between its nodes. */
function evaluate(
  table: ProductTable,
  values: readonly number[],
  taps: number,
  tempK: number,
  supplyV: number | undefined,
  tap: number,
  lnX: number,
): number {
  const temps = lagrange(table.tempK, tempK);
  const supplies: [number, number][] = supplyV === undefined ? [[0, 1]] : lagrange(table.supplyV, supplyV);
  const xs = lagrange(table.lnMagnitude, lnX);
  const points = table.lnMagnitude.length;
  let sum = 0;
  for (const [s, ws] of supplies) {
    for (const [t, wt] of temps) {
      const base = ((s * table.tempK.length + t) * taps + tap - 1) * points;
      for (const [k, wk] of xs) sum += ws * wt * wk * values[base + k];
    }
  }
  return sum;
}

/** Weights of the polynomial through the (up to) four nodes around a value; exact on a node. */
export function lagrange(nodes: readonly number[], value: number): [number, number][] {
  let above = 0;
  while (above < nodes.length && nodes[above] < value) above++;
  const count = Math.min(4, nodes.length);
  const first = Math.min(Math.max(0, above - 2), nodes.length - count);
  return Array.from({ length: count }, (_, i) => {
    let weight = 1;
    for (let j = 0; j < count; j++) {
      if (j !== i) weight *= (value - nodes[first + j]) / (nodes[first + i] - nodes[first + j]);
    }
    return [first + i, weight] as [number, number];
  }).filter(([, weight]) => weight !== 0);
}

const SLACK = 1e-9;

/** `key`: of the design, where one of its keys alone is the value. */
function within(
  name: string,
  what: string,
  key: string | undefined,
  value: number,
  nodes: readonly number[],
  unit: string,
): void {
  const range = [nodes[0], nodes[nodes.length - 1]] as const;
  if (value >= range[0] - SLACK && value <= range[1] + SLACK) return;
  throw outOfRange(name, what, key, value, range, unit);
}

function outOfRange(
  name: string,
  what: string,
  key: string | undefined,
  value: number,
  [low, high]: readonly [number, number],
  unit: string,
): OnefetError {
  const range = low === high ? `${low.toPrecision(4)}` : `${low.toPrecision(4)} to ${high.toPrecision(4)}`;
  return new OnefetError(
    'input',
    'OUT_OF_RANGE',
    `${name}: ${what} of ${value} ${unit} is outside the calibrated range ${range} ${unit}`,
    {
      hint:
        low === high && key
          ? `this cell was calibrated as a table at that point: --set ${key}=${low}`
          : 'choose an operating point inside the range, or calibrate a cell for this one',
    },
  );
}
