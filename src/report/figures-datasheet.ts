/**
 * Figures of a datasheet beyond those of the report: every sweep of the calibration with its fit.
 */
import { type Calibration, calibratedCorners } from '../cell/calibration.ts';
import { atTemperature, ekvCurrentA } from '../cell/ekv.ts';
import { offCurrentA } from '../cell/operating-point.ts';
import type { Corner } from '../cell/technology.ts';
import { formatSi, plain } from '../format.ts';
import { COLOURS, type Figure, SERIES } from './figure.ts';
import { plotText } from './html.ts';
import { logTicks } from './ticks.ts';

type Trace = Record<string, unknown>;
const celsius = (tempK: number) => `${plain(tempK - 273.15)} °C`;
/** Rows of a table under a figure. */
const TABLE_ROWS = 60;
const thin = <T>(rows: readonly T[]): T[] => {
  const stride = Math.max(1, Math.ceil(rows.length / TABLE_ROWS));
  return rows.filter((_, i) => i % stride === 0);
};

/** Neighbouring corners in colours that are far apart. */
const CORNER_COLOURS = [COLOURS.blue, COLOURS.orange, COLOURS.green, COLOURS.purple, COLOURS.grey] as const;

/** Returns the name of the points. */
export function sourceName(cal: Calibration): string {
  return cal.engine.startsWith('measured') ? 'measured' : 'SPICE';
}

export function datasheetFigures(cal: Calibration): Figure[] {
  return [
    temperatureFigure(cal),
    cornerFigure(cal),
    offFigure(cal),
    productFigure(cal),
    ...(cal.mismatch.monteCarlo.vgsV.length > 1 ? [sigmaFigure(cal)] : []),
    ...(cal.noise.currentA.length > 1 ? [noiseFigure(cal)] : []),
    ...(cal.gateLeakageA.vgsV.length > 1 ? [gateLeakageFigure(cal)] : []),
  ];
}

const currentAxis = (currents: readonly number[]) => {
  const ticks = logTicks(Math.min(...currents), Math.max(...currents), (v) => formatSi(v, 'A'));
  return {
    title: { text: 'Drain current (A)' },
    type: 'log',
    tickvals: ticks.tickvals,
    ticktext: ticks.ticktext,
  };
};

/** One sweep per temperature at the nominal drain voltage; the points are the fit times their stored ratio. */
function temperatureFigure(cal: Calibration): Figure {
  const tt = cal.corners.TT!;
  const vdsV = cal.plots.residuals.reduce(
    (best, r) => (Math.abs(r.vdsV - cal.nominal.vdsV) < Math.abs(best - cal.nominal.vdsV) ? r.vdsV : best),
    Number.POSITIVE_INFINITY,
  );
  const rows = cal.plots.residuals.filter((r) => r.vdsV === vdsV);
  const data: Trace[] = [];
  const currents: number[] = [];
  const table: string[][] = [];
  rows.forEach((row, i) => {
    const at = atTemperature(tt.coefficients, row.tempK);
    const fitA = row.vgsV.map((v) => ekvCurrentA(at, v, vdsV));
    const pointsA = fitA.map((a, j) => a * Math.exp(-row.lnRatio[j]));
    currents.push(...pointsA);
    const color = SERIES[i % SERIES.length];
    const name = `${celsius(row.tempK)}${row.heldOut ? ' (held out)' : ''}`;
    data.push(
      points(name, row.vgsV, pointsA, color, row.heldOut ? 'x-thin-open' : 'circle-open'),
      line(name, row.vgsV, fitA, color),
    );
    row.vgsV.forEach((v, j) => {
      const percent = 100 * Math.expm1(row.lnRatio[j]);
      table.push([
        celsius(row.tempK),
        `${v.toFixed(3)} V`,
        formatSi(pointsA[j], 'A'),
        formatSi(fitA[j], 'A'),
        `${percent.toFixed(2)} %`,
      ]);
    });
  });
  const source = sourceName(cal);
  return {
    id: 'temperatures',
    title: `Drain current at every temperature, Vds ${plain(vdsV)} V`,
    caption: `Marks are ${source}, lines the one fit for all temperatures; crosses are temperatures that the fit never saw. Each line covers the calibrated gate range of its temperature.`,
    data,
    layout: {
      xaxis: { title: { text: 'Gate-source voltage (V)' }, zeroline: false },
      yaxis: currentAxis(currents),
      hovermode: 'closest',
    },
    height: 460,
    phoneHeight: 520,
    table: {
      caption: 'Points of the figure (thinned out evenly)',
      headers: ['Temperature', 'Vgs', source, 'Fit', `Fit − ${source}`],
      rows: thin(table),
    },
  };
}

/** Fitted transfer of every corner at 27 C, with the simulated off currents of the same corner. */
function cornerFigure(cal: Calibration): Figure {
  const data: Trace[] = [];
  const currents: number[] = [];
  const table: (string | number)[][] = [];
  const { vdsV, tempK } = cal.nominal;
  calibratedCorners(cal).forEach((corner, i) => {
    const entry = cal.corners[corner]!;
    const { off, gate } = entry;
    const t = nearestIndex(off.tempK, tempK);
    const d = nearestIndex(off.vdsV, vdsV);
    const offA = off.vgsV.map((_, k) =>
      Math.exp(off.lnCurrent[(t * off.vdsV.length + d) * off.vgsV.length + k]),
    );
    const at = atTemperature(entry.coefficients, off.tempK[t]);
    const g = nearestIndex(gate.tempK, off.tempK[t]);
    const vgsV = Array.from(
      { length: 60 },
      (_, k) => gate.lowV[g] + ((gate.highV[g] - gate.lowV[g]) * k) / 59,
    );
    const fitA = vgsV.map((v) => ekvCurrentA(at, v, off.vdsV[d]));
    const color = CORNER_COLOURS[i];
    data.push(points(corner, off.vgsV, offA, color), line(corner, vgsV, fitA, color));
    currents.push(...offA, ...fitA);
    table.push([
      corner,
      `${gate.lowV[g].toFixed(3)} V`,
      `${gate.highV[g].toFixed(3)} V`,
      `${(100 * entry.fit.rms).toFixed(2)} %`,
      `${(100 * entry.fit.max).toFixed(2)} %`,
      residualCell(entry.heldOutVds),
      residualCell(entry.heldOutTemp),
    ]);
  });
  return {
    id: 'corners',
    title: `Corners at ${celsius(tempK)}, Vds ${plain(vdsV)} V`,
    caption: `Lines are the fits over their calibrated gate ranges, circles the ${sourceName(cal)} currents around the off level, which are tabulated and not fitted. Corners move the curve along the gate axis by tens of millivolts: replica bias must follow.`,
    data,
    layout: {
      xaxis: { title: { text: 'Gate-source voltage (V)' }, zeroline: false },
      yaxis: currentAxis(currents),
      hovermode: 'closest',
    },
    height: 420,
    phoneHeight: 460,
    table: {
      caption: 'Fit of each corner (held out: largest deviation)',
      headers: ['Corner', 'Gate from', 'to', 'Fit RMS', 'Fit max', 'Held-out Vds', 'Held-out temperature'],
      rows: table,
    },
  };
}

function residualCell({ points: n, max }: { points: number; max: number }): string {
  return n === 0 ? 'none' : `${(100 * max).toFixed(2)} %`;
}

/** Off current over temperature for every corner, with the level of the smallest product. */
function offFigure(cal: Calibration): Figure {
  const { vdsV, fullScaleA } = cal.nominal;
  const [low, high] = cal.validRange.offVgsV;
  const offVgsV = Math.min(high, Math.max(low, 0));
  const tempK = cal.corners.TT!.off.tempK;
  const lsbA = fullScaleA / (cal.multiply.codes * cal.multiply.levels);
  const currents: number[] = [lsbA];
  const corners = calibratedCorners(cal);
  const data: Trace[] = corners.map((corner, i) => {
    const y = tempK.map((t) => offCurrentA(cal, { corner, tempK: t, vdsV, fullScaleA }, offVgsV));
    currents.push(...y);
    return {
      type: 'scatter',
      mode: 'lines+markers',
      name: corner,
      x: tempK.map((t) => Number((t - 273.15).toFixed(2))),
      y,
      line: { color: CORNER_COLOURS[i], width: 1.6 },
      marker: { size: 5 },
      hovertemplate: `${corner}<br>%{x} °C<br>%{y:.3s}A<extra></extra>`,
    };
  });
  data.push({
    type: 'scatter',
    mode: 'lines',
    name: 'smallest product',
    x: [tempK[0] - 273.15, tempK[tempK.length - 1] - 273.15],
    y: [lsbA, lsbA],
    line: { color: COLOURS.grey, width: 1.5, dash: 'dash' },
  });
  const y = (corner: Corner, t: number) => offCurrentA(cal, { corner, tempK: t, vdsV, fullScaleA }, offVgsV);
  return {
    id: 'off',
    title: `Off current at Vgs ${plain(offVgsV)} V`,
    caption: `Above the dashed line an off cell carries more than the smallest product, ${formatSi(lsbA, 'A')}: sums of many off rows need a negative off level, a raised source line or a cooler chip there.`,
    data,
    layout: {
      xaxis: { title: { text: 'Temperature (°C)' }, zeroline: false },
      yaxis: currentAxis(currents),
      hovermode: 'closest',
    },
    height: 360,
    phoneHeight: 380,
    table: {
      caption: 'Off current by temperature and corner',
      headers: ['Temperature', ...corners],
      rows: tempK.map((t) => [celsius(t), ...corners.map((corner) => formatSi(y(corner, t), 'A'))]),
    },
  };
}

/** Product over its ideal value, by ideal product: points and fit at every temperature. */
function productFigure(cal: Calibration): Figure {
  const { codes, levels, tempK, spice, fit } = cal.multiply;
  const ideal = Array.from(
    { length: codes * levels },
    (_, i) => ((Math.floor(i / codes) + 1) * ((i % codes) + 1)) / (codes * levels),
  );
  const order = ideal.map((_, i) => i).sort((a, b) => ideal[a] - ideal[b]);
  const data: Trace[] = [];
  tempK.forEach((t, k) => {
    const color = SERIES[k % SERIES.length];
    data.push(
      points(
        celsius(t),
        order.map((i) => ideal[i]),
        order.map((i) => spice[k][i] / ideal[i]),
        color,
      ),
      line(
        celsius(t),
        order.map((i) => ideal[i]),
        order.map((i) => fit[k][i] / ideal[i]),
        color,
      ),
    );
  });
  const source = sourceName(cal);
  return {
    id: 'products',
    title: `Products of ${codes} codes and ${levels} taps over their ideal value`,
    caption: `A flat line is a perfect multiplier: its height is a gain that one scale removes. Leakage lifts small products, moderate inversion bends large ones down. Marks are ${source} and were never fitted, lines are the fit; full scale is biased anew at each temperature.`,
    data,
    layout: {
      xaxis: { title: { text: 'Ideal product over full scale' }, type: 'log' },
      yaxis: { title: { text: 'Current / (full scale × product)' }, type: 'log' },
      hovermode: 'closest',
    },
    height: 400,
    phoneHeight: 420,
    table: {
      caption: 'Error of the product after one gain, and of the fit',
      headers: ['Temperature', 'Product RMS', 'Product max', 'Fit RMS', 'Fit max'],
      rows: tempK.map((t, k) => [
        celsius(t),
        `${(100 * cal.multiply.product[k].rms).toFixed(2)} %`,
        `${(100 * cal.multiply.product[k].max).toFixed(2)} %`,
        `${(100 * cal.multiply.heldOut[k].rms).toFixed(2)} %`,
        `${(100 * cal.multiply.heldOut[k].max).toFixed(2)} %`,
      ]),
    },
  };
}

function sigmaFigure(cal: Calibration): Figure {
  const { product, lnSigmaSpice, lnSigmaTheory, gmOverIPerV, devices } = cal.mismatch.monteCarlo;
  const name = `${devices} devices`;
  return {
    id: 'sigma',
    title: 'Spread of ln I over the product',
    caption: `Circles: spread of ${devices} devices; line: sqrt((gm/I · σVt)² + σβ²) with σVt ${plain(cal.mismatch.sigmaVtV * 1e3)} mV and σβ ${plain(cal.mismatch.sigmaBeta * 100)} %.`,
    data: [
      points(
        name,
        product,
        lnSigmaSpice.map((s) => 100 * s),
        COLOURS.blue,
      ),
      line(
        name,
        product,
        lnSigmaTheory.map((s) => 100 * s),
        COLOURS.blue,
      ),
    ],
    layout: {
      xaxis: { title: { text: 'Product over full scale' }, type: 'log' },
      yaxis: { title: { text: 'σ(ln I) (%)' }, rangemode: 'tozero' },
    },
    height: 320,
    phoneHeight: 320,
    table: {
      caption: 'Spread by product',
      headers: ['Product', 'gm/I', 'Devices', 'Theory'],
      rows: product.map((p, i) => [
        plain(p),
        `${plain(gmOverIPerV[i])} 1/V`,
        `${(100 * lnSigmaSpice[i]).toFixed(1)} %`,
        `${(100 * lnSigmaTheory[i]).toFixed(1)} %`,
      ]),
    },
  };
}

function noiseFigure(cal: Calibration): Figure {
  const { currentA, whiteRatioByCurrent, flickerByCurrent, whiteRatioTheory } = cal.noise;
  const ticks = logTicks(Math.min(...currentA), Math.max(...currentA), (v) => formatSi(v, 'A'));
  return {
    id: 'noise',
    title: 'White noise over 2qI',
    caption: `Circles: the simulator's white noise; dashed: coth(Vds/2Ut) = ${plain(whiteRatioTheory, 4)}, which the behavioural model uses instead, since the noise options of BSIM4 disagree with it and with each other.`,
    data: [
      points(sourceName(cal), currentA, whiteRatioByCurrent, COLOURS.blue),
      {
        type: 'scatter',
        mode: 'lines',
        name: 'theory',
        x: [Math.min(...currentA), Math.max(...currentA)],
        y: [whiteRatioTheory, whiteRatioTheory],
        line: { color: COLOURS.grey, dash: 'dash', width: 1.5 },
      },
    ],
    layout: {
      xaxis: {
        title: { text: 'Drain current (A)' },
        type: 'log',
        tickvals: ticks.tickvals,
        ticktext: ticks.ticktext,
      },
      yaxis: { title: { text: 'S / 2qI' }, rangemode: 'tozero' },
    },
    height: 320,
    phoneHeight: 320,
    table: {
      caption: 'Noise by current',
      headers: ['Current', 'White over 2qI', 'Flicker S/I² at 1 Hz'],
      rows: currentA.map((a, i) => [
        formatSi(a, 'A'),
        plain(whiteRatioByCurrent[i]),
        flickerByCurrent[i].toExponential(2),
      ]),
    },
  };
}

function gateLeakageFigure(cal: Calibration): Figure {
  const { vgsV, currentA } = cal.gateLeakageA;
  return {
    id: 'gate-leakage',
    title: 'Current into the gate',
    caption: `At ${celsius(cal.nominal.tempK)} and the nominal drain voltage; it loads the ladder that the row shares.`,
    data: [
      {
        type: 'scatter',
        mode: 'lines+markers',
        name: 'gate',
        x: vgsV,
        y: currentA,
        line: { color: COLOURS.blue, width: 1.4 },
        marker: { size: 4 },
        hovertemplate: 'Vgs %{x:.3f} V<br>%{y:.3s}A<extra></extra>',
      },
    ],
    layout: {
      xaxis: { title: { text: 'Gate-source voltage (V)' } },
      yaxis: { title: { text: 'Gate current (A)' }, exponentformat: 'SI' },
    },
    height: 300,
    phoneHeight: 300,
    table: {
      caption: 'Gate current',
      headers: ['Vgs', 'Current'],
      rows: thin(vgsV.map((v, i) => [`${v.toFixed(3)} V`, formatSi(currentA[i], 'A')])),
    },
  };
}

function nearestIndex(values: readonly number[], value: number): number {
  return values.reduce((b, v, i) => (Math.abs(v - value) < Math.abs(values[b] - value) ? i : b), 0);
}

function points(
  name: string,
  x: readonly number[],
  y: readonly number[],
  color: string,
  symbol = 'circle-open',
): Trace {
  return {
    type: 'scatter',
    mode: 'markers',
    name: plotText(name),
    legendgroup: plotText(name),
    x,
    y,
    marker: { color, size: 5, symbol, line: { color, width: 1 } },
    hovertemplate: `${plotText(name)}<br>%{x:.4g}<br>%{y:.4g}<extra></extra>`,
  };
}

function line(name: string, x: readonly number[], y: readonly number[], color: string): Trace {
  return {
    type: 'scatter',
    mode: 'lines',
    name: `${plotText(name)}, fit`,
    legendgroup: plotText(name),
    showlegend: false,
    x,
    y,
    line: { color, width: 1.6 },
    hovertemplate: `${plotText(name)}, fit<br>%{x:.4g}<br>%{y:.4g}<extra></extra>`,
  };
}
