/** Chip images of the fixtures, mapped with statistics of a drawn text. */
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import { buildDigital } from '../fabric/build-digital.ts';
import { createImage, type ImageReader, openImage } from '../mapping/image.ts';
import { mapModel } from '../mapping/map-model.ts';
import { listenToModel, modelSource } from '../mapping/model-source.ts';
import { type MappingMethod, residualRotation } from '../mapping/plan.ts';
import { forward, newSession } from '../model/forward.ts';
import { buildLayers, type Model } from '../model/model.ts';
import { bits32, streamKey } from '../random.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import { runFolder } from './run-folder.ts';

const TOKENS = 60;
const statistics = new WeakMap<Model, Promise<Awaited<ReturnType<typeof listenToModel>>>>();

/** Of a model's inputs over a drawn text; once per model. */
function statisticsOf(model: Model) {
  const known = statistics.get(model) ?? gather(model);
  statistics.set(model, known);
  return known;
}

async function gather(model: Model) {
  const found = await listenToModel(model, buildDigital);
  const session = newSession(model, buildLayers(model, found.listening), TOKENS);
  for (let t = 0; t < TOKENS; t++) {
    forward(session, bits32(streamKey(11), t) % model.shape.vocab, { window: 0, position: t });
  }
  return found;
}

export interface TestImage {
  readonly method: MappingMethod;
  readonly tileRows: number;
  /** Of a tensor by its GGUF name. */
  bits(tensor: string): WeightBits;
}

/** Maps `model`; `name` tells its images apart. */
export async function testImage(name: string, model: Model, choice: TestImage): Promise<ImageReader> {
  const path = join(runFolder('images'), `${name}.image`);
  if (!existsSync(path)) {
    const { method, tileRows, bits } = choice;
    const hash = '0'.repeat(64);
    const own = `${path}.${pid}`;
    const writer = createImage(own, {
      model: { name: 'fixture', sha256: model.sha256() },
      design: { name: 'test', sha256: hash },
      text: { name: 'drawn', sha256: hash, tokens: TOKENS },
      method: { name: method.name, settings: {}, reasons: [] },
      residual: residualRotation(model.shape, method),
    });
    const source = modelSource(model, (await statisticsOf(model)).statistics);
    const sink = {
      has: (key: string) => writer.resumed.has(key),
      vector: writer.writeVector,
      matrix: writer.writeMatrix,
    };
    await mapModel(source, sink, { method, tileRows, bits: ({ tensor }) => bits(tensor) });
    writer.finish();
    renameSync(own, path);
  }
  return openImage(path);
}
