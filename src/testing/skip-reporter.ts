/** Names every test that is skipped, and why, behind the summary of a run. */
import { relative } from 'node:path';
import { cwd, stdout } from 'node:process';
import type { Reporter, TestModule, Vitest } from 'vitest/node';

export default class SkipReporter implements Reporter {
  private filtered = false;

  onInit(vitest: Vitest): void {
    // `-t name` skips the others: nobody asks for a list of these.
    this.filtered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (this.filtered) return;
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const result = test.result();
        const reason =
          test.meta().missing ?? (result.state === 'skipped' ? result.note : undefined) ?? 'no reason given';
        stdout.write(`skipped: ${relative(cwd(), module.moduleId)} > ${test.fullName}: ${reason}\n`);
      }
    }
  }
}
