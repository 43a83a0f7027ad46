/** Data that the main thread writes into the state memory before the workers use it. */

import { writeConstants } from '../../../emit/constants.ts';
import { tensorKey } from '../../../fabric/placement.ts';
import type { DigitalPart } from '../../../mapping/image-matrix.ts';
import type { BlockNorms } from '../../../model/architecture.ts';
import type { ModelShape } from '../../../model/shape.ts';
import { tileNoise, windowKey } from '../../../tile/draws.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import { drawTileGain } from '../../../tile/static-errors.ts';
import { roundHalfEven } from '../../integers.ts';
import { TILE, TILE_BYTES } from '../kernels/adc.ts';
import { CODE_ZERO } from '../kernels/blocks.ts';
import { BYTE_LEVELS } from '../kernels/encode.ts';
import { layOutScratch, SCRATCH_FIELDS } from '../kernels/panel-job.ts';
import { type EngineData, FIGURE, FIGURES, TAP_COUNTS } from '../plan/context.ts';
import { fillDigital } from '../plan/digital-tables.ts';
import { type LayoutChoice, mostPhases } from '../plan/layout.ts';
import { countQuads, virtualStarts } from '../plan/operations.ts';
import { converterStep, tileFullScale, tilePlace, tileRows } from '../plan/tile-place.ts';
import type { ModelVectors, Rotation } from '../source.ts';

/** Constants, norms, rotations, encoding and code tables, scratch headers. */
export function fillState(
  data: EngineData,
  vectors: ModelVectors,
  choice: LayoutChoice,
  parts: ReadonlyMap<string, DigitalPart> | undefined,
): void {
  const { layout, shape, operations } = data;
  writeConstants(data.state);
  const f32 = new Float32Array(data.state.buffer);
  const i32 = new Int32Array(data.state.buffer);
  const bytes = new Int8Array(data.state.buffer);
  vectors.norms.forEach((gains, layer) => {
    for (const [place, at] of Object.entries(layout.norms[layer]) as [keyof BlockNorms, number][]) {
      f32.set(gains[place]!, at / 4);
    }
  });
  vectors.biases.forEach((bias, operation) => {
    const at = layout.biases[operation];
    if (bias && at !== undefined) f32.set(bias, at / 4);
  });
  if (parts) {
    operations.forEach(({ name }, i) => {
      const addend = parts.get(tensorKey(name))?.centre?.addend;
      addend?.forEach((x, n) => {
        f32[layout.biases[i]! / 4 + n] += x;
      });
    });
    fillDigital(f32, operations, layout.digital, parts, choice.residual);
  }
  f32.set(vectors.outputNorm, layout.outputNorm / 4);
  for (const blocks of ['full', 'local'] as const) {
    const rotation = vectors.rotations[blocks];
    if (rotation) fillRotations(f32, layout.ropes[blocks] / 4, rotation, shape, choice.contextTokens);
  }
  for (const [taps, { table, levels, rank }] of choice.integerResponses) {
    f32.set(table, layout.encodings[taps] / 4);
    if (levels > BYTE_LEVELS) continue;
    for (let row = 0; row <= rank; row++) {
      for (let level = 0; level < levels; level++) {
        const value = roundHalfEven(table[row * levels + level]);
        bytes[layout.byteEncodings[taps] + row * BYTE_LEVELS + level] = value;
      }
    }
  }
  operations.forEach((operation, i) => {
    const coding = operation.kind === 'tile' ? choice.integerResponses.get(operation.taps) : undefined;
    for (let r = 0; r < operation.rank; r++) {
      for (let code = -8; code < 8; code++) {
        const tap = Math.abs(code);
        const value = !coding
          ? operation.epilogue === 'blocks'
            ? (code & 15) - CODE_ZERO
            : code
          : tap > operation.taps
            ? 0
            : Math.sign(code) * Math.round(coding.weights[r][tap]);
        bytes[layout.lookups[i] + 16 * r + (code & 15)] = value;
      }
    }
  });
  const most = (of: (o: (typeof operations)[number]) => number) => Math.max(...operations.map(of));
  const scratch = layOutScratch(
    most((o) => o.rank * countQuads(o.rows)),
    most((o) => countQuads(o.rows)),
    choice.tokens,
    most((o) => o.tiles),
    mostPhases(operations),
  );
  for (const at of layout.scratches) {
    SCRATCH_FIELDS.forEach((name, i) => {
      i32[at / 4 + i] = 64 + scratch[name];
    });
  }
}

/** Tables of `rotate` or `rotate_halves`, [position][2][headDim]. */
function fillRotations(
  f32: Float32Array,
  to: number,
  { ropeFrequencies, ropeMagnitude }: Rotation,
  { headDim, architecture }: ModelShape,
  contextTokens: number,
): void {
  const halves = architecture.rotary.pairs === 'halves';
  for (let position = 0; position < contextTokens; position++) {
    const at = to + position * 2 * headDim;
    // What does not turn.
    if (!halves) f32.fill(1, at, at + headDim);
    ropeFrequencies.forEach((frequency, j) => {
      const cosine = ropeMagnitude * Math.cos(position * frequency);
      const sine = ropeMagnitude * Math.sin(position * frequency);
      if (halves) {
        f32[at + j] = cosine;
        f32[at + ropeFrequencies.length + j] = sine;
      } else {
        f32[at + 2 * j] = cosine;
        f32[at + 2 * j + 1] = cosine;
        f32[at + headDim + 2 * j] = -sine;
        f32[at + headDim + 2 * j + 1] = sine;
      }
    });
  }
}

/** After loading: the figures of every virtual tile, from the counted taps. */
export function fillFigures(data: EngineData, physics: TilePhysics): void {
  const { integerResponses, operations, figures, layout, parts } = data;
  const f32 = new Float32Array(data.state.buffer);
  const starts = virtualStarts(operations);
  const sigma = data.chip.errors ? Math.hypot(physics.gmOverIPerV * physics.sigmaVtV, physics.sigmaBeta) : 0;
  operations.forEach((operation, index) => {
    if (operation.kind !== 'tile') return;
    const coding = integerResponses.get(operation.taps)!;
    const { tiles, cells, outputs, taps, part, countsAt, conversions } = operation;
    const { share } = physics.spreads.get(taps)!;
    for (let tile = 0; tile < tiles; tile++) {
      const gain = drawTileGain(physics, data.chip, tilePlace(operation, tile, data.shape.layers));
      for (let cell = 0; cell < cells; cell++) {
        const virtual = starts[index] + cell * tiles + tile;
        const counted = (countsAt + cell * tiles + tile) * TAP_COUNTS;
        const counts = parts[part].tapCounts.subarray(counted, counted + TAP_COUNTS);
        let sum = 0;
        let squares = 0;
        let connected = 0;
        for (let tap = 1; tap <= taps; tap++) {
          const w = Math.abs(coding.weights[0][tap]);
          sum += counts[tap] * w * Math.exp(sigma ** 2 / 2);
          // Every tap has the mean of a single transistor; its variance is its own.
          squares += counts[tap] * w * w * Math.exp(sigma ** 2 + (share[tap] * sigma) ** 2);
          connected += counts[tap];
        }
        const perColumn = connected / outputs;
        const lsb = converterStep({ data, physics }, operation, tile, cell);
        // kT/C of a capacitor sized for the full scale and of the bit lines, also before real-valued converters.
        const fullScale = tileFullScale(data, operation, tile, cell) ?? 0;
        const white = (physics.whiteVariance * gain) / lsb ** 2;
        const row = virtual * FIGURES;
        figures[row + FIGURE.meanWeight] = sum / (tileRows(operation, tile) * outputs);
        figures[row + FIGURE.squareRatio] = sum > 0 ? squares / sum : 0;
        figures[row + FIGURE.perCurrent] = white * coding.currentUnit;
        figures[row + FIGURE.floor] =
          (physics.samplingVariance * fullScale + physics.lineVariance) / lsb ** 2 +
          (white * 2 * physics.offCurrent * perColumn) / conversions;
        figures[row + FIGURE.lsb] = lsb;
        figures[row + FIGURE.gain] = gain;
        figures[row + FIGURE.connected] = connected;
        const at = (layout.tileTables[index] + (cell * tiles + tile) * TILE_BYTES) / 4;
        f32[at + TILE.perCurrent / 4] = white * coding.currentUnit;
        f32[at + TILE.top / 4] = physics.adc.top;
      }
    }
  });
}

/** Keys of what is drawn once per window. */
export function fillWindow(data: EngineData, window: number): void {
  if (!data.chip.errors) return;
  const i32 = new Int32Array(data.state.buffer);
  data.operations.forEach((operation, index) => {
    if (operation.kind !== 'tile') return;
    for (let virtual = 0; virtual < operation.cells * operation.tiles; virtual++) {
      const place = tilePlace(operation, virtual % operation.tiles, data.shape.layers);
      const { lowFrequencyKey, samplingKey } = tileNoise(data.chip, place);
      const at = (data.layout.tileTables[index] + virtual * TILE_BYTES) / 4;
      const key = windowKey(lowFrequencyKey, window);
      i32[at + TILE.slowKeyA / 4] = key.a;
      i32[at + TILE.slowKeyB / 4] = key.b;
      // Noise of sampling is drawn with that of the currents (linear.ts): its own stream is free.
      const second = windowKey(samplingKey, window);
      i32[at + TILE.secondSlowKeyA / 4] = second.a;
      i32[at + TILE.secondSlowKeyB / 4] = second.b;
    }
  });
}
