import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { keepKernel, knownKernel } from './known-kernel.ts';

test('what was kept is known on this machine, and nothing else', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-kernel-'));
  try {
    const path = join(folder, 'cache', 'kernel.json');
    expect(knownKernel(path)).toBeUndefined();
    keepKernel('pairs', path);
    expect(knownKernel(path)).toBe('pairs');
    const text = readFileSync(path, 'utf8');
    for (const other of [text.replace('v', 'w'), text.replace('pairs', 'best'), text.slice(1), '']) {
      writeFileSync(path, other);
      expect(knownKernel(path)).toBeUndefined();
    }
    keepKernel('i16', join(path, 'below', 'a-file.json'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
