#!/usr/bin/env node
// The launcher, in plain JavaScript that any Node from 18 on can parse. It finds a Node that runs onefet (24 or
// newer: TypeScript without a build step, and a WebAssembly compiler whose SIMD is fast and correct) and the
// program (src/cli.ts in a checkout, dist/cli.js in an installed package: Node strips no types below node_modules).
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const WANTED_MAJOR = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src', 'cli.ts');
const compiled = join(root, 'dist', 'cli.js');
const inCheckout = existsSync(source) && !root.split(/[\\/]/).includes('node_modules');
const program = inCheckout ? source : compiled;

if (Number(process.versions.node.split('.')[0]) >= WANTED_MAJOR) {
  const cli = await import(pathToFileURL(program).href);
  await cli.main(process.argv.slice(2));
} else {
  const node = bundledNode();
  if (node === undefined) {
    process.stderr.write(
      `onefet: needs Node ${WANTED_MAJOR} or newer, this is ${process.version}, and no bundled Node fits ${process.platform}-${process.arch}\n` +
        `  mend: install Node ${WANTED_MAJOR}, or reinstall without --omit=optional\n`,
    );
    process.exit(2);
  }
  // The child shares the terminal: Ctrl-C reaches it directly, so this process only waits for its exit code.
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => signal !== 'SIGINT' && child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`onefet: cannot start ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 1)));
}

/** The `node` executable of the optional dependency for this platform, if it was installed. */
function bundledNode() {
  const require = createRequire(import.meta.url);
  const names = [
    `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`,
    `node-bin-${process.platform}-${process.arch}`,
  ];
  for (const name of names) {
    try {
      const folder = dirname(require.resolve(`${name}/package.json`));
      const node = join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
      if (existsSync(node)) return node;
    } catch {
      // Not installed: try the next name.
    }
  }
  return undefined;
}
