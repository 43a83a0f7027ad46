/**
 * Converters, selectors and memory cells of a process: measured with the decks of their topology and kept in
 * calibration/<process>/<block>.json beside the cells.
 */
import { z } from 'zod';
import { calibrationPath } from '../../cell/calibration.ts';
import type { Process } from '../../cell/technology.ts';
import { isMultiplier, loadTopology, parameterValues } from '../../cell/topology.ts';
import { nearestName, OnefetError } from '../../error.ts';
import { writeFileAtomic } from '../../files.ts';
import { roundDigits } from '../../numbers.ts';
import { hashSources, loadResult } from '../../sources.ts';
import { engineId } from '../../spice/job.ts';
import type { SpicePool } from '../../spice/pool.ts';
import type { BlockBench } from './circuit-testbench.ts';
import { autoZeroSchema, measureAutoZero } from './measure-auto-zero.ts';
import { converterSchema, measureConverter } from './measure-converter.ts';
import { measureRom, romSchema } from './measure-rom.ts';
import { measureSelector, selectorSchema } from './measure-selector.ts';

export const blockSchema = z.strictObject({
  schema: z.literal('onefet.block/1'),
  process: z.string(),
  block: z.string(),
  kind: z.enum(['converter', 'selector', 'rom', 'auto-zero']),
  engine: z.string(),
  /** Path below the working folder or the package -> SHA-256. */
  sources: z.record(z.string(), z.string()),
  parameters: z.record(z.string(), z.number()),
  /** The one of its kind. */
  converter: converterSchema.optional(),
  selector: selectorSchema.optional(),
  rom: romSchema.optional(),
  autoZero: autoZeroSchema.optional(),
});
export type BlockCalibration = z.infer<typeof blockSchema>;

export const blockPath = calibrationPath;

/** Measures one block. Errors: CIRCUIT_UNKNOWN, TOPOLOGY_*, TECHNOLOGY_INVALID, SPICE_*, SELECTOR_STUCK, ROM_LEVELS. */
export async function calibrateBlock(
  process: Process,
  block: string,
  pool: SpicePool,
  signal?: AbortSignal,
): Promise<BlockCalibration> {
  const { technology } = process;
  const known = technology.blocks ?? {};
  if (!Object.hasOwn(known, block)) {
    const nearest = nearestName(block, Object.keys(known));
    throw new OnefetError('usage', 'CIRCUIT_UNKNOWN', `${process.path}: no block "${block}"`, {
      hint: nearest ? `did you mean ${nearest}?` : `blocks are ${Object.keys(known).join(', ') || 'none'}`,
    });
  }
  const { topology, path } = loadTopology(block);
  if (isMultiplier(topology)) {
    throw new OnefetError(
      'usage',
      'TOPOLOGY_KIND',
      `${path}: a ${topology.kind} belongs under cells, not blocks`,
    );
  }
  const parameters = parameterValues(topology, known[block].parameters);
  const bench: BlockBench = {
    process,
    block,
    parameters,
    pool,
    signal,
    sources: new Set([process.path, path]),
  };
  const result =
    topology.kind === 'converter'
      ? { converter: await measureConverter(bench, topology.law) }
      : topology.kind === 'selector'
        ? { selector: await measureSelector(bench) }
        : topology.kind === 'rom'
          ? { rom: await measureRom(bench) }
          : { autoZero: await measureAutoZero(bench) };
  return blockSchema.parse({
    schema: 'onefet.block/1',
    process: technology.name,
    block,
    kind: topology.kind,
    engine: engineId(),
    sources: hashSources(bench.sources),
    parameters,
    ...roundDigits(result, 6),
  });
}

/**
 * Finds calibration/<process>/<block>.json (working folder first) and refuses one whose netlists or models have changed.
 * Errors: FILE_MISSING, CIRCUIT_INVALID, CIRCUIT_STALE.
 */
export function loadBlock(process: string, block: string): BlockCalibration {
  return loadResult({
    relative: blockPath(process, block),
    kind: 'circuit',
    name: `${process}/${block}`,
    schema: blockSchema,
    code: 'CIRCUIT',
    hint: `run: onefet calibrate --all --process ${process}`,
  });
}

export async function calibrateBlockToFile(
  process: Process,
  block: string,
  pool: SpicePool,
  signal?: AbortSignal,
): Promise<BlockCalibration> {
  const calibration = await calibrateBlock(process, block, pool, signal);
  writeFileAtomic(blockPath(process.technology.name, block), `${JSON.stringify(calibration)}\n`);
  return calibration;
}
