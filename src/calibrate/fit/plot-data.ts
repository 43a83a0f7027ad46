/**
 * The data behind a calibration's plots, compact enough to live in its file.
 */
import type { Calibration, CornerCalibration } from '../../cell/calibration.ts';
import { atTemperature, ekvCurrentA } from '../../cell/ekv.ts';
import { gridValues, type MultiplySweep, type TransferSweep } from '../sweeps.ts';
import { isHeldOutTemp, isHeldOutVds } from './corner-fit.ts';
import { type CellPoint, fitResidual } from './fit.ts';
import { productError } from './measures.ts';

/** The points of a multiply sweep, levels outer: the netlist formed the gate voltage, here it is computed again. */
function multiplyPoints(sweep: MultiplySweep, vdsV: number): CellPoint[] {
  const { levels, codes, tempK, fullScaleVgsV, ladderSlopeV, drainA } = sweep;
  return Array.from(drainA, (currentA, i) => {
    const product = ((Math.floor(i / codes) + 1) * ((i % codes) + 1)) / (levels * codes);
    return { vgsV: fullScaleVgsV + ladderSlopeV * Math.log(product), vdsV, tempK, currentA };
  });
}

/** Products of sweeps over full scale, those of the fitted cell at the same gate voltages, and the errors of both. */
export function productEntry(
  sweeps: readonly MultiplySweep[],
  { vdsV, fullScaleA }: { readonly vdsV: number; readonly fullScaleA: number },
  coefficients: readonly number[],
): Calibration['multiply'] {
  const [{ codes, levels }] = sweeps;
  return {
    codes,
    levels,
    tempK: sweeps.map(({ tempK }) => tempK),
    spice: sweeps.map(({ drainA }) => Array.from(drainA, (value) => value / fullScaleA)),
    fit: sweeps.map((sweep) => {
      const at = atTemperature(coefficients, sweep.tempK);
      return multiplyPoints(sweep, vdsV).map(({ vgsV }) => ekvCurrentA(at, vgsV, vdsV) / fullScaleA);
    }),
    heldOut: sweeps.map((sweep) => fitResidual(multiplyPoints(sweep, vdsV), coefficients)),
    product: sweeps.map(productError),
  };
}

/** ln(fit / SPICE) over the valid range, every fourth gate voltage. */
export function residualPlots(
  sweep: TransferSweep,
  coefficients: readonly number[],
  { gate }: CornerCalibration,
  nominalVdsV: number,
): Calibration['plots']['residuals'] {
  const { tempK, vgs, vds } = sweep;
  return tempK.flatMap((t, k) => {
    const at = atTemperature(coefficients, t);
    const inside = gridValues(vgs)
      .map((v, i) => ({ v, i }))
      .filter(({ v, i }) => i % 4 === 0 && v >= gate.lowV[k] && v <= gate.highV[k]);
    return gridValues(vds).map((vdsV, j) => ({
      tempK: t,
      vdsV,
      heldOut: isHeldOutTemp(t) || isHeldOutVds(vds, j, nominalVdsV),
      vgsV: inside.map(({ v }) => v),
      lnRatio: inside.map(({ v, i }) =>
        Math.log(ekvCurrentA(at, v, vdsV) / sweep.drainA[k][j * vgs.count + i]),
      ),
    }));
  });
}

/** SPICE over the whole sweep and the fit over its valid range, at one temperature. */
export function transferPlots(
  sweep: TransferSweep,
  coefficients: readonly number[],
  entry: CornerCalibration,
  tempIndex: number,
): Calibration['plots']['transfer'] {
  const { vgs, vds, tempK } = sweep;
  const at = atTemperature(coefficients, tempK[tempIndex]);
  const every = gridValues(vgs)
    .map((v, i) => ({ v, i }))
    .filter(({ i }) => i % 2 === 0);
  const inside = every.filter(({ v }) => v >= entry.gate.lowV[tempIndex] && v <= entry.gate.highV[tempIndex]);
  return gridValues(vds).map((vdsV, j) => ({
    vdsV,
    vgsV: every.map(({ v }) => v),
    spiceA: every.map(({ i }) => sweep.drainA[tempIndex][j * vgs.count + i]),
    fitVgsV: inside.map(({ v }) => v),
    fitA: inside.map(({ v }) => ekvCurrentA(at, v, vdsV)),
  }));
}
