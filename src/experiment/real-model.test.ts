/**
 * A real language model, mapped as the tables of experiments/README.md map it ("On a real model"), on fewer tokens and windows:
 * what a clone shows in a minute where `npm run fetch-model` has brought the file and WikiText-2 lies beside the repository.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../files.ts';
import { missingShared, needs, sharedPath } from '../testing/needs.ts';
import { openInputs } from './inputs.ts';
import { planDesign } from './plan.ts';
import { executeRun } from './run.ts';

const MODEL = join(packageRoot, '.onefet/models/SmolLM2-135M-Instruct.Q4_1.gguf');
const TEXT = 'text/wikitext2-raw-test-first-third.txt';

describe(
  'SmolLM2-135M on WikiText-2',
  needs(existsSync(MODEL) ? undefined : 'no SmolLM2-135M: npm run fetch-model', missingShared(TEXT)),
  () => {
    let folder: string;
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'onefet-real-model-'));
      execFileSync(execPath, [join(packageRoot, 'experiments/halve-text.mjs'), sharedPath(TEXT), folder]);
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    // 0.175 nats, of 1.1 where weights are rounded; the table's 0.130 takes 12,288 tokens of calibration.
    test('four windows: the digital perplexity of the tables, and one cell per weight within 0.19 nats', async () => {
      const inputs = openInputs({ model: MODEL, text: join(folder, 'scored-half.txt'), maxWindows: 4 });
      const hooks = { cacheFolder: join(folder, 'cache'), imagesFolder: join(folder, 'images') };
      const plan = planDesign(inputs, {
        design: 'digital',
        settings: [
          'input.bits=6',
          'input.scale=tile',
          'mapping.method=rotated',
          `mapping.text=${join(folder, 'calibration-half.txt')}`,
          'mapping.tokens=4096',
        ],
        chips: 1,
        out: join(folder, 'runs'),
        threads: 2,
      });
      const result = await executeRun(plan, hooks);
      expect(result.text.scored).toBe(1020);
      expect(result.digital.perplexity).toBeCloseTo(24.07, 1);
      expect(result.recoded.kl).toBeGreaterThan(0.1);
      expect(result.chips[0].kl).toBeLessThan(0.19);
    }, 500_000);
  },
);
