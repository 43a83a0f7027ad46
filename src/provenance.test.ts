import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { TAG_WORDS, TAGS, type Tag, weakestTag } from './provenance.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Says whether a source has a place that a reader can open: an address, a DOI, an arXiv or ISBN number, or the file of a published
 * model card. An author and a year alone are not enough: such a value is `assumed`, "from memory of" its source.
 */
function namesASource(source: string): boolean {
  const address =
    /https?:\/\/|\b(doi:?\s*10\.\d{4,}|arXiv:?\s*\d{4}\.\d{4,}|ISBN[\s:]*[\d-]{9,})|\b[a-z][\w-]*\.(org|com|io|net|edu|ai|energy)\b/i.test(
      source,
    );
  const models = /\b[\w-]+\.(ngspice|lib)\b|\bPDK documentation\b/.test(source);
  return address || models;
}

/** Entries with a tag, by path, of every data file that ships. */
function entries(): { where: string; tag: string; source: string }[] {
  const found: { where: string; tag: string; source: string }[] = [];
  const walk = (value: unknown, where: string) => {
    if (value === null || typeof value !== 'object') return;
    const { tag, source } = value as { tag?: unknown; source?: unknown };
    if (typeof tag === 'string' && typeof source === 'string') found.push({ where, tag, source });
    for (const [key, inner] of Object.entries(value)) walk(inner, `${where} ${key}`);
  };
  const files = (folder: string): string[] =>
    readdirSync(join(root, folder)).flatMap((name) => {
      const path = join(folder, name);
      return statSync(join(root, path)).isDirectory() ? files(path) : [path];
    });
  for (const file of ['spice', 'netlists', 'experiments'].flatMap(files)) {
    if (/\.ya?ml$/.test(file)) walk(parse(readFileSync(join(root, file), 'utf8')), file);
  }
  return found;
}

describe('provenance', () => {
  it('every tag has its words, and a sum is as weak as its weakest part', () => {
    expect(Object.keys(TAG_WORDS)).toEqual([...TAGS]);
    expect(weakestTag([{ tag: 'chosen' }, { tag: 'simulated' }])).toBe('simulated');
    expect(weakestTag([{ tag: 'cited' }, { tag: 'fitted' }, { tag: 'measured' }])).toBe('cited');
    expect(weakestTag([{ tag: 'chosen' }])).toBe('chosen');
  });

  it('tells a source that can be looked up from one that cannot', () => {
    expect(namesASource('Jouppi et al., ISCA 2021')).toBe(false);
    expect(namesASource('llama.cpp, github.com/ggml-org/llama.cpp, examples/perplexity')).toBe(true);
    expect(namesASource('linearity theorem (arXiv 2411.17525)')).toBe(true);
    expect(namesASource('nfet in sm141064.ngspice')).toBe(true);
    expect(namesASource('Andrulis et al., arXiv, 2024')).toBe(false);
    expect(namesASource('SkyWater PDK documentation')).toBe(true);
    expect(namesASource('logic 0.06 W/mm2 (range 0.011-0.2)')).toBe(false);
    expect(namesASource('cell area over macro area of compiled SRAM')).toBe(false);
    expect(namesASource('about 2000 chips')).toBe(false);
  });

  it('every tag of a data file is known, and what is cited names its source', () => {
    const all = entries();
    expect(all.length).toBeGreaterThan(250);
    expect(all.filter(({ tag }) => !TAGS.includes(tag as Tag))).toEqual([]);
    const unnamed = all.filter(({ tag, source }) => tag === 'cited' && !namesASource(source));
    expect(unnamed.map(({ where }) => where)).toEqual([]);
  });
});
