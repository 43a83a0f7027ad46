/**
 * Wires, clamp and source line in the summed currents of a column, in closed form. One home for the behavioural
 * tile (src/tile/column.ts) and for the model that is compared with columns in SPICE (src/calibrate/studies/column/column-model.ts).
 *
 *   source   ln s = ln s0 - D (s + other),  D = R_s / (m Ut),  R_s = R + r_s (N + 1)(2 N + 1) / (6 N)
 *   clamp    ln I = ln I0 - lambda dV,      dV = R_b I, R_b = r_b (N + 1)(2 N + 1) / (6 N) + R_clamp
 *                                           or, of a cascode, m Ut / (1 + A) ln(I / I_mid) besides the wire
 *
 * s is the current of both bit lines, I of one. Currents may be in any unit as long as the factors are in its inverse.
 */

/** Currents of the two bit lines of a column. */
export interface Sums {
  readonly plusA: number;
  readonly minusA: number;
}

/** Resistances of a column and the clamp at its end. */
export interface ColumnLines {
  readonly rows: number;
  /** Of a bit-line segment between two rows. */
  readonly bitWireOhm: number;
  /** Of a source-line segment between two rows. */
  readonly sourceWireOhm: number;
  /** Between the source line and ground. */
  readonly sourceOhm: number;
  /** Input resistance of the clamp; 0 with a cascode, which has no constant one. */
  readonly clampOhm: number;
  /** Of a cascode: the line falls by slopeV per e-fold of its current and rests at its level at middleA. */
  readonly cascode?: { readonly slopeV: number; readonly middleA: number };
}

/** Slopes of a cell on its drain and source. */
export interface CellSlopes {
  /** d ln I / dVds. */
  readonly lambdaPerV: number;
  /** m Ut: volts of source per e-fold of current. */
  readonly sourceSlopeV: number;
}

export interface Droop {
  /** R_s / (m Ut), 1/A. */
  readonly source: number;
  /** lambda R_b, 1/A. */
  readonly clamp: number;
  /** 1 / (1 + lambda slopeV), and I_mid. */
  readonly cascode?: { readonly exponent: number; readonly middleA: number };
}

/**
 * r (N + 1)(2 N + 1) / (6 N): the resistance that gives the mean drop of N equal cells on a wire of segments r, the mean
 * over cells i of r sum_j min(i, j) / N. Exact for equal currents.
 */
export function effectiveWireOhm(segmentOhm: number, rows: number): number {
  return (segmentOhm * (rows + 1) * (2 * rows + 1)) / (6 * rows);
}

/** Droop factors per ampere; with `unitA`, per unit of that current. */
export function columnDroop(lines: ColumnLines, { lambdaPerV, sourceSlopeV }: CellSlopes, unitA = 1): Droop {
  const { rows, cascode } = lines;
  const sourceOhm = lines.sourceOhm + effectiveWireOhm(lines.sourceWireOhm, rows);
  const lineOhm = lines.clampOhm + effectiveWireOhm(lines.bitWireOhm, rows);
  return {
    source: (sourceOhm / sourceSlopeV) * unitA,
    clamp: lambdaPerV * lineOhm * unitA,
    ...(cascode === undefined
      ? {}
      : {
          cascode: {
            exponent: 1 / (1 + lambdaPerV * cascode.slopeV),
            middleA: cascode.middleA / unitA,
          },
        }),
  };
}

/** Clamp and source line applied to the sums; `otherA` is the current of other columns on the same source line. */
export function applyDroop({ plusA, minusA }: Sums, droop: Droop, otherA = 0): Sums {
  const total = plusA + minusA;
  // s = s0 exp(-D (s + other)): Newton on s; the exponent is small, three steps reach rounding.
  let common = total;
  if (droop.source > 0) {
    for (let i = 0; i < 3; i++) {
      const right = total * Math.exp(-droop.source * (common + otherA));
      common -= (common - right) / (1 + droop.source * right);
    }
  }
  const sourceGain = total > 0 ? common / total : 1;
  return { plusA: clamped(plusA * sourceGain, droop), minusA: clamped(minusA * sourceGain, droop) };
}

function clamped(currentA: number, { clamp, cascode }: Droop): number {
  if (currentA <= 0) return currentA;
  const i = currentA / (1 + clamp * currentA);
  // ln I = ln I0 - lambda slope ln(I / mid)  =>  I = mid (I0 / mid)^(1 / (1 + lambda slope)).
  return cascode === undefined ? i : cascode.middleA * (i / cascode.middleA) ** cascode.exponent;
}
