/** Modules import the memories that their functions name, so that those of one memory run on hosts without the others. */
import { expect, test } from 'vitest';
import { compileKernels } from './compile.ts';

const reads = (memory: string) => ({
  name: `read${memory.length}`,
  text: `(func (export "read${memory.length}") (param $at i32) (result i32) (i32.load${memory} (local.get $at)))`,
});
const memories = async (...names: string[]) =>
  WebAssembly.Module.imports(await compileKernels(names.map(reads))).map(({ name }) => name);

test('the state always, the others where they are named', async () => {
  expect(await memories('')).toEqual(['state']);
  expect(await memories('', ' $tables')).toEqual(['state', 'tables']);
  expect(await memories(' $weights', ' $tables')).toEqual(['state', 'weights', 'tables']);
});
