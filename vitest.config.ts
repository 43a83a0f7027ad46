import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts'],
    globalSetup: ['src/testing/global-setup.ts'],
    reporters: ['default', './src/testing/skip-reporter.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores: simulator workers and test files share them.
    maxWorkers: 2,
  },
});
