/**
 * A resistive crossbar with wire resistance, solved exactly (Kirchhoff at every node) by the simulator: the reference
 * against which an IR-drop law is judged.
 *
 *   word line i:  source V_i - r - (i,0) - r - (i,1) - ...      cell (i,j): R_ij between the lines' nodes (i,j)
 *   bit line j:   (0,j) - r - (1,j) - ... - (m-1,j) - r - ground, through which I_j flows
 */
import { OnefetError } from '../../../error.ts';
import { requireDataFile } from '../../../files.ts';
import { assembleDeck } from '../../../spice/deck.ts';
import type { SpicePool } from '../../../spice/pool.ts';

export interface Crossbar {
  /** [rows][columns] */
  readonly resistanceOhm: readonly (readonly number[])[];
  /** Of one segment; the connection to the source and to ground is a segment too. */
  readonly wireOhm: number;
  /** [rows] */
  readonly inputV: readonly number[];
}

const MAX_CELLS = 1 << 16;

/** [columns] output currents, A. Errors: CROSSBAR_INVALID, SPICE_*. */
export async function solveCrossbar(
  pool: SpicePool,
  crossbar: Crossbar,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const { resistanceOhm, wireOhm, inputV } = crossbar;
  const rows = inputV.length;
  const columns = resistanceOhm[0]?.length ?? 0;
  checkCrossbar(crossbar, rows, columns);
  const lines: string[] = [];
  for (let i = 0; i < rows; i++) {
    lines.push(`vin${i} w${i}_0 0 ${inputV[i]}`);
    for (let j = 0; j < columns; j++) {
      lines.push(
        `rw${i}_${j} w${i}_${j} w${i}_${j + 1} ${wireOhm}`,
        `rc${i}_${j} w${i}_${j + 1} b${i}_${j} ${resistanceOhm[i][j]}`,
        `rb${i}_${j} b${i}_${j} b${i + 1}_${j} ${wireOhm}`,
      );
    }
  }
  for (let j = 0; j < columns; j++) lines.push(`vout${j} b${rows}_${j} 0 0`);
  const currents = Array.from({ length: columns }, (_, j) => `i(vout${j})`);
  const deck = assembleDeck(requireDataFile('netlists/crossbar/crossbar.cir', 'netlist'), {
    elements: lines.join('\n'),
    currents: currents.join(' '),
  });
  const { plots } = await pool.run(
    {
      label: `crossbar ${rows} x ${columns}`,
      netlist: deck.netlist,
      files: deck.files,
      commands: [],
      outputs: [{ file: 'crossbar.raw', plot: 'Operating Point', variables: currents, points: 1 }],
    },
    signal,
  );
  return Float64Array.from(currents, (name) => plots[0].real.get(name)![0]);
}

/** What the same crossbar gives without wire resistance, A. */
export function idealCrossbar({ resistanceOhm, inputV }: Crossbar): Float64Array {
  const out = new Float64Array(resistanceOhm[0].length);
  resistanceOhm.forEach((row, i) => {
    row.forEach((ohm, j) => {
      out[j] += inputV[i] / ohm;
    });
  });
  return out;
}

function checkCrossbar({ resistanceOhm, wireOhm, inputV }: Crossbar, rows: number, columns: number): void {
  const invalid = (what: string) => new OnefetError('input', 'CROSSBAR_INVALID', `crossbar: ${what}`);
  if (rows * columns < 1 || rows * columns > MAX_CELLS) {
    throw invalid(`${rows} x ${columns} cells; 1 to ${MAX_CELLS} are possible`);
  }
  if (!(wireOhm > 0)) throw invalid(`a wire segment of ${wireOhm} ohm is not positive`);
  if (resistanceOhm.length !== rows) throw invalid(`${resistanceOhm.length} rows for ${rows} inputs`);
  resistanceOhm.forEach((row, i) => {
    if (row.length !== columns) throw invalid(`row ${i} has ${row.length} cells where row 0 has ${columns}`);
    row.forEach((ohm, j) => {
      if (!(ohm > 0)) throw invalid(`cell ${i},${j} of ${ohm} ohm is not positive`);
    });
  });
  inputV.forEach((v, i) => {
    if (!Number.isFinite(v)) throw invalid(`input ${i} is ${v} V`);
  });
}
