/**
 * Figures of the calibrated cell: transfer with residuals, error of the multiplication, mismatch.
 */
import type { Calibration } from '../cell/calibration.ts';
import { formatSi, plain } from '../format.ts';
import { COLOURS, type Figure, SERIES } from './figure.ts';
import { logTicks } from './ticks.ts';

/** The part of a calibration that the report draws; a whole calibration is one. */
export type CalibrationFigures = Pick<
  Calibration,
  'process' | 'cell' | 'topology' | 'device' | 'nominal' | 'plots'
> & {
  multiply: Pick<Calibration['multiply'], 'codes' | 'levels' | 'tempK' | 'spice'>;
  mismatch: Pick<Calibration['mismatch'], 'sigmaVtV' | 'sigmaBeta' | 'monteCarlo'>;
};

/** Rows of a table under a figure: more than this are thinned out, and the caption says so. */
const TABLE_ROWS = 60;

export function cellFigures(calibration: CalibrationFigures): Figure[] {
  const figures: Figure[] = [];
  if (calibration.plots.transfer.length > 0) figures.push(transferFigure(calibration));
  if (calibration.plots.residuals.length > 0) figures.push(residualFigure(calibration));
  if (calibration.multiply.spice.length > 0) figures.push(multiplyFigure(calibration));
  figures.push(mismatchFigure(calibration));
  return figures;
}

function transferFigure(calibration: CalibrationFigures): Figure {
  const curves = calibration.plots.transfer;
  const data: Record<string, unknown>[] = [];
  let worst = 0;
  const currents: number[] = [];
  curves.forEach((curve, i) => {
    const color = SERIES[i % SERIES.length];
    const name = `Vds ${plain(curve.vdsV)} V`;
    const residual = residualsOf(curve);
    for (const { percent } of residual) worst = Math.max(worst, Math.abs(percent));
    currents.push(...curve.spiceA.filter((a) => a > 0));
    data.push(
      {
        type: 'scatter',
        mode: 'markers',
        name,
        legendgroup: name,
        x: curve.vgsV,
        y: curve.spiceA,
        marker: { color, size: 6, symbol: 'circle-open' },
        hovertemplate: `${name}, SPICE<br>Vgs %{x:.3f} V<br>%{y:.3s}A<extra></extra>`,
      },
      {
        type: 'scatter',
        mode: 'lines',
        name: `${name}, fit`,
        showlegend: false,
        legendgroup: name,
        x: curve.fitVgsV,
        y: curve.fitA,
        line: { color, width: 1.8 },
        hovertemplate: `${name}, fit<br>Vgs %{x:.3f} V<br>%{y:.3s}A<extra></extra>`,
      },
      {
        type: 'scatter',
        mode: 'lines+markers',
        name,
        legendgroup: name,
        showlegend: false,
        x: residual.map((r) => r.vgsV),
        y: residual.map((r) => r.percent),
        yaxis: 'y2',
        line: { color, width: 1 },
        marker: { color, size: 4 },
        hovertemplate: `${name}<br>Vgs %{x:.3f} V<br>fit − SPICE %{y:.2f} %<extra></extra>`,
      },
    );
  });
  const ticks = logTicks(Math.min(...currents), Math.max(...currents), (v) => formatSi(v, 'A'));
  const residualRows = curves.flatMap((curve) => residualsOf(curve).map((r) => ({ vdsV: curve.vdsV, ...r })));
  const stride = Math.max(1, Math.ceil(residualRows.length / TABLE_ROWS));
  const rows = residualRows
    .filter((_, j) => j % stride === 0)
    .map(({ vdsV, vgsV, spiceA, fitA, percent }) => [
      `${plain(vdsV)} V`,
      `${vgsV.toFixed(3)} V`,
      formatSi(spiceA, 'A'),
      formatSi(fitA, 'A'),
      `${percent.toFixed(2)} %`,
    ]);
  const fitted = curves.flatMap((curve) => curve.fitVgsV);
  const [fitLow, fitHigh] = [Math.min(...fitted), Math.max(...fitted)];
  return {
    id: 'transfer',
    title: 'Cell transfer: drain current against gate voltage',
    caption: `On a logarithmic axis the exponential cell (circles: SPICE) is a straight line; the fitted model (lines, ${plain(fitLow)} to ${plain(fitHigh)} V) follows the SPICE points within ${plain(worst, 2)} % (residuals below) and is refused outside.`,
    data,
    layout: {
      xaxis: { title: { text: 'Gate-source voltage (V)' }, anchor: 'y2' },
      yaxis: {
        title: { text: 'Drain current (A)' },
        type: 'log',
        domain: [0.36, 1],
        tickvals: ticks.tickvals,
        ticktext: ticks.ticktext,
      },
      yaxis2: { title: { text: 'Residual (%)' }, domain: [0, 0.27], zeroline: true },
      hovermode: 'closest',
    },
    height: 520,
    phoneHeight: 520,
    table: {
      caption: 'Points of the transfer curves (thinned out evenly where there are many)',
      headers: ['Vds', 'Vgs', 'SPICE', 'Fit', 'Fit − SPICE'],
      rows,
    },
  };
}

type TransferCurve = CalibrationFigures['plots']['transfer'][number];

/** Fit against SPICE at the gate voltages that both have. */
function residualsOf(
  curve: TransferCurve,
): { vgsV: number; spiceA: number; fitA: number; percent: number }[] {
  const spice = new Map(curve.vgsV.map((v, j) => [v.toFixed(6), curve.spiceA[j]]));
  return curve.fitVgsV.flatMap((vgsV, j) => {
    const spiceA = spice.get(vgsV.toFixed(6));
    const fitA = curve.fitA[j];
    return spiceA === undefined ? [] : [{ vgsV, spiceA, fitA, percent: (fitA / spiceA - 1) * 100 }];
  });
}

/** Fit against SPICE at all temperatures and drain voltages, rows that the fit never saw apart. */
function residualFigure(calibration: CalibrationFigures): Figure {
  const { residuals } = calibration.plots;
  const percentOf = (lnRatio: number) => Math.expm1(lnRatio) * 100;
  const worstOf = (curves: typeof residuals) =>
    curves.reduce((worst, c) => c.lnRatio.reduce((w, r) => Math.max(w, Math.abs(percentOf(r))), worst), 0);
  const seen = residuals.filter((c) => !c.heldOut);
  const heldOut = residuals.filter((c) => c.heldOut);
  const trace = (name: string, curves: typeof residuals, color: string, symbol: string) => ({
    type: 'scatter',
    mode: 'markers',
    name,
    x: curves.flatMap((c) => c.vgsV),
    y: curves.flatMap((c) => c.lnRatio.map(percentOf)),
    customdata: curves.flatMap((c) => c.vgsV.map(() => [c.vdsV, Number((c.tempK - 273.15).toFixed(1))])),
    marker: { color, size: 4, symbol },
    hovertemplate:
      'Vgs %{x:.3f} V, Vds %{customdata[0]} V, %{customdata[1]} °C<br>fit − SPICE %{y:.2f} %<extra></extra>',
  });
  const temperatures = [...new Set(residuals.map((c) => c.tempK))].sort((a, b) => a - b);
  const cell = (curves: typeof residuals) => (curves.length > 0 ? `${worstOf(curves).toFixed(2)} %` : 'none');
  return {
    id: 'residuals',
    title: 'Fit of the cell over temperature and drain voltage',
    caption: `Rows that the fit never saw (orange) should lie as close to zero as those it was made from (blue): they are off by at most ${plain(worstOf(heldOut), 2)} %, the others by ${plain(worstOf(seen), 2)} %, from ${plain(temperatures[0] - 273.15)} to ${plain(temperatures[temperatures.length - 1] - 273.15)} °C.`,
    data: [
      trace('used in the fit', seen, COLOURS.blue, 'circle'),
      trace('held out', heldOut, COLOURS.orange, 'circle-open'),
    ],
    layout: {
      xaxis: { title: { text: 'Gate-source voltage (V)' }, zeroline: false },
      yaxis: { title: { text: 'Fit − SPICE (%)' } },
      hovermode: 'closest',
    },
    height: 320,
    phoneHeight: 320,
    table: {
      caption: 'Largest deviation by temperature',
      headers: ['Temperature', 'Used in the fit', 'Held out'],
      rows: temperatures.map((t) => [
        `${plain(t - 273.15)} °C`,
        cell(seen.filter((c) => c.tempK === t)),
        cell(heldOut.filter((c) => c.tempK === t)),
      ]),
    },
  };
}

function multiplyFigure(calibration: CalibrationFigures): Figure {
  const { multiply } = calibration;
  const { codes, levels } = multiply;
  // The temperature nearest to the nominal one.
  const at = multiply.tempK
    .map((t, i) => [Math.abs(t - calibration.nominal.tempK), i])
    .sort((a, b) => a[0] - b[0])[0][1];
  const spice = multiply.spice[at];
  const value = (level: number, code: number) => spice[(level - 1) * codes + (code - 1)];
  // One gain removed, least squares in the relative error, as the calibration does.
  let sum = 0;
  let squares = 0;
  for (let m = 1; m <= levels; m++) {
    for (let k = 1; k <= codes; k++) {
      const ratio = value(m, k) / ((m / levels) * (k / codes));
      sum += ratio;
      squares += ratio * ratio;
    }
  }
  const gain = sum / squares;
  const z: number[][] = [];
  let worst = { error: 0, m: 1, k: 1 };
  let total = 0;
  for (let m = 1; m <= levels; m++) {
    const row: number[] = [];
    for (let k = 1; k <= codes; k++) {
      const error = ((gain * value(m, k)) / ((m / levels) * (k / codes)) - 1) * 100;
      row.push(error);
      total += error * error;
      if (Math.abs(error) > Math.abs(worst.error)) worst = { error, m, k };
    }
    z.push(row);
  }
  const rms = Math.sqrt(total / (codes * levels));
  const stride = Math.max(1, Math.ceil(codes / 16));
  const shownCodes = Array.from({ length: codes }, (_, i) => i + 1).filter(
    (k) => (k - 1) % stride === 0 || k === codes,
  );
  const bound = Math.max(0.1, Math.abs(worst.error));
  return {
    id: 'multiply',
    title: 'Error of the one-transistor product, by input code and weight tap',
    caption: `Each square is one product in SPICE at ${plain(multiply.tempK[at] - 273.15)} °C against the exact one, one gain removed: ${plain(rms, 2)} % RMS, worst ${plain(worst.error, 2)} % at input ${worst.k} × weight ${worst.m}. White is exact.`,
    data: [
      {
        type: 'heatmap',
        x: Array.from({ length: codes }, (_, i) => i + 1),
        y: Array.from({ length: levels }, (_, i) => i + 1),
        z,
        zmin: -bound,
        zmax: bound,
        colorscale: [
          [0, '#0072b2'],
          [0.5, '#ffffff'],
          [1, '#d55e00'],
        ],
        colorbar: { title: { text: 'Error (%)', side: 'top' }, thickness: 14, outlinewidth: 0 },
        hovertemplate: 'input code %{x}<br>weight tap %{y}<br>error %{z:.2f} %<extra></extra>',
      },
    ],
    layout: {
      xaxis: { title: { text: 'Input code (steps of full scale)' } },
      yaxis: { title: { text: 'Weight tap (magnitude)' }, dtick: 1 },
    },
    height: 340,
    phoneHeight: 340,
    table: {
      caption: `Relative error in % (every ${stride}th input code)`,
      headers: ['Input code', ...Array.from({ length: levels }, (_, m) => `tap ${m + 1}`)],
      rows: shownCodes.map((k) => [k, ...z.map((row) => Number(row[k - 1].toFixed(2)))]),
    },
  };
}

function mismatchFigure(calibration: CalibrationFigures): Figure {
  const { monteCarlo, sigmaVtV } = calibration.mismatch;
  const { histogram } = monteCarlo;
  const total = histogram.counts.reduce((a, b) => a + b, 0);
  const x = histogram.counts.map((_, i) => histogram.lowerEdge + (i + 0.5) * histogram.binWidth);
  const density = histogram.counts.map((c) => c / (total * histogram.binWidth));
  // Theory at full scale: the largest product.
  const top = monteCarlo.product.indexOf(Math.max(...monteCarlo.product));
  const sigma = monteCarlo.lnSigmaTheory[top];
  const spiceSigma = monteCarlo.lnSigmaSpice[top];
  const theory = x.map((v) => Math.exp(-0.5 * (v / sigma) ** 2) / (sigma * Math.sqrt(2 * Math.PI)));
  const areaUm2 = calibration.device.widthM * calibration.device.lengthM * 1e12;
  return {
    id: 'mismatch',
    title: 'Mismatch: spread of the current of equal cells',
    caption: `Drawn in SPICE, ln of the current of ${total.toLocaleString('en-US')} equal cells (gate area ${plain(areaUm2)} µm², sigma of the threshold ${plain(sigmaVtV * 1e3)} mV) has sigma ${plain(spiceSigma)}, the theory line ${plain(sigma)}: a typical cell is off by a factor of ${plain(Math.exp(spiceSigma))}.`,
    data: [
      {
        type: 'bar',
        name: 'SPICE Monte Carlo',
        x,
        y: density,
        width: histogram.binWidth,
        marker: { color: COLOURS.light, line: { color: COLOURS.grey, width: 0.5 } },
        hovertemplate: 'ln(I/median) %{x:.2f}<br>density %{y:.3f}<extra></extra>',
      },
      {
        type: 'scatter',
        mode: 'lines',
        name: 'Theory: sqrt((gm/I · σVt)² + σβ²)',
        x,
        y: theory,
        line: { color: COLOURS.orange, width: 2.2 },
        hovertemplate: 'ln(I/median) %{x:.2f}<br>theory %{y:.3f}<extra></extra>',
      },
    ],
    layout: {
      bargap: 0,
      xaxis: { title: { text: 'ln(current / median), dimensionless' } },
      yaxis: { title: { text: 'Probability density' }, rangemode: 'tozero' },
    },
    height: 360,
    phoneHeight: 320,
    table: {
      caption: 'Histogram of ln(I / median) at full scale',
      headers: ['ln(I / median)', 'Cells', 'Density', 'Theory'],
      rows: x.map((v, i) => [
        Number(v.toFixed(3)),
        histogram.counts[i],
        Number(density[i].toFixed(4)),
        Number(theory[i].toFixed(4)),
      ]),
    },
  };
}
