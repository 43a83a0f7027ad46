/**
 * Runs a campaign of changed inputs in this process. An input is taken or refused with a typed error that is no bug (exit
 * codes 2 to 4); anything else is a failure, as are a script in a report, a changed Object.prototype, an input that takes
 * longer than SLOW_MS, and, where a target knows what is right, a wrong value that is taken.
 */
import { OnefetError } from '../../error.ts';
import { bits32, streamKey } from '../../random.ts';
import type { Draw } from './change.ts';

export interface Target {
  readonly what: string;
  /** Inputs cost so many times those of the cheapest targets: the campaign tries as many fewer. Default 1. */
  readonly cost?: number;
  /** Makes the function that tries one input; false where it was refused without an error. */
  start(folder: string): ((draw: Draw) => undefined | boolean) | Promise<(draw: Draw) => undefined | boolean>;
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
/** Inputs of a costly target, where as many are asked for at all. */
const LEAST = 40;

/** Tries `inputs` inputs of each target; the same seed gives the same inputs. */
export async function runCampaign(
  targets: readonly Target[],
  folder: string,
  most: number,
  seed: number,
  only = /./,
): Promise<CampaignResult[]> {
  const results: CampaignResult[] = [];
  for (const [target, { what, cost = 1, start }] of targets.entries()) {
    if (!only.test(what)) continue;
    const attempt = await start(folder);
    const inputs = Math.max(Math.min(most, LEAST), Math.ceil(most / cost));
    const failures: string[] = [];
    let [taken, refused, slowestMs] = [0, 0, 0];
    for (let input = 0; input < inputs; input++) {
      const key = streamKey(seed, target, input);
      let drawn = 0;
      const started = performance.now();
      try {
        if (attempt((n) => bits32(key, drawn++) % n) === false) refused++;
        else taken++;
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
    results.push({ what, inputs, taken, refused, failures, slowestMs });
  }
  return results;
}

/** The table of SECURITY.md. */
export function campaignTable(results: readonly CampaignResult[]): string {
  return [
    '| inputs | tried | taken | refused | failed | slowest, ms |',
    '|---|---|---|---|---|---|',
    ...results.map(
      ({ what, inputs, taken, refused, failures, slowestMs }) =>
        `| ${what} | ${inputs.toLocaleString('en')} | ${taken.toLocaleString('en')} | ${refused.toLocaleString('en')} | ${failures.length} | ${slowestMs.toFixed(0)} |`,
    ),
  ].join('\n');
}
