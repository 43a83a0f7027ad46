/**
 * The explorer's model as one script: model.ts and all that it imports, with the modules of Node that read files replaced by those
 * below browser/. A package has it ready; a checkout makes it when it is asked for.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OnefetError } from '../error.ts';
import { reasonOf, sourceExtension, writeFileAtomic } from '../files.ts';

const here = dirname(fileURLToPath(import.meta.url));
const READY = join(here, 'explorer-bundle.js');

/** Global name under which the script leaves browser/entry.ts. */
export const BUNDLE_NAME = 'onefetExplorer';

const browser = (name: string): string => join(here, 'browser', `${name}${sourceExtension}`);

/** Gives the script. Error: EXPLORER_BUNDLE (internal) where neither it nor the bundler is there. */
export async function explorerBundle(): Promise<string> {
  return existsSync(READY) ? readFileSync(READY, 'utf8') : await bundle();
}

/** Writes the script beside this file: a step of `npm run build`. */
export async function writeExplorerBundle(): Promise<void> {
  writeFileAtomic(READY, await bundle());
}

async function bundle(): Promise<string> {
  try {
    const { rolldown } = await import('rolldown');
    const build = await rolldown({
      input: browser('entry'),
      platform: 'browser',
      logLevel: 'warn',
      resolve: {
        alias: {
          'node:buffer': browser('buffer'),
          'node:crypto': browser('crypto'),
          'node:fs': browser('fs'),
          'node:os': browser('machine'),
          'node:path': 'pathe',
          'node:process': browser('process'),
          'node:url': browser('machine'),
          'node:v8': browser('machine'),
          'node:vm': browser('machine'),
        },
      },
      transform: { define: { 'import.meta.url': '"file:///src/files.ts"' } },
    });
    const { output } = await build.generate({ format: 'iife', name: BUNDLE_NAME, minify: true });
    await build.close();
    return output[0].code;
  } catch (cause) {
    throw new OnefetError(
      'internal',
      'EXPLORER_BUNDLE',
      `the explorer's script cannot be made: ${reasonOf(cause)}`,
      { cause, hint: 'install the development dependencies too: npm install' },
    );
  }
}
