/** Says every test that is skipped, and why, behind the summary of a run: one line for each file and reason. */
import { relative } from 'node:path';
import { cwd, stdout } from 'node:process';
import type { Reporter, TestModule, Vitest } from 'vitest/node';

/** Names that a line has room for. */
const NAMES = 3;

export default class SkipReporter implements Reporter {
  private filtered = false;

  onInit(vitest: Vitest): void {
    // `-t name` skips the others: nobody asks for a list of these.
    this.filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (this.filtered) return;
    for (const module of modules) {
      for (const [reason, names] of skippedByReason(module)) {
        const rest = names.length > NAMES ? `, and ${names.length - NAMES} more` : '';
        const tests = `${names.length} ${names.length === 1 ? 'test' : 'tests'}`;
        stdout.write(
          `skipped: ${relative(cwd(), module.moduleId)}, ${tests}: ${reason} (${names.slice(0, NAMES).join('; ')}${rest})\n`,
        );
      }
    }
  }
}

function skippedByReason(module: TestModule): Map<string, string[]> {
  const reasons = new Map<string, string[]>();
  for (const test of module.children.allTests('skipped')) {
    const result = test.result();
    const reason =
      test.meta().missing ?? (result.state === 'skipped' ? result.note : undefined) ?? 'no reason given';
    reasons.set(reason, [...(reasons.get(reason) ?? []), test.fullName]);
  }
  return reasons;
}
