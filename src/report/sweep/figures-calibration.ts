/** Fitted quantities against the swept keys, and SPICE beside the fit. */
import { formatSi } from '../../format.ts';
import type { FinishedSweep } from '../../sweep/finish.ts';
import { isCalibration } from '../../sweep/outcome.ts';
import { type Figure, SERIES } from '../figure.ts';
import { plotText } from '../html.ts';
import { logTicks } from '../ticks.ts';
import { keyFigures, mapFigure, type Shown } from './figures-key.ts';
import { type Done, doneOf, pointLabel } from './series.ts';

const quantity = (column: string, label: string): Shown => ({
  label,
  value: (outcome: Done) => (isCalibration(outcome) ? (outcome.quantities[column] ?? null) : null),
});

/** Quantities that are drawn; the table has all. */
const DRAWN: readonly (readonly [string, string])[] = [
  ['ladder_slope_factor', 'Slope factor n of the ladder'],
  ['exponential_range_decades', 'Exponential range within 1 % (decades)'],
  ['sigma_current', 'Sigma of ln I from mismatch'],
  ['fit_rms', 'Fit residual of ln I, RMS'],
  ['held_out_vds_rms', 'Residual at drain voltages held out, RMS'],
  ['off_current_a', 'Off current of a connected cell (A)'],
  ['settling_1pc_s', 'Settling of a column to 1 % (s)'],
];

export function calibrationFigures(sweep: FinishedSweep): Figure[] {
  const drawn = DRAWN.filter(([column]) =>
    doneOf(sweep).some((outcome) => isCalibration(outcome) && outcome.quantities[column] != null),
  );
  return [
    ...drawn.flatMap(([column, label]) =>
      keyFigures(sweep, quantity(column, label), column.replaceAll('_', '-')),
    ),
    ...[mapFigure(sweep, quantity('sigma_current', 'Sigma of ln I from mismatch'))].filter(
      (figure) => figure !== undefined,
    ),
    ...spiceFigures(sweep),
  ];
}

/** Calibrations whose curves are drawn: the first few that differ. */
const MOST_CURVES = 4;

function spiceFigures(sweep: FinishedSweep): Figure[] {
  const distinct = new Map(
    doneOf(sweep)
      .filter(isCalibration)
      .map((outcome) => [JSON.stringify(outcome.curves), outcome]),
  );
  const shown = [...distinct.values()].slice(0, MOST_CURVES);
  const curves = shown.flatMap((outcome, i) =>
    outcome.curves
      .slice(-1)
      .map((curve) => ({ ...curve, color: SERIES[i], name: pointLabel(sweep, outcome) })),
  );
  if (curves.length === 0) return [];
  const rows = curves.flatMap(({ name, vgsV, spiceA, vdsV }) =>
    vgsV.flatMap((v, i) =>
      i % 8 === 0 ? [[name, formatSi(vdsV, 'V'), v.toFixed(3), spiceA[i].toExponential(3)]] : [],
    ),
  );
  return [
    {
      id: 'transfer',
      title: 'SPICE beside the fit',
      caption: `Drain current against gate voltage at the typical corner and 27 C: marks are SPICE, lines the fitted cell${distinct.size > shown.length ? `, of the first ${shown.length} of ${distinct.size} calibrations` : ''}.`,
      data: curves.flatMap(({ vgsV, spiceA, fitVgsV, fitA, color, name }) => [
        {
          type: 'scatter',
          mode: 'markers',
          name: plotText(name),
          x: vgsV,
          y: spiceA,
          marker: { color, size: 6 },
          hovertemplate: '%{x:.3f} V: %{y:.3g} A<extra>SPICE</extra>',
        },
        {
          type: 'scatter',
          mode: 'lines',
          x: fitVgsV,
          y: fitA,
          line: { color: '#1c2430', width: 1 },
          showlegend: false,
          hovertemplate: '%{x:.3f} V: %{y:.3g} A<extra>fit</extra>',
        },
      ]),
      layout: {
        xaxis: { title: { text: 'Gate voltage (V)' }, zeroline: false },
        yaxis: {
          title: { text: 'Drain current (A)' },
          ...logAxis(curves.flatMap(({ spiceA }) => spiceA)),
        },
        hovermode: 'closest',
      },
      height: 440,
      phoneHeight: 400,
      table: {
        caption: 'SPICE, every eighth point',
        headers: ['Calibration', 'Vds', 'Gate voltage (V)', 'Drain current (A)'],
        rows,
      },
    },
  ];
}

function logAxis(currents: readonly number[]): Record<string, unknown> {
  const shown = currents.filter((a) => a > 0);
  if (shown.length === 0) return { type: 'log' };
  return { type: 'log', ...logTicks(Math.min(...shown), Math.max(...shown), (v) => formatSi(v, 'A')) };
}
