/**
 * Can a layer in which everything is connected with everything be wired?
 *
 *   side of a weight   s = sqrt(area of a layer / weights in it)
 *   shared wires       weights x tracks x s: rows and columns that all weights of an input or output hang on
 *   a wire of its own  weights x 2/3 sqrt(area): the mean way between two points of a square
 *   metal layers       length x pitch / (area x share left for signals)
 */

import type { Calibration } from '../cell/calibration.ts';
import { planFloor } from '../cost/floorplan.ts';
import { logDomainCostDesign } from '../cost/log-domain-design.ts';
import type { LogDomainDesign } from '../fabric/log-domain.ts';
import { formatSi, plain } from '../format.ts';
import { blockMatrices, blockWeights } from '../model/shape.ts';
import { weightFormat } from '../tile/weight-code.ts';
import { type Answer, usedConstants } from './answer.ts';
import type { PowerRow } from './power.ts';
import type { QuestionConstants } from './question-constants.ts';

export interface LayerWiring {
  readonly weights: number;
  readonly areaMm2: number;
  /** Of a weight's place, m. */
  readonly sideM: number;
  readonly tracks: number;
  readonly sharedM: number;
  readonly ownM: number;
  /** Metal layers for either; the stack has `metalLayers`. */
  readonly sharedLayers: number;
  readonly ownLayers: number;
}

/** Wires of `weights` weights on `areaMm2`. */
export function wireLayer(
  weights: number,
  areaMm2: number,
  tracks: number,
  { pitchM, signalShare }: { readonly pitchM: number; readonly signalShare: number },
): LayerWiring {
  const areaM2 = areaMm2 * 1e-6;
  const sideM = Math.sqrt(areaM2 / weights);
  const sharedM = weights * tracks * sideM;
  const ownM = weights * (2 / 3) * Math.sqrt(areaM2);
  const layers = (lengthM: number) => (lengthM * pitchM) / (areaM2 * signalShare);
  return {
    ...{ weights, areaMm2, sideM, tracks, sharedM, ownM },
    sharedLayers: layers(sharedM),
    ownLayers: layers(ownM),
  };
}

export function answerWiring(rows: readonly PowerRow[], { wiring }: QuestionConstants): Answer {
  const metal = { pitchM: wiring.pitchM.value, signalShare: wiring.signalShare.value };
  const of = (row: PowerRow): LayerWiring => {
    const { layers } = row.shape;
    const { layerMm2 } = planOf(row);
    return wireLayer(blockWeights(row.shape) / layers, layerMm2, tracksOf(row, wiring), metal);
  };
  const all = rows.map(of);
  const [first] = all;
  const stack = wiring.metalLayers;
  const widest = blockMatrices(rows[0].shape, 0).reduce((a, b) =>
    a.outputs * a.inputs >= b.outputs * b.inputs ? a : b,
  );
  const plan = planOf(rows[0]);
  return {
    id: 'wiring',
    question: 'Can a layer in which every output reads every input be wired?',
    sentences: [
      `${rows[0].subject.name}: yes, because wires are shared. A layer of ${rows[0].cost.shape.name} has ${formatSi(first.weights, '')} weights on ${plain(first.areaMm2)} mm2; rows and columns across every weight (${plain(first.tracks)} tracks) are ${formatSi(first.sharedM, 'm')} of wire and fill ${plain(first.sharedLayers, 2)} layers of metal of about ${stack.value}.`,
      `With a wire of its own for every weight it would be ${formatSi(first.ownM, 'm')} and ${Math.round(first.ownLayers).toLocaleString('en-US')} layers of metal: impossible by a factor of ${Math.round(first.ownLayers / stack.value).toLocaleString('en-US')}. So an input must reach its ${widest.outputs.toLocaleString('en-US')} weights (${widest.name.tensor}) over one line, and an output collect from its ${widest.inputs.toLocaleString('en-US')} on one.`,
      `The longest way in a layer is ${plain(plan.columnMm + plan.layerMm)} mm from corner to corner, all layers in a row ${plain(plan.snakeMm)} mm on ${plan.dies} ${plan.dies === 1 ? 'die' : 'dies'} (the plan of the ground below).`,
    ],
    tables: [
      {
        caption: `Wires of one layer; metal at a pitch of ${formatSi(metal.pitchM, 'm')} (${formatSi(wiring.pitchM.low ?? metal.pitchM, 'm')} to ${formatSi(wiring.pitchM.high ?? metal.pitchM, 'm')}), ${100 * metal.signalShare} % of it for signals`,
        headers: [
          'Design',
          'Weights',
          'mm2',
          'Side of a weight',
          'Tracks',
          'Shared wires',
          'Metal layers',
          'Own wires',
          'Metal layers',
        ],
        rows: rows.map(({ subject }, i) => {
          const one = all[i];
          return [
            subject.name,
            formatSi(one.weights, ''),
            plain(one.areaMm2),
            formatSi(one.sideM, 'm'),
            plain(one.tracks),
            formatSi(one.sharedM, 'm'),
            plain(one.sharedLayers, 2),
            formatSi(one.ownM, 'm'),
            plain(one.ownLayers, 2),
          ];
        }),
      },
    ],
    sources: usedConstants('wiring', wiring),
  };
}

const planOf = ({ cost, shape, subject }: PowerRow) =>
  planFloor(cost.areaLinesMm2, shape.layers, cost.dies, subject.constants.layout.dieAspect.value);

/** Tracks across a weight: of a cell, those of its topology. */
function tracksOf({ subject }: PowerRow, { romTracks, adderTracks }: QuestionConstants['wiring']): number {
  const { kind, design, parts } = subject.fabric;
  if (kind === 'log-domain') {
    const { footprint } = logDomainCostDesign(
      design as LogDomainDesign,
      parts.calibration as Calibration,
      subject.run.ranges,
    );
    const { taps, cellWeights } = weightFormat(design.weights.bits);
    const across = footprint.horizontalTracks === 'taps' ? taps : footprint.horizontalTracks;
    return (across + footprint.verticalTracks) * cellWeights.length;
  }
  return kind === 'hardwired' ? adderTracks.value : romTracks.value;
}
