import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { parseRawFile } from './raw-file.ts';

/** Writes a raw file the way the ngspice manual describes it. */
function rawFile(names: readonly string[], rows: readonly (readonly number[])[], complex = false): Buffer {
  const header = `Title: test\nDate: today\nPlotname: DC transfer characteristic\nFlags: ${complex ? 'complex' : 'real'}\nNo. Variables: ${names.length}\nNo. Points: ${rows.length}\nVariables:\n${names.map((name, i) => `\t${i}\t${name}\tvoltage\n`).join('')}Binary:\n`;
  const body = Buffer.alloc(8 * rows.flat().length);
  rows.flat().forEach((value, i) => {
    body.writeDoubleLE(value, 8 * i);
  });
  return Buffer.concat([Buffer.from(header, 'latin1'), body]);
}

const code = (bytes: Uint8Array) => {
  try {
    parseRawFile(bytes);
  } catch (error) {
    return error instanceof OnefetError ? error.code : `untyped ${error}`;
  }
  return 'accepted';
};

describe('raw files', () => {
  test('real plot: columns by lower-case name', () => {
    const [plot] = parseRawFile(rawFile(['V(1)', 'i(vd)'], [[1, 2], [3, 4], [5, 6]])); // biome-ignore format: rows
    expect(plot.plotname).toBe('DC transfer characteristic');
    expect([...plot.real.get('v(1)')!]).toEqual([1, 3, 5]);
    expect([...plot.real.get('i(vd)')!]).toEqual([2, 4, 6]);
  });

  test('complex plot: real and imaginary parts', () => {
    const [plot] = parseRawFile(rawFile(['frequency', 'i(vg)'], [[1e6, 0, 3, 4]], true));
    expect(plot.real.get('i(vg)')![0]).toBe(3);
    expect(plot.imaginary.get('i(vg)')![0]).toBe(4);
  });

  test('two plots in one file, and a view that does not start at its buffer', () => {
    const both = Buffer.concat([rawFile(['a'], [[1]]), rawFile(['b'], [[2], [3]])]);
    const shifted = new Uint8Array(both.length + 3);
    shifted.set(both, 3);
    const plots = parseRawFile(shifted.subarray(3));
    expect(plots.map(({ variables, points }) => [variables[0], points])).toEqual([['a', 1], ['b', 2]]); // biome-ignore format: pairs
  });

  test('a count that the file cannot hold is refused before anything is allocated', () => {
    const text = rawFile(['a'], [[1]]).toString('latin1');
    const with_ = (from: string, to: string) => Buffer.from(text.replace(from, to), 'latin1');
    expect(code(with_('No. Points: 1', 'No. Points: 999999999999'))).toBe('RAW_FILE_DAMAGED');
    expect(code(with_('No. Variables: 1', 'No. Variables: 999999999'))).toBe('RAW_FILE_DAMAGED');
    expect(code(with_('No. Points: 1', 'No. Points: -1'))).toBe('RAW_FILE_DAMAGED');
    expect(code(with_('No. Points: 1\n', ''))).toBe('RAW_FILE_DAMAGED');
    expect(code(with_('Binary:', 'Values:'))).toBe('RAW_FILE_DAMAGED');
  });

  test('any damage is either a typed error or a plot of the announced size', () => {
    const good = rawFile(['v(1)', 'i(vd)'], [[1, 2], [3, 4]]); // biome-ignore format: rows
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, length) => {
        const bytes = Uint8Array.from(good);
        bytes[at] = value;
        expect(['accepted', 'RAW_FILE_DAMAGED']).toContain(code(bytes.subarray(0, length)));
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});
