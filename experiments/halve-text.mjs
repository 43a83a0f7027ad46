/**
 * Cuts a text into the half that a mapping is calibrated on and the half that is scored, at the last heading of WikiText
 * (" = Title = ", of any depth) before the middle, or behind the last line `<|endoftext|>` before it, so that no section and no document
 * is in both. Writes calibration-half.txt and scored-half.txt.
 *
 *   node experiments/halve-text.mjs wiki.test.raw [folder, default .onefet/texts]
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv, exit, stderr } from 'node:process';

const [path, folder = join('.onefet', 'texts')] = argv.slice(2);

try {
  if (path === undefined) throw new Error('name a text');
  const text = readFileSync(path, 'utf8');
  const before = (pattern) =>
    [...text.matchAll(pattern)].filter(({ index }) => index > 0 && index <= text.length / 2).at(-1);
  const heading = before(/^ = .* = ?$/gm);
  const separator = before(/^<\|endoftext\|>\n/gm);
  const cut = heading?.index ?? (separator && separator.index + separator[0].length);
  if (cut === undefined) throw new Error(`${path} has no heading and no <|endoftext|> before its middle`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'calibration-half.txt'), text.slice(0, cut));
  writeFileSync(join(folder, 'scored-half.txt'), text.slice(cut));
} catch (error) {
  stderr.write(`halve-text: ${error.message}\n`);
  exit(2);
}
