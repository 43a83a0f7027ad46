/** Runs panel-wgsl.ts: a matrix's buffers on the GPU, and the products of batches of tokens with them. */
import { OnefetError } from '../../error.ts';
import type { StreamKey } from '../../random.ts';
import { type CellNumbers, TABLE_TAPS } from '../cell-format.ts';
import { PANEL_COLUMNS } from '../wasm/kernels/gemm.ts';
import {
  GROUP_TOKENS,
  JOB_FIELDS,
  JOB_WORDS,
  type JobField,
  type PanelVariant,
  panelShader,
} from './panel-wgsl.ts';

/** A matrix of one chip, in the layouts that the shader names. */
export interface PanelMatrix {
  readonly outputs: number;
  readonly cells: number;
  readonly tiles: number;
  readonly tileRows: number;
  readonly quads: number;
  readonly lastQuads: number;
  readonly ladderColumns: number;
  readonly key: StreamKey;
  readonly format: CellNumbers;
  readonly codes: Uint8Array;
  readonly rows: Int16Array;
  readonly columns: Float32Array;
  readonly tileTable: Uint32Array;
}

/** Inputs of a batch: words of four rows, [tile][plane][rank][quad][stride] and magnitudes [tile][quad][stride]. */
export interface PanelInputs {
  readonly count: number;
  readonly x: Uint32Array;
  readonly tokens: Uint32Array;
}

export interface PanelResult {
  /** [count][outputs] */
  readonly y: Float32Array;
  readonly clipped: number;
  /** Of one product, without the transfers; the mean of those that were asked for. */
  readonly secondsPerProduct: number;
}

/** Tokens as `PanelInputs` stores them. */
export const storedTokens = (count: number): number => Math.ceil(count / GROUP_TOKENS) * GROUP_TOKENS;

/** A matrix on the GPU. */
export interface GpuMatrix {
  /** Errors: GPU_MEMORY, GPU_FAILED with the driver's words. */
  multiply(inputs: PanelInputs, products?: number): Promise<PanelResult>;
  close(): void;
}

/** Compiles the variant and uploads the matrix. Errors: GPU_MEMORY where a buffer is beyond the device's limit, GPU_FAILED. */
export async function uploadMatrix(
  device: GPUDevice,
  variant: PanelVariant,
  matrix: PanelMatrix,
): Promise<GpuMatrix> {
  const panels = matrix.outputs / PANEL_COLUMNS;
  if (!Number.isInteger(panels))
    throw new OnefetError('internal', 'GPU_SHAPE', `${matrix.outputs} columns are not whole panels`);
  return guarded(device, async () => {
    const pipeline = await pipelineOf(device, variant);
    const buffers = newBuffers(device);
    const resident = [matrix.codes, matrix.rows, matrix.columns, matrix.tileTable].map((data) =>
      buffers.upload(data, GPUBufferUsage.STORAGE),
    );
    return {
      multiply: (inputs, products = 1) =>
        guarded(device, () => multiply(device, pipeline, variant, matrix, resident, inputs, products)),
      close: buffers.free,
    };
  });
}

const compiled = new WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>();

/** Compiles a variant once for a device. */
function pipelineOf(device: GPUDevice, variant: PanelVariant): Promise<GPUComputePipeline> {
  const own = compiled.get(device) ?? new Map<string, Promise<GPUComputePipeline>>();
  compiled.set(device, own);
  const code = panelShader(variant);
  const known = own.get(code) ?? compile(device, code);
  own.set(code, known);
  return known;
}

async function compile(device: GPUDevice, code: string): Promise<GPUComputePipeline> {
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter(({ type }) => type === 'error');
  if (errors.length > 0)
    throw failed(errors.map(({ lineNum, message }) => `line ${lineNum}: ${message}`).join('; '));
  return device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'panel' } });
}

async function multiply(
  device: GPUDevice,
  pipeline: GPUComputePipeline,
  variant: PanelVariant,
  matrix: PanelMatrix,
  resident: readonly GPUBuffer[],
  inputs: PanelInputs,
  products: number,
): Promise<PanelResult> {
  const { outputs } = matrix;
  const { count } = inputs;
  const { make, upload, free } = newBuffers(device);
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ, UNIFORM } = GPUBufferUsage;
  const outBytes = count * outputs * 4;
  try {
    const job = upload(jobWords(variant, matrix, count), UNIFORM);
    const [codes, rows, columns, tileTable] = resident;
    const y = make(outBytes, STORAGE | COPY_SRC);
    const clipped = make(4, STORAGE | COPY_SRC | COPY_DST);
    const result = make(outBytes + 4, MAP_READ | COPY_DST);
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [
        job,
        codes,
        upload(inputs.x, STORAGE),
        rows,
        columns,
        upload(inputs.tokens, STORAGE),
        tileTable,
        y,
        clipped,
      ].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    await device.queue.onSubmittedWorkDone();
    const started = performance.now();
    for (let i = 0; i < products; i++) {
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(clipped);
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(outputs / PANEL_COLUMNS, Math.ceil(count / GROUP_TOKENS));
      pass.end();
      device.queue.submit([encoder.finish()]);
    }
    await device.queue.onSubmittedWorkDone();
    const secondsPerProduct = (performance.now() - started) / 1e3 / products;
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(y, 0, result, 0, outBytes);
    encoder.copyBufferToBuffer(clipped, 0, result, outBytes, 4);
    device.queue.submit([encoder.finish()]);
    await result.mapAsync(GPUMapMode.READ);
    const bytes = result.getMappedRange().slice(0);
    return {
      y: new Float32Array(bytes, 0, count * outputs),
      clipped: new Uint32Array(bytes, outBytes, 1)[0],
      secondsPerProduct,
    };
  } finally {
    free();
  }
}

/** Buffers that are freed together. */
function newBuffers(device: GPUDevice) {
  const open: GPUBuffer[] = [];
  const make = (bytes: number, usage: number): GPUBuffer => {
    const buffer = newBuffer(device, bytes, usage);
    open.push(buffer);
    return buffer;
  };
  return {
    make,
    upload(data: ArrayBufferView, usage: number): GPUBuffer {
      const buffer = make(data.byteLength, usage | GPUBufferUsage.COPY_DST);
      device.queue.writeBuffer(buffer, 0, padded(data));
      return buffer;
    },
    free() {
      for (const buffer of open) buffer.destroy();
    },
  };
}

function jobWords({ rank }: PanelVariant, matrix: PanelMatrix, count: number): Int32Array<ArrayBuffer> {
  const { format, key, outputs, cells, tiles, quads, lastQuads, tileRows, ladderColumns } = matrix;
  const [p0, p1, p2, p3, p4] = format.polynomial;
  const values: Record<JobField, number> = {
    cells,
    tiles,
    quads,
    lastQuads,
    count,
    stride: storedTokens(count),
    outputs,
    columnCells: outputs * cells,
    tileRows,
    ladderColumns,
    laddersPerCell: Math.ceil(outputs / ladderColumns),
    rowsOfLadder: 4 * ((tiles - 1) * quads + lastQuads),
    keyA: key.a,
    keyB: key.b,
    linear: format.linear,
    cubic: format.cubic,
    top: format.top,
    p0,
    p1,
    p2,
    p3,
    p4,
    squarings: format.squarings,
    baseBits: format.baseBits,
    limit: format.limit,
  };
  const words = new Int32Array(JOB_WORDS + (4 + rank) * TABLE_TAPS);
  JOB_FIELDS.forEach((name, i) => {
    words[i] = values[name];
  });
  [format.slope, format.curve, format.bend, format.beta, ...format.base].forEach((table, i) => {
    words.set(table, JOB_WORDS + i * TABLE_TAPS);
  });
  return words;
}

function newBuffer(device: GPUDevice, bytes: number, usage: number): GPUBuffer {
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const most = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  const size = Math.max(16, Math.ceil(bytes / 4) * 4);
  if (size > most)
    throw new OnefetError('usage', 'GPU_MEMORY', `a buffer of ${size} bytes is beyond the GPU's ${most}`, {
      hint: 'fewer tokens at a time, or a smaller matrix',
    });
  return device.createBuffer({ size, usage });
}

/** writeBuffer takes whole words. */
function padded(data: ArrayBufferView): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return bytes;
}

const failed = (message: string): OnefetError =>
  new OnefetError('simulation', 'GPU_FAILED', `the GPU's driver refused the kernel: ${message}`);

/** What WebGPU reports beside the call that caused it is thrown by the call. */
async function guarded<T>(device: GPUDevice, run: () => Promise<T>): Promise<T> {
  for (const filter of ['validation', 'out-of-memory', 'internal'] as const) device.pushErrorScope(filter);
  let result: T | undefined;
  let thrown: unknown;
  try {
    result = await run();
  } catch (error) {
    thrown = error;
  }
  const errors = [await device.popErrorScope(), await device.popErrorScope(), await device.popErrorScope()];
  if (thrown !== undefined) throw thrown;
  const error = errors.find((found) => found !== null);
  if (error) throw failed(error.message);
  return result as T;
}
