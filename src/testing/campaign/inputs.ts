/** What is read from files that others wrote: models, designs, processes, netlists, measured data, results, texts. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { parseMeasuredCsv } from '../../calibrate/measured/csv.ts';
import { calibrationSchema } from '../../cell/calibration.ts';
import { technologySchema } from '../../cell/technology.ts';
import { parseYaml, validate } from '../../config.ts';
import { parseCostConstants } from '../../cost/constants.ts';
import { readTaskFile } from '../../experiment/task-file.ts';
import { fabricModule } from '../../fabric/registry.ts';
import { decodeText, packageRoot } from '../../files.ts';
import { openGguf, readRow } from '../../model/gguf.ts';
import type { GgufValue } from '../../model/gguf-file.ts';
import { openAdapter } from '../../model/lora.ts';
import { openModel } from '../../model/model.ts';
import { createTokenizer } from '../../model/tokenizer/tokenizer.ts';
import { placedYaml } from '../../placed-yaml.ts';
import { decodeResult } from '../../sources.ts';
import { assembleText } from '../../spice/deck.ts';
import { parseRawFile } from '../../spice/raw-file.ts';
import { parseExperiment } from '../../sweep/experiment.ts';
import { FIXTURE_ADAPTER, writeAdapter } from '../adapters.ts';
import { fixtureModel, writeFixture } from '../models.ts';
import { changeBytes, changeData } from './change.ts';
import type { Target } from './run.ts';

const read = (...path: string[]) => readFileSync(join(packageRoot, ...path));

export const INPUT_TARGETS: readonly Target[] = [
  {
    what: 'GGUF files, bytes',
    cost: 20,
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
    cost: 10,
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
    what: 'SentencePiece vocabularies',
    start() {
      const words = ['<unk>', '<s>', '</s>', '\u2581', 'o', 'n', 'c', 'e', 'on', 'ce', '\u2581on', 'once'];
      const bytes = Array.from(
        { length: 256 },
        (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`,
      );
      const tokens = [...words, ...bytes];
      const own: Record<string, GgufValue> = {
        'tokenizer.ggml.model': 'llama',
        'tokenizer.ggml.tokens': tokens,
        'tokenizer.ggml.scores': tokens.map((_, i) => -i),
        'tokenizer.ggml.token_type': tokens.map((_, i) =>
          i === 0 ? 2 : i < 3 ? 3 : i < words.length ? 1 : 6,
        ),
        'tokenizer.ggml.bos_token_id': 1,
        'tokenizer.ggml.eos_token_id': 2,
        'tokenizer.ggml.unknown_token_id': 0,
      };
      return (draw) => {
        const metadata = new Map(Object.entries(changeData(own, draw) as Record<string, GgufValue>));
        const tokenizer = createTokenizer(metadata);
        tokenizer.decode(tokenizer.encode('once upon \u00e9 \ud800 </s>', { parseSpecial: true }));
      };
    },
  },
  {
    what: 'processes (technology.yaml)',
    cost: 10,
    start() {
      const source = read('spice', 'planar130', 'technology.yaml');
      const data = parseYaml(source.toString(), 'x');
      return (draw) => {
        const text = draw(2) === 0 ? decodeText(changeBytes(source, draw), 'x') : undefined;
        validate(technologySchema, text === undefined ? changeData(data, draw) : parseYaml(text, 'x'), 'x');
      };
    },
  },
  {
    what: 'costs (cost.yaml)',
    cost: 50,
    start() {
      const source = read('spice', 'planar130', 'cost.yaml');
      const data = parseYaml(source.toString(), 'x');
      return (draw) => {
        const changed = draw(2) === 0 ? decodeText(changeBytes(source, draw), 'x') : undefined;
        parseCostConstants(changed ?? stringify(changeData(data, draw)), 'x');
      };
    },
  },
  {
    what: 'netlists and model libraries',
    cost: 20,
    start(folder) {
      const library = read('spice', 'planar130', 'models.lib');
      const deck = Buffer.from(
        '* deck\n.lib "models.lib" TT\n.include mos.inc\nvd d 0 {{vds_v}}\nb1 x 0 v=exp(min(v(d),1))\nm1 d d 0 0 nch w=1u l=1u\n.control\nset temp=27\nforeach t 1 2\n op\nend\nwrite a.raw\n.endc\n.end\n',
      );
      const path = join(folder, 'deck.cir');
      writeFileSync(join(folder, 'mos.inc'), read('spice', 'planar130', 'mos.inc'));
      return (draw) => {
        writeFileSync(join(folder, 'models.lib'), draw(2) === 0 ? changeBytes(library, draw) : library);
        const text = decodeText(changeBytes(deck, draw), 'x', { orLatin1: true });
        assembleText(text, path, { vds_v: 0.4 });
      };
    },
  },
  {
    what: 'raw files of the simulator',
    start() {
      const head =
        'Title: x\nDate: x\nPlotname: DC transfer characteristic\nFlags: real\nNo. Variables: 2\nNo. Points: 3\nVariables:\n\t0\tv-sweep\tvoltage\n\t1\ti(vd)\tcurrent\nBinary:\n';
      const source = Buffer.concat([
        Buffer.from(head),
        Buffer.from(Float64Array.from([0, 1e-9, 0.1, 2e-9, 0.2, 3e-9]).buffer),
      ]);
      return (draw) => {
        parseRawFile(changeBytes(source, draw), 'x');
      };
    },
  },
  {
    what: 'designs (YAML)',
    cost: 10,
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
    cost: 20,
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
    what: 'experiments of sweeps (YAML)',
    cost: 20,
    start() {
      const sources = ['gallery/adc-bits-tile-rows', 'cell-size'].map((name) =>
        read('experiments', `${name}.yaml`),
      );
      return (draw) => {
        const source = sources[draw(sources.length)];
        const text =
          draw(2) === 0
            ? decodeText(changeBytes(source, draw), 'x')
            : stringify(changeData(parseYaml(source.toString(), 'x'), draw));
        parseExperiment(placedYaml(text, 'x'));
      };
    },
  },
  {
    what: 'questions of tasks (JSON lines)',
    cost: 10,
    start(folder) {
      const path = join(folder, 'fuzzed.jsonl');
      const forms: object[][] = [
        [{ centerpiece: 'What is wet?', options: ['Water.', 'Fire.'], correct_options_idx: [0] }],
        [
          {
            centerpiece: '[header] A man [title] walks',
            options: ['home.', 'a sea.'],
            correct_options_idx: [1],
          },
        ],
        [{ sentence_good: 'The cats run.', sentence_bad: 'The cats runs.' }],
      ];
      const toLines = (questions: unknown[]) =>
        questions.map((question) => JSON.stringify(question)).join('\n');
      return (draw) => {
        const questions = [0, 1, 2].flatMap(() => forms[draw(forms.length)].map((line) => ({ ...line })));
        const text =
          draw(2) === 0
            ? changeBytes(Buffer.from(toLines(questions)), draw)
            : toLines([changeData(forms[draw(forms.length)][0], draw)]);
        writeFileSync(path, text);
        readTaskFile(path, undefined);
      };
    },
  },
  {
    what: 'LoRA adapters, bytes',
    cost: 20,
    start(folder) {
      const path = writeAdapter(join(folder, 'fuzzed-adapter.gguf'), FIXTURE_ADAPTER);
      const source = readFileSync(path);
      const base = join(folder, 'base.gguf');
      writeFixture(base);
      const { shape, close } = openModel(base);
      close();
      const header = openGguf(path);
      const { dataOffset } = header;
      header.close();
      return (draw) => {
        const head = changeBytes(source.subarray(0, dataOffset), draw);
        writeFileSync(path, Buffer.concat([head, source.subarray(dataOffset)]));
        const adapter = openAdapter({ path, scale: 1 }, shape);
        try {
          for (const tensor of adapter.ranks.keys()) adapter.read(tensor);
        } finally {
          adapter.close();
        }
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
