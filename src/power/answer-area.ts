/**
 * How the area splits when weights have 3, 4 or 6 bits.
 *
 * Of fabrics whose counts follow from the matrices alone they are made for the asked bits. Of a log-domain design the counts that
 * area depends on (cells, column ends, conversions) scale with the cells of a weight; its accuracy and currents at other bits
 * are those of another run.
 */
import type { ChipCost } from '../cost/priced-design.ts';
import { OnefetError } from '../error.ts';
import type { Activity, LayerActivity, TileActivity } from '../fabric/activity.ts';
import { tensorBits } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { plain } from '../format.ts';
import { modelMatrices } from '../model/shape.ts';
import { type WeightFormat, weightFormat } from '../tile/weight-code.ts';
import type { Answer } from './answer.ts';
import { bindNamed } from './find-activity.ts';
import { costAt, type PowerRow, type PowerSubject, subjectOf } from './power.ts';

const BITS = [3, 4, 6] as const;

/** Kinds of silicon as people ask for them, by the names of lines. */
const GROUPS: readonly { readonly name: string; readonly lines: readonly string[] }[] = [
  { name: 'weights', lines: ['cells', 'weight-cells', 'weight-rom', 'scale-rom', 'wired-adders'] },
  { name: 'converters, clamps, integrators', lines: ['adcs', 'clamps', 'integrators'] },
  { name: 'row drivers', lines: ['ladders', 'row-buffers', 'dacs'] },
  {
    name: 'arithmetic beside',
    lines: ['accumulators', 'macs', 'selectors', 'adder-trees', 'sense'],
  },
  { name: 'attention, norms', lines: ['vector-units', 'attention-units'] },
  { name: 'cache of one user', lines: ['kv-sram'] },
  { name: 'embedding and head', lines: ['embedding-rom', 'head-rom', 'head-macs'] },
];

export function answerArea(rows: readonly PowerRow[], runs: string): Answer {
  const names = [...GROUPS.map(({ name }) => name), 'other, pads, grid'];
  const table: string[][] = [];
  const notes: string[] = [];
  for (const { subject, shape, cost } of rows) {
    for (const bits of BITS) {
      try {
        const at = costAt(subjectAt(subject, bits, runs), shape, cost.contextTokens);
        table.push([
          subject.name,
          String(bits),
          plain(at.areaMm2),
          String(at.dies),
          ...shares(at).map((mm2) => `${plain(mm2)} (${Math.round((100 * mm2) / at.areaMm2)} %)`),
        ]);
      } catch (error) {
        if (!(error instanceof OnefetError) || error.kind === 'internal') throw error;
        notes.push(`${subject.name} at ${bits} bits is not known: ${error.message}.`);
      }
    }
  }
  const first = table.filter(([name]) => name === rows[0].subject.name);
  return {
    id: 'bits',
    question: 'How does the area split at 3, 4 and 6 bits a weight?',
    sentences: [
      `${rows[0].subject.name}: ${first.map(([, bits, mm2, , weights]) => `${bits} bits take ${mm2} mm2, of it the weights ${weights}`).join('; ')}. The accuracy at other bits is not part of this: run them.`,
      ...notes,
    ],
    tables: [
      {
        caption: 'Area by what it is for, mm2',
        headers: ['Design', 'Bits', 'mm2', 'Dies', ...names],
        rows: table,
      },
    ],
    sources: [],
  };
}

function shares({ areaLinesMm2, areaMm2 }: ChipCost): number[] {
  const groups = GROUPS.map(({ lines }) =>
    areaLinesMm2.reduce((sum, { name, value }) => sum + (lines.includes(name) ? value : 0), 0),
  );
  return [...groups, areaMm2 - groups.reduce((sum, mm2) => sum + mm2, 0)];
}

/** The subject with weights of other bits. Errors: ACTIVITY_MISSING where its counts depend on the weights themselves. */
function subjectAt(subject: PowerSubject, bits: (typeof BITS)[number], runs: string): PowerSubject {
  if (subject.fabric.design.weights.bits === bits) return subject;
  const settings = [...subject.settings, `weights.bits=${bits}`];
  const { fabric } = bindNamed(subject.design, settings);
  const activity = countedAt(subject, fabric);
  if (activity === undefined) return subjectOf(subject.design, settings, runs);
  return { ...subject, fabric, run: { ...subject.run, fabric, activity } };
}

function countedAt({ run }: PowerSubject, fabric: Fabric): Activity | undefined {
  const { kind, design } = fabric;
  if (kind === 'log-domain') {
    const layers = run.activity.layers as TileActivity[];
    return {
      layers: layers.map((layer) => withCells(layer, weightFormat(tensorBits(design, layer.tensor)))),
    };
  }
  if (fabric.countsCodes) return undefined;
  const layers = modelMatrices(run.shape)
    .filter(({ name }) => fabric.carries(name))
    .map(({ name, outputs, inputs }) =>
      fabric.activityOf(name, { outputs, inputs, weightBits: tensorBits(design, name.tensor) }, 1),
    );
  return layers.every((layer) => layer !== undefined) ? { layers: layers as LayerActivity[] } : undefined;
}

/** Counts of a layer with weights of another format. */
function withCells(layer: TileActivity, { bits, cellWeights }: WeightFormat): TileActivity {
  const factor = (cellWeights.length * layer.outputs * layer.inputs) / layer.cells;
  return {
    ...layer,
    weightBits: bits,
    columns: Math.round(layer.columns * factor),
    cells: layer.cells * factor,
    connectedCells: layer.connectedCells * factor,
    sumCurrentA: layer.sumCurrentA * factor,
    adcConversions: layer.adcConversions * factor,
    adcClipped: layer.adcClipped * factor,
  };
}
