/**
 * Reader of ngspice binary raw files (ngspice manual, section "Raw file format"): per plot an ASCII header
 * (Title, Date, Plotname, Flags, No. Variables, No. Points, Variables) ended by "Binary:\n", then for each point all
 * variables as little-endian float64, a complex value as two of them.
 */
import { OnefetError } from '../error.ts';

export interface RawPlot {
  readonly title: string;
  readonly plotname: string;
  readonly complex: boolean;
  readonly points: number;
  readonly variables: readonly string[];
  /** [points] by variable name; the real part of a complex plot. */
  readonly real: ReadonlyMap<string, Float64Array>;
  /** [points] imaginary part; empty for a real plot. */
  readonly imaginary: ReadonlyMap<string, Float64Array>;
}

/** Most plots and variables that a file may announce; a bigger one is damaged or not ours. */
const MAX_PLOTS = 1024;
const MAX_VARIABLES = 100_000;
const MAX_HEADER_BYTES = 16 << 20;

export function parseRawFile(bytes: Uint8Array, name = 'raw file'): RawPlot[] {
  const plots: RawPlot[] = [];
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.byteLength; ) {
    const marker = buffer.indexOf('Binary:\n', at, 'latin1');
    if (marker < 0) throw damaged(name, `no "Binary:" marker after byte ${at}`);
    if (marker - at > MAX_HEADER_BYTES) throw damaged(name, `header of ${marker - at} bytes`);
    if (plots.length === MAX_PLOTS) throw damaged(name, `more than ${MAX_PLOTS} plots`);
    const header = buffer.toString('latin1', at, marker);
    const complex = /^Flags:.*\bcomplex\b/m.test(header);
    const variableCount = count(header, 'No. Variables', name);
    const points = count(header, 'No. Points', name);
    if (variableCount > MAX_VARIABLES) throw damaged(name, `${variableCount} variables`);
    const start = marker + 8;
    const values = variableCount * points * (complex ? 2 : 1);
    if (values * 8 > bytes.byteLength - start) {
      throw damaged(name, `announces ${values * 8} bytes of data, has ${bytes.byteLength - start}`);
    }
    const variables = variableNames(header, variableCount, name);
    const real = new Map<string, Float64Array>();
    const imaginary = new Map<string, Float64Array>();
    const stride = complex ? 16 : 8;
    variables.forEach((variable, v) => {
      const re = new Float64Array(points);
      const im = new Float64Array(complex ? points : 0);
      for (let p = 0; p < points; p++) {
        const offset = start + (p * variableCount + v) * stride;
        re[p] = view.getFloat64(offset, true);
        if (complex) im[p] = view.getFloat64(offset + 8, true);
      }
      real.set(variable, re);
      if (complex) imaginary.set(variable, im);
    });
    plots.push({
      title: field(header, 'Title'),
      plotname: field(header, 'Plotname'),
      complex,
      points,
      variables,
      real,
      imaginary,
    });
    at = start + values * 8;
  }
  return plots;
}

function field(header: string, key: string): string {
  return header.match(new RegExp(`^${key}:[ \\t]*(.*)$`, 'm'))?.[1].trim() ?? '';
}

function count(header: string, key: string, name: string): number {
  const text = header.match(new RegExp(`^${key.replace('.', '\\.')}:[ \\t]*(\\d{1,12})[ \\t]*$`, 'm'))?.[1];
  if (text === undefined) throw damaged(name, `no "${key}" in the header`);
  return Number(text);
}

/** Lines "index name type" after "Variables:". */
function variableNames(header: string, expected: number, name: string): string[] {
  const list = header.split(/^Variables:[ \t]*$/m)[1] ?? '';
  const names: string[] = [];
  for (const line of list.split('\n')) {
    const match = line.match(/^\s*\d+\s+(\S+)/);
    if (match) names.push(match[1].toLowerCase());
  }
  if (names.length !== expected)
    throw damaged(name, `${names.length} variable names for ${expected} variables`);
  return names;
}

function damaged(name: string, what: string): OnefetError {
  return new OnefetError('simulation', 'RAW_FILE_DAMAGED', `${name}: ${what}`);
}
