/** The loss that the stream's signal-to-noise ratio predicts, beside the measured one. */
import type { LossPrediction, RunResult } from '../experiment/result.ts';
import { plain } from '../format.ts';
import { COLOURS, type Figure } from './figure.ts';
import { plotText } from './html.ts';

export function predictionFigures({ prediction, recoded }: RunResult): Figure[] {
  return prediction ? [predictionFigure(prediction, recoded.kl)] : [];
}

/** Measured KL against the error of the stream, and the line through the mapped weights. */
function predictionFigure(prediction: LossPrediction, recodedKl: number): Figure {
  const { klPerError, recodedError, chips, sources } = prediction;
  const points = [
    { name: 'recoded weights (sets the line)', error: recodedError, kl: recodedKl, color: COLOURS.orange },
    ...sources.map(({ source, error, kl }) => ({ name: `${source} alone`, error, kl, color: COLOURS.grey })),
    { name: 'chips', error: chips.error, kl: chips.kl, color: COLOURS.blue },
  ];
  const most = Math.max(...points.map(({ error }) => error)) * 1.05;
  const ratio = chips.measuredOverPredicted;
  return {
    id: 'prediction',
    title: 'A prediction: loss from the error of the stream',
    caption: `Prediction, not measurement: KL in proportion to the relative error of the residual stream behind the last block, ${plain(klPerError)} nats per unit, taken from the recoded weights. For the chips it predicts ${plain(chips.predictedKl)} nats; measured are ${plain(chips.kl)}${ratio === null ? '' : `, ${plain(ratio, 3)} times as much`}.${chips.linear ? '' : ' Their error is beyond the range in which proportion was found to hold.'}`,
    data: [
      {
        type: 'scatter',
        mode: 'lines',
        name: 'prediction',
        x: [0, most],
        y: [0, klPerError * most],
        line: { color: COLOURS.orange, dash: 'dash' },
        hoverinfo: 'skip',
      },
      {
        type: 'scatter',
        mode: 'markers',
        name: 'measured',
        x: points.map(({ error }) => error),
        y: points.map(({ kl }) => kl),
        customdata: points.map(({ name }) => plotText(name)),
        marker: { color: points.map(({ color }) => color), size: 9 },
        hovertemplate: '%{customdata}<br>error %{x:.3g}, KL %{y:.3g} nats<extra></extra>',
      },
    ],
    layout: {
      xaxis: { title: { text: 'Error over signal of the stream (power)' }, rangemode: 'tozero' },
      yaxis: { title: { text: 'KL(digital || this) (nats)' }, rangemode: 'tozero' },
      legend: { orientation: 'h', y: 1.12 },
    },
    height: 340,
    phoneHeight: 320,
    table: {
      caption: 'Predicted and measured KL, nats',
      headers: ['Model', 'Error over signal', 'Predicted', 'Measured', 'Measured / predicted'],
      rows: points.map(({ name, error, kl }) => [
        name,
        ...[error, klPerError * error, kl, kl / (klPerError * error)].map((x) => plain(x)),
      ]),
    },
  };
}
