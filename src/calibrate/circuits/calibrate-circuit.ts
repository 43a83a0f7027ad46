/**
 * Converters, selectors and memory cells of a process: measured with the decks of their topology and kept in
 * calibration/<process>/<circuit>.json beside the cells.
 */
import { calibrationPath } from '../../cell/calibration.ts';
import { type CircuitCalibration, circuitSchema } from '../../cell/circuits/circuit.ts';
import { type Process, technologySource } from '../../cell/technology.ts';
import { isMultiplier, loadTopology, parameterValues } from '../../cell/topology.ts';
import { nearestName, OnefetError } from '../../error.ts';
import { writeFileAtomic } from '../../files.ts';
import { roundDigits } from '../../numbers.ts';
import { encodeResult, hashSources } from '../../sources.ts';
import { engineId } from '../../spice/job.ts';
import type { SpicePool } from '../../spice/pool.ts';
import { circuitTestbench } from './circuit-testbench.ts';
import { measureAutoZero } from './measure-auto-zero.ts';
import { measureConverter } from './measure-converter.ts';
import { measureRom } from './measure-rom.ts';
import { measureSelector } from './measure-selector.ts';

/** Measures one circuit. Errors: CIRCUIT_UNKNOWN, TOPOLOGY_*, TECHNOLOGY_INVALID, SPICE_*, SELECTOR_STUCK, ROM_LEVELS. */
export async function calibrateCircuit(
  process: Process,
  circuit: string,
  pool: SpicePool,
  signal?: AbortSignal,
): Promise<CircuitCalibration> {
  const { technology } = process;
  const known = technology.blocks ?? {};
  if (!Object.hasOwn(known, circuit)) {
    const nearest = nearestName(circuit, Object.keys(known));
    throw new OnefetError(
      'usage',
      'CIRCUIT_UNKNOWN',
      `${process.path}: no circuit "${circuit}" among its blocks`,
      {
        hint: nearest
          ? `did you mean ${nearest}?`
          : `circuits are ${Object.keys(known).join(', ') || 'none'}`,
      },
    );
  }
  const { topology, path } = loadTopology(circuit);
  if (isMultiplier(topology)) {
    throw new OnefetError(
      'usage',
      'TOPOLOGY_KIND',
      `${path}: a ${topology.kind} belongs under cells, not blocks`,
    );
  }
  const parameters = parameterValues(topology, known[circuit].parameters);
  const testbench = circuitTestbench(process, circuit, parameters, {
    pool,
    signal,
    sources: [technologySource(process, { circuit }, ['nmos', 'pmos']), path],
  });
  const result =
    topology.kind === 'converter'
      ? { converter: await measureConverter(testbench, topology.law) }
      : topology.kind === 'selector'
        ? { selector: await measureSelector(testbench) }
        : topology.kind === 'rom'
          ? { rom: await measureRom(testbench) }
          : { autoZero: await measureAutoZero(testbench) };
  return circuitSchema.parse({
    schema: 'onefet.block/1',
    process: technology.name,
    block: circuit,
    kind: topology.kind,
    engine: engineId(),
    sources: hashSources(testbench.sources),
    parameters,
    ...roundDigits(result, 6),
  });
}

/** Measures one circuit and writes its file below the working folder. Errors: as `calibrateCircuit`. */
export async function calibrateCircuitToFile(
  process: Process,
  circuit: string,
  pool: SpicePool,
  signal?: AbortSignal,
): Promise<CircuitCalibration> {
  const calibration = await calibrateCircuit(process, circuit, pool, signal);
  writeFileAtomic(
    calibrationPath(process.technology.name, circuit),
    encodeResult(calibration, `calibration of ${circuit}`),
  );
  return calibration;
}
