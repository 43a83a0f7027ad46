/**
 * Mismatch as the library itself states it: a netlist of many instances of a foundry subcircuit whose agauss terms are
 * set to draws of a counter stream, so that a sample repeats on every version of the simulator.
 */
import { OnefetError } from '../error.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';
import { assembleText, spiceNumber } from './deck.ts';
import type { SpicePool } from './pool.ts';
import { drawnSubcircuit } from './statistics.ts';

export interface PdkMismatchOptions {
  readonly pool: SpicePool;
  /** Library with one section per corner; includes are looked up in its own folder. */
  readonly libraryPath: string;
  readonly section: string;
  /** Subcircuit of a transistor with ports drain, gate, source, bulk and parameters w and l. */
  readonly subcircuit: string;
  readonly widthM: number;
  readonly lengthM: number;
  readonly tempK: number;
  readonly vdsV: number;
  readonly vgs: { readonly start: number; readonly step: number; readonly count: number };
  readonly devices: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
}

export interface PdkMismatchSample {
  /** [random functions][devices] the standard normal draws. */
  readonly draws: readonly Float64Array[];
  /** [devices][vgs] drain current, A. */
  readonly drainA: readonly Float64Array[];
}

const DEVICES_PER_NETLIST = 250;
const MAX_DEVICES = 1_000_000;

/** Errors: PDK_SUBCIRCUIT, PDK_STATISTICS, SPICE_*. */
export async function samplePdkMismatch(options: PdkMismatchOptions): Promise<PdkMismatchSample> {
  const { devices, subcircuit, vgs } = options;
  if (!Number.isInteger(devices) || devices < 1 || devices > MAX_DEVICES) {
    throw new OnefetError('usage', 'PDK_DEVICES', `${devices} devices: it must be 1 to ${MAX_DEVICES}`);
  }
  const key = streamKey(options.seed, nameCoordinate(`pdk ${subcircuit}`));
  let parameters: readonly string[] = [];
  const assemble = (instances: string, currents: string) =>
    assembleText(
      netlist(options, instances, currents),
      options.libraryPath,
      {},
      {
        rewrite: (text) => {
          const drawn = drawnSubcircuit(text, subcircuit, true);
          parameters = drawn.parameters;
          return drawn.text;
        },
      },
    );
  // One instance first: how many draws it takes is in the library.
  assemble(`x0 d g 0 0 ${subcircuit} w=${options.widthM} l=${options.lengthM}`, 'i(vg)');
  const names: readonly string[] = parameters;
  const draws = names.map((_, p) =>
    Float64Array.from({ length: devices }, (__, i) => gaussian(key, names.length * i + p)),
  );
  const batches: Promise<Float64Array[]>[] = [];
  for (let first = 0; first < devices; first += DEVICES_PER_NETLIST) {
    const count = Math.min(DEVICES_PER_NETLIST, devices - first);
    const currents = Array.from({ length: count }, (_, i) => `i(vd${i})`);
    const lines = currents.flatMap((_, i) => [
      `vd${i} d${i} 0 ${options.vdsV}`,
      `x${i} d${i} g 0 0 ${subcircuit} w=${options.widthM} l=${options.lengthM} ${names.map((name, p) => `${name}=${spiceNumber(draws[p][first + i])}`).join(' ')}`,
    ]);
    const deck = assemble(lines.join('\n'), currents.join(' '));
    batches.push(
      options.pool
        .run(
          {
            label: `${subcircuit} mismatch ${first + 1} to ${first + count}`,
            netlist: deck.netlist,
            locate: deck.locate,
            commands: [],
            outputs: [
              {
                file: 'mismatch.raw',
                plot: 'DC transfer characteristic',
                variables: currents,
                points: vgs.count,
              },
            ],
          },
          options.signal,
        )
        .then(({ plots: [plot] }) => currents.map((name) => plot.real.get(name)!.map((value) => -value))),
    );
  }
  return { draws, drainA: (await Promise.all(batches)).flat() };
}

function netlist(options: PdkMismatchOptions, instances: string, currents: string): string {
  const { vgs } = options;
  return `mismatch of ${options.subcircuit}
.lib '${options.libraryPath.split(/[\\/]/).pop()}' ${options.section}
.options gmin=1e-18 abstol=1e-18 reltol=1e-5 temp=${spiceNumber(options.tempK - 273.15)}
vg g 0 0
${instances}
.control
save ${currents}
dc vg ${spiceNumber(vgs.start)} ${spiceNumber(vgs.start + (vgs.count - 0.5) * vgs.step)} ${spiceNumber(vgs.step)}
write mismatch.raw
.endc
.end
`;
}
