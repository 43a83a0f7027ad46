/**
 * Fuzzing of everything that is read from files that others wrote: structure-aware and byte by byte, in this process. An
 * input is taken or refused with a typed error that is no bug (exit codes 2 to 4); anything else is a failure, as are a
 * script in a report, a changed Object.prototype and an input that takes longer than SLOW_MS.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseMeasuredCsv } from '../calibrate/measured/csv.ts';
import { calibrationSchema } from '../cell/calibration.ts';
import { parseYaml, validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { readResult } from '../experiment/read-result.ts';
import { fabricModule } from '../fabric/registry.ts';
import { decodeText, packageRoot } from '../files.ts';
import { type GgufValue, openGguf, readRow } from '../model/gguf.ts';
import { openModel } from '../model/model.ts';
import { createTokenizer } from '../model/tokenizer/tokenizer.ts';
import { bits32, streamKey } from '../random.ts';
import { renderReport } from '../report/report.ts';
import { decodeResult } from '../sources.ts';
import { fixtureModel } from './models.ts';
import { fixtureResult } from './results.ts';

/** Whole numbers below n, from one stream. */
type Draw = (n: number) => number;

interface Target {
  readonly what: string;
  /** Makes the function that tries one input. */
  start(folder: string): (draw: Draw) => void;
}

export interface CampaignResult {
  readonly what: string;
  readonly inputs: number;
  readonly taken: number;
  readonly refused: number;
  /** Of the seeds that failed, with what came. */
  readonly failures: readonly string[];
  readonly slowestMs: number;
}

const SLOW_MS = 10_000;
const SCRIPT = '</script><script>alert(1)</script>';
const ODD: readonly unknown[] = [
  ...[null, true, 0, -1, 1e308, 2 ** 53, '', 'x', SCRIPT, '\ud800', [], {}, [[]], [1], 'float', '1e999'],
  JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}'),
];

/** One to eight changes of bytes: flips, odd values, cuts, repeats and swaps of parts. */
function changeBytes(source: Uint8Array, draw: Draw): Buffer {
  let bytes: Buffer = Buffer.from(source);
  for (let changes = 1 + draw(8); changes > 0 && bytes.length > 0; changes--) {
    const at = draw(bytes.length);
    const length = 1 + draw(Math.min(64, bytes.length - at));
    switch (draw(6)) {
      case 0:
        bytes[at] ^= 1 << draw(8);
        break;
      case 1:
        bytes.fill([0, 255, 127, 128][draw(4)], at, at + length);
        break;
      case 2:
        bytes = bytes.subarray(0, at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      default:
        if (at + 8 <= bytes.length)
          bytes.writeBigUInt64LE([2n ** 63n, 2n ** 32n, 0n, 2n ** 20n][draw(4)], at);
    }
  }
  return bytes;
}

/** A copy of plain data with one to three values changed, removed, or put under odd names. */
function changeData(source: unknown, draw: Draw): unknown {
  const copy = structuredClone(source);
  for (let changes = 1 + draw(3); changes > 0; changes--) {
    let at = copy as Record<string, unknown>;
    for (;;) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      const key = keys[draw(keys.length)];
      const next = at[key];
      if (typeof next === 'object' && next !== null && draw(8) > 0) {
        at = next as Record<string, unknown>;
        continue;
      }
      if (draw(4) === 0) delete at[key];
      else
        at[draw(8) === 0 && !Array.isArray(at) ? ['length', 'toString', 'x.y', SCRIPT][draw(4)] : key] =
          ODD[draw(ODD.length)];
      break;
    }
  }
  return copy;
}

const read = (...path: string[]) => readFileSync(join(packageRoot, ...path));

const TARGETS: readonly Target[] = [
  {
    what: 'GGUF files, bytes',
    start(folder) {
      const source = readFileSync(fixtureModel('tiny'));
      const path = join(folder, 'fuzzed.gguf');
      // The header is a tenth of the file and decides what the rest is.
      const header = openGguf(fixtureModel('tiny'));
      const { dataOffset } = header;
      header.close();
      return (draw) => {
        const head = changeBytes(source.subarray(0, dataOffset), draw);
        writeFileSync(path, Buffer.concat([head, source.subarray(dataOffset)]));
        const { file, ...model } = openModel(path);
        try {
          for (const tensor of file.tensors.values()) {
            readRow(file, tensor, 0, new Float32Array(tensor.shape[tensor.shape.length - 1]));
          }
        } finally {
          model.close();
        }
      };
    },
  },
  {
    what: 'tokenizer vocabularies',
    start() {
      const file = openGguf(fixtureModel('tiny'));
      file.close();
      const own = Object.fromEntries([...file.metadata].filter(([key]) => key.startsWith('tokenizer.')));
      return (draw) => {
        const metadata = new Map(Object.entries(changeData(own, draw) as Record<string, GgufValue>));
        const tokenizer = createTokenizer(metadata);
        tokenizer.decode(tokenizer.encode('Once upon \u00e9 \ud800 <|end_of_text|>', { parseSpecial: true }));
      };
    },
  },
  {
    what: 'designs (YAML)',
    start() {
      const source = read('experiments', 'designs', 'log-domain.yaml');
      const data = parseYaml(source.toString(), 'x');
      return (draw) => {
        const text = draw(2) === 0 ? decodeText(changeBytes(source, draw), 'x') : undefined;
        const design = text === undefined ? changeData(data, draw) : parseYaml(text, 'x');
        validate(fabricModule('log-domain', 'x').schema, design, 'x');
      };
    },
  },
  {
    what: 'measured data (CSV, IC-CAP)',
    start() {
      const rows = Array.from({ length: 20 }, (_, i) => `${(0.02 * i).toFixed(2)};0,4;27;${Math.exp(i)}e-15`);
      const forms = [
        `vgs_v,vds_v,temp_c,id_a,corner\n${rows.join('\n').replaceAll(',', '.').replaceAll(';', ',')}`,
        `"vgs_v";"vds_v";"temp_c";"id_a"\n${rows.join('\n')}`,
        `BEGIN_HEADER\nEND_HEADER\nTEMP 27\nBEGIN_DB\nICCAP_VAR VD 0.4\n#VG ID\n0 1e-12\n0.1 1e-11\nEND_DB\n`,
      ].map((text) => Buffer.from(text));
      return (draw) => {
        parseMeasuredCsv(decodeText(changeBytes(forms[draw(forms.length)], draw), 'x'), 'x');
      };
    },
  },
  {
    what: 'calibrations (JSON)',
    start() {
      const data = decodeResult(read('calibration', 'planar32lp', 't1.json').toString());
      return (draw) => {
        validate(calibrationSchema, changeData(data, draw), 'x', {
          kind: 'input',
          code: 'CALIBRATION_INVALID',
        });
      };
    },
  },
  {
    what: 'results, and their reports',
    start(folder) {
      const data = JSON.parse(JSON.stringify(fixtureResult(2)));
      return (draw) => {
        writeFileSync(join(folder, 'result.json'), JSON.stringify(changeData(data, draw)));
        if (renderReport(readResult(folder), null).includes('<script>alert(1)'))
          throw new Error('a script in the report');
      };
    },
  },
  {
    what: 'text files, bytes',
    start() {
      const source = read('experiments', 'texts', 'range.txt').subarray(0, 2000);
      return (draw) => {
        decodeText(changeBytes(source, draw), 'x');
      };
    },
  },
];

/** Tries `inputs` inputs of each target; the same seed gives the same inputs. */
export function runCampaign(folder: string, inputs: number, seed: number): CampaignResult[] {
  return TARGETS.map(({ what, start }, target) => {
    const attempt = start(folder);
    const failures: string[] = [];
    let [taken, refused, slowestMs] = [0, 0, 0];
    for (let input = 0; input < inputs; input++) {
      const key = streamKey(seed, target, input);
      let drawn = 0;
      const started = performance.now();
      try {
        attempt((n) => bits32(key, drawn++) % n);
        taken++;
      } catch (error) {
        if (error instanceof OnefetError && error.kind !== 'internal') refused++;
        else failures.push(`${what}, input ${input}: ${error instanceof Error ? error.stack : error}`);
      }
      const ms = performance.now() - started;
      slowestMs = Math.max(slowestMs, ms);
      if (ms > SLOW_MS) failures.push(`${what}, input ${input}: ${ms.toFixed(0)} ms`);
      if ('polluted' in {}) {
        failures.push(`${what}, input ${input}: Object.prototype was changed`);
        delete (Object.prototype as { polluted?: unknown }).polluted;
      }
    }
    return { what, inputs, taken, refused, failures, slowestMs };
  });
}
