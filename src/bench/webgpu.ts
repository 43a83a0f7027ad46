/**
 * The WGSL panel product on this machine's GPU, over the matrices of Llama 3.1 8B: every cell of one chip drawn on the fly,
 * every column converted. One panel of each matrix is compared with the scalar reference first.
 *
 *   passSeconds = blocks * sum over a block's matrices of the seconds of one product with `tokens` tokens
 *
 * What a pass also needs (attention, norms, encoding of the inputs, the digital head) is not in it.
 */
import { type CellNumbers, cellFormat } from '../engine/cell-format.ts';
import { integerResponse } from '../engine/integer-response.ts';
import { INPUT_LIMIT } from '../engine/integers.ts';
import { referencePanel } from '../engine/wasm/check/panel-reference.ts';
import type { NoiseKind } from '../engine/wasm/kernels/adc.ts';
import { PANEL_COLUMNS } from '../engine/wasm/kernels/gemm.ts';
import { openGpu } from '../engine/webgpu/adapter.ts';
import { drawLayer, type LayerCase } from '../engine/webgpu/layer-case.ts';
import { uploadMatrix } from '../engine/webgpu/panel.ts';
import type { PanelVariant } from '../engine/webgpu/panel-wgsl.ts';
import { interrupted, OnefetError } from '../error.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { median } from '../numbers.ts';
import { weightFormat } from '../tile/weight-code.ts';

export interface GpuBenchOptions {
  readonly fabric: Fabric;
  readonly shape?: ModelShape;
  readonly tokens?: number;
  readonly rounds?: number;
  /** Products of a round. */
  readonly products?: number;
  /** Takes a driver that computes on the processor where there is no GPU: to see that the products are right, not how fast. */
  readonly software?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, label: string) => void;
}

export interface GpuMatrixSpeed {
  readonly outputs: number;
  readonly inputs: number;
  /** Matrices of this size in a block. */
  readonly count: number;
  readonly seconds: number;
  /** Largest difference of the compared panel's outputs from the reference, over the largest output. */
  readonly error: number;
  /** Of the compared conversions, those with another code than the reference. */
  readonly otherCodes: number;
}

export interface GpuVariantSpeed {
  readonly name: string;
  readonly variant: PanelVariant;
  readonly matrices: readonly GpuMatrixSpeed[];
  readonly gmacPerSecond: number;
  readonly passSeconds: number;
}

export interface GpuBenchResult {
  readonly schema: 'onefet.bench-webgpu/1';
  readonly gpu: string;
  readonly software: boolean;
  readonly fabric: string;
  readonly tokens: number;
  readonly variants: readonly GpuVariantSpeed[];
}

const VARIANTS: readonly { readonly planes: 1 | 2; readonly noise: NoiseKind; readonly name: string }[] = [
  { planes: 1, noise: 'token', name: 'fast, noise by tile' },
  { planes: 1, noise: 'product', name: 'fast, noise from the drawn current' },
  { planes: 2, noise: 'product', name: 'exact, noise from the drawn current' },
];
/** Outputs of a compared panel may differ by this much of the largest one: some codes of thousands. */
const MOST_ERROR = 1e-2;

/** Errors: GPU_ABSENT, GPU_FABRIC, GPU_DIFFERS where a product is not the reference's, INTERRUPTED. */
export async function benchWebGpu({
  fabric,
  shape = LLAMA_3_1_8B,
  tokens = 512,
  rounds = 5,
  products = 10,
  software = false,
  signal,
  onProgress,
}: GpuBenchOptions): Promise<GpuBenchResult> {
  const { physics } = fabric;
  if (!physics)
    throw new OnefetError('usage', 'GPU_FABRIC', `the fabric ${fabric.kind} has no analog cells to draw`);
  const { design } = physics;
  const gpu = await openGpu({ software });
  try {
    const { taps } = weightFormat(4);
    const sizes = distinctSizes(shape);
    const speeds: GpuVariantSpeed[] = [];
    let done = 0;
    for (const { name, planes, noise } of VARIANTS) {
      const response = integerResponse(physics, taps, planes, true);
      const variant: PanelVariant = { rank: response.rank, planes, noise, float: false };
      const matrices: GpuMatrixSpeed[] = [];
      for (const { outputs, inputs, count } of sizes) {
        onProgress?.(done++, VARIANTS.length * sizes.length, `${name}, ${outputs} x ${inputs}`);
        if (signal?.aborted) throw interrupted();
        const layer = drawMatrix(outputs, inputs, tokens, variant, {
          tileRows: design.tile.rows,
          ladderColumns: design.ladder.columns,
          format: cellFormat(physics, taps, response, planes),
        });
        const matrix = await uploadMatrix(gpu.device, variant, layer.matrix);
        try {
          const { y } = await matrix.multiply(layer.inputs);
          const compared = comparePanel(layer, y, variant);
          const seconds: number[] = [];
          for (let round = 0; round < rounds; round++)
            seconds.push((await matrix.multiply(layer.inputs, products)).secondsPerProduct);
          matrices.push({ outputs, inputs, count, seconds: median(seconds), ...compared });
        } finally {
          matrix.close();
        }
      }
      const blockSeconds = matrices.reduce((sum, { seconds, count }) => sum + seconds * count, 0);
      const blockWeights = matrices.reduce(
        (sum, { outputs, inputs, count }) => sum + outputs * inputs * count,
        0,
      );
      speeds.push({
        name,
        variant,
        matrices,
        gmacPerSecond: (blockWeights * tokens) / blockSeconds / 1e9,
        passSeconds: blockSeconds * shape.layers,
      });
    }
    return {
      schema: 'onefet.bench-webgpu/1',
      gpu: gpu.name,
      software: gpu.software,
      fabric: fabric.kind,
      tokens,
      variants: speeds,
    };
  } finally {
    gpu.close();
  }
}

interface Size {
  readonly outputs: number;
  readonly inputs: number;
  readonly count: number;
}

function distinctSizes(shape: ModelShape): Size[] {
  const sizes = new Map<string, Size>();
  for (const { outputs, inputs } of blockMatrices(shape, 0)) {
    const key = `${outputs} ${inputs}`;
    sizes.set(key, { outputs, inputs, count: (sizes.get(key)?.count ?? 0) + 1 });
  }
  return [...sizes.values()];
}

/** A matrix with gains under which its columns fill a third of the converters' range. */
function drawMatrix(
  outputs: number,
  inputs: number,
  count: number,
  { rank, planes }: PanelVariant,
  own: {
    readonly tileRows: number;
    readonly ladderColumns: number;
    readonly format: CellNumbers;
  },
): LayerCase {
  const rows: number[] = [];
  for (let left = inputs; left > 0; left -= own.tileRows) rows.push(Math.min(left, own.tileRows));
  // Sigma of a sum of even inputs and weights; a third of a converter's 127 steps.
  const inputSigma = INPUT_LIMIT[planes] / Math.sqrt(3);
  const weightSigma = own.format.limit / Math.sqrt(3);
  const gain = 127 / 3 / (Math.sqrt(own.tileRows) * inputSigma * weightSigma);
  return drawLayer(
    { outputs, rows, cells: 1, rank, planes, count, ladderColumns: own.ladderColumns },
    own.format,
    1,
    { gain: () => gain, offset: () => 0, scale: () => 1, out: () => 1 },
  );
}

/** The middle panel against the reference. */
function comparePanel(
  layer: LayerCase,
  y: Float32Array,
  variant: PanelVariant,
): Pick<GpuMatrixSpeed, 'error' | 'otherCodes'> {
  const { outputs, tiles } = layer.matrix;
  const { count } = layer.inputs;
  const panel = Math.floor(outputs / PANEL_COLUMNS / 2);
  const expected = referencePanel(layer.panel(panel), variant).y;
  let most = 0;
  let worst = 0;
  let codes = 0;
  for (let t = 0; t < count; t++) {
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      const found = y[t * outputs + panel * PANEL_COLUMNS + n];
      const difference = Math.abs(found - expected[t * PANEL_COLUMNS + n]);
      most = Math.max(most, Math.abs(expected[t * PANEL_COLUMNS + n]));
      worst = Math.max(worst, difference);
      // Scales are 1: a difference is the number of codes that are another one's neighbour.
      codes += Math.round(difference);
    }
  }
  const error = worst / most;
  if (!(error <= MOST_ERROR))
    throw new OnefetError(
      'simulation',
      'GPU_DIFFERS',
      `the GPU's product of ${outputs} columns differs from the reference by ${error.toPrecision(3)} of its largest output`,
      { hint: 'update the GPU driver' },
    );
  return { error, otherCodes: codes / (count * PANEL_COLUMNS * tiles) };
}

/** Lines for people. */
export function benchWebGpuText(result: GpuBenchResult): string {
  const { gpu, software, tokens, variants } = result;
  const rows = variants.flatMap(({ name, matrices, gmacPerSecond, passSeconds }) => [
    `${name}: ${(gmacPerSecond / 1e3).toPrecision(3)} TMAC/s; linear layers of the whole model, ${tokens} tokens, one chip: ${passSeconds.toPrecision(3)} s`,
    ...matrices.map(
      ({ outputs, inputs, count, seconds, otherCodes }) =>
        `  ${`${outputs} x ${inputs}`.padEnd(14)} ${(seconds * 1e3).toPrecision(3).padStart(7)} ms  (${count} a block; ${otherCodes.toExponential(1)} of the compared codes are a neighbour's)`,
    ),
  ]);
  return [
    `panel product with cells drawn on the fly, by WebGPU on ${gpu}`,
    ...(software ? ['this driver computes on the processor: its times say nothing of a GPU'] : []),
    ...rows,
  ].join('\n');
}
