/** Growth of errors through the model: signal-to-noise ratio of the residual stream behind each block. */
import type { RunResult } from '../experiment/result.ts';
import { COLOURS, type Figure } from './figure.ts';
import { intervalText } from './figures-accuracy.ts';

export function blockFigure({ blocks, chips, model }: RunResult): Figure | undefined {
  if (!blocks || blocks.chipDb.length === 0) return undefined;
  const { recodedDb, chipDb, positions } = blocks;
  const x = recodedDb.map((_, block) => block);
  const means = chipDb.map((interval) => interval?.mean ?? null);
  const ends = (side: 0 | 1) => chipDb.map((interval) => interval?.ci95?.[side] ?? interval?.mean ?? null);
  const last = x.length - 1;
  const db = (value: number | null | undefined) => (value == null ? 'no error' : `${value.toFixed(1)} dB`);
  return {
    id: 'blocks',
    title: 'How errors grow through the model',
    caption: `Signal-to-noise ratio of the residual stream behind each layer, against the digital model on the same text (${positions} positions, ${chips.length} ${chips.length === 1 ? 'chip' : 'chips'}${chips.length > 1 ? ', band: 95 % interval of the mean' : ''}). Behind the last layer: recoded weights ${db(recodedDb[last])}, chips ${db(chipDb[last]?.mean)}.${model.synthetic ? ' The weights are made up.' : ''}`,
    data: [
      {
        type: 'scatter',
        mode: 'lines',
        x: [...x, ...[...x].reverse()],
        y: [...ends(1), ...ends(0).reverse()],
        fill: 'toself',
        fillcolor: 'rgba(0,114,178,0.15)',
        line: { width: 0 },
        hoverinfo: 'skip',
        showlegend: false,
      },
      {
        type: 'scatter',
        mode: 'lines+markers',
        name: 'recoded weights, ideal analog',
        x,
        y: recodedDb,
        line: { color: COLOURS.orange, dash: 'dash' },
        hovertemplate: 'layer %{x}: %{y:.1f} dB<extra>recoded</extra>',
      },
      {
        type: 'scatter',
        mode: 'lines+markers',
        name: 'chips, mean',
        x,
        y: means,
        line: { color: COLOURS.blue },
        hovertemplate: 'layer %{x}: %{y:.1f} dB<extra>chips</extra>',
      },
    ],
    layout: {
      xaxis: {
        title: { text: 'Layer (number)' },
        zeroline: false,
        ...(x.length <= 12 ? { dtick: 1 } : {}),
      },
      yaxis: { title: { text: 'Signal-to-noise ratio (dB)' } },
      legend: { orientation: 'h', y: 1.12 },
    },
    height: 340,
    phoneHeight: 320,
    table: {
      caption: 'Signal-to-noise ratio of the residual stream, dB',
      headers: ['Behind layer', 'Recoded weights', 'Chips, mean and 95 % interval'],
      rows: x.map((block, i) => [
        block,
        db(recodedDb[i]),
        chipDb[i] ? intervalText(chipDb[i], 3) : 'no error',
      ]),
    },
  };
}
