/**
 * Corners of the shipped processes: a parameter that a corner sets and no model reads would be a corner that is not one.
 */
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadProcess, type Process, processCorners } from '../cell/technology.ts';
import { readTextFile } from '../files.ts';
import { assembleText } from '../spice/deck.ts';
import { createSpicePool } from '../spice/pool.ts';
import { processNames } from './calibrate-all.ts';

const pool = createSpicePool({ threads: 1 });
afterAll(() => pool.close());

/** Name -> value of the `.param` lines of one section. */
function parametersOf(process: Process, section: string): Map<string, string> {
  const library = readTextFile(join(process.folder, process.technology.models.file), 'library');
  const [, body] = library.match(new RegExp(`^\\.lib ${section}$([\\s\\S]*?)^\\.endl`, 'm'))!;
  const lines = [...body.matchAll(/^\.param (.*)$/gm)].map(([, text]) => text);
  return new Map(lines.flatMap((line) => [...line.matchAll(/(\w+)=(\S+)/g)].map(([, k, v]) => [k, v])));
}

/** Currents of an NMOS and, where the process names one, a PMOS, in weak and strong inversion, A. */
async function currents(process: Process, section: string, changed?: [string, string]): Promise<number[]> {
  const { models, nmos, pmos, cells } = process.technology;
  const [cell] = Object.values(cells);
  const size = `w=${cell.widthM} l=${cell.lengthM}`;
  const deck = assembleText(
    `t\n.lib ${models.file} ${section}\nvd d 0 0.4\nvp e 0 -0.4\nvg g 0 0\nvh h 0 0\nbh h2 0 v=-v(g)\n` +
      `m1 d g 0 0 ${nmos ?? cell.model} ${size}\n${pmos === undefined ? 'r1 e 0 1' : `m2 e h2 0 0 ${pmos} ${size}`}\n` +
      '.options gmin=1e-18 abstol=1e-18 reltol=1e-6\n.control\ndc vg 0.2 1 0.4\nwrite x.raw i(vd) i(vp)\n.endc\n.end\n',
    join(process.folder, 'deck.cir'),
    {},
    {
      rewrite: (text) =>
        changed === undefined
          ? text
          : text.replace(new RegExp(`\\b${changed[0]}=\\S+`), `${changed[0]}=${changed[1]}`),
    },
  );
  const { plots } = await pool.run({
    label: `${process.technology.name} ${section}`,
    ...deck,
    commands: [],
    outputs: [{ file: 'x.raw', plot: 'DC transfer', variables: ['i(vd)', 'i(vp)'], points: 3 }],
  });
  return ['i(vd)', 'i(vp)'].flatMap((name) => Array.from(plots[0].real.get(name)!));
}

const moved = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((value, i) => Math.abs(b[i] / value - 1)));

describe.each(processNames())('%s', (name) => {
  const process = loadProcess(name);
  const { corners } = process.technology.models;
  const typical = parametersOf(process, corners.TT!);

  test('each parameter of a corner changes a current by more than 0.1 %', async () => {
    const before = await currents(process, corners.TT!);
    for (const corner of processCorners(process)) {
      for (const [parameter, value] of parametersOf(process, corners[corner]!)) {
        if (value === typical.get(parameter)) continue;
        const after = await currents(process, corners.TT!, [parameter, value]);
        expect(moved(before, after), `${corner} ${parameter}=${value}`).toBeGreaterThan(1e-3);
      }
    }
  });

  test('each corner differs from every other', async () => {
    const found = await Promise.all(
      processCorners(process).map((corner) => currents(process, corners[corner]!)),
    );
    for (const [i, a] of found.entries()) {
      for (const b of found.slice(i + 1)) expect(moved(a, b)).toBeGreaterThan(1e-2);
    }
  });
});
