import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts'],
    globalSetup: ['src/testing/global-setup.ts'],
    reporters: ['default', './src/testing/skip-reporter.ts'],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Two cores: simulator workers and test files share them.
    maxWorkers: 2,
    // Files share what they import: the simulator, zod and the plotting library are loaded once per worker. A test that changes
    // what all share (working folder, environment, streams) restores it.
    isolate: false,
  },
});
