/**
 * Cuts text into the words within which byte pairs are merged, by the patterns of a pre-tokeniser.
 *
 * Patterns read one of two pictures of the text, each with one UTF-16 unit per code point:
 *   classes (patterns with \p{...}): ASCII as it is, everything else as the character of its class. \p{L}, \p{N}, \p{P},
 *     \p{M}, \p{S} are the classes with their ASCII; all other patterns
 *   text: as it is, except that white space beyond ASCII is a vertical tab and that code points beyond the basic plane
 *     are one lone surrogate: DC00 for letters with case, D800 for all others.
 * \s is ASCII's white space and thus, in both, all of White_Space. Letters in patterns are ASCII: the long s (U+017F)
 * does not count as s. All of it as in llama.cpp.
 */
import type { Cut, PreTokenizer } from './pre-tokenizers.ts';
import { CASED_ASTRAL_LETTERS } from './pre-tokenizers.ts';
import { CLASS, unicodeClasses } from './unicode-classes.ts';

/** Calls `emit(start, end)` for every word of a text, in UTF-16 indices; the words cover the text. */
export type Cutter = (text: string, emit: (start: number, end: number) => void) => void;

/** What \p{...} stands for inside a character class. */
const CLASSES: Readonly<Record<string, string>> = {
  L: `A-Za-z${CLASS.letter}${CLASS.hanLetter}`,
  N: `0-9${CLASS.number}`,
  M: CLASS.mark,
  P: `!-#%-*,-\\/:-;?-@\\[-\\]_{}${CLASS.punctuation}`,
  S: `$+<->^\`|~${CLASS.symbol}`,
  Han: `${CLASS.hanLetter}${CLASS.hanOther}`,
  'L but Han': `A-Za-z${CLASS.letter}`,
  'Other letter': `${CLASS.letter}${CLASS.hanLetter}`,
};
const SPACES = '\\t-\\r ';

/** A piece's ends, counted in code points, after one more cut. */
type Stage = (pictures: Pictures, ends: readonly number[]) => number[];

interface Pictures {
  /** In classes. */
  readonly classes: string;
  readonly text: string;
}

export function createCutter(pre: PreTokenizer): Cutter {
  const stages = pre.cuts.map(buildStage);
  const needsText = pre.cuts.some((cut) => typeof cut === 'string' && !cut.includes('\\p{'));
  return (text, emit) => {
    if (text === '') return;
    const pictures = drawPictures(text, needsText);
    let ends: number[] = [pictures.classes.length];
    for (const stage of stages) ends = stage(pictures, ends);
    const isBasic = pictures.classes.length === text.length;
    let from = 0;
    let start = 0;
    for (const end of ends) {
      let to = from + end - start;
      if (!isBasic) {
        to = from;
        for (let i = start; i < end; i++) to += text.codePointAt(to)! > 0xffff ? 2 : 1;
      }
      emit(from, to);
      from = to;
      start = end;
    }
  };
}

function buildStage(cut: Cut): Stage {
  if (typeof cut !== 'string') return buildNumberStage(cut.numbers);
  const picture = cut.includes('\\p{') ? 'classes' : 'text';
  const pattern = compile(cut);
  return (pictures, ends) => {
    const out: number[] = [];
    let start = 0;
    for (const end of ends) {
      // A piece by itself: patterns neither match nor look beyond its end.
      const piece = pictures[picture].slice(start, end);
      let done = 0;
      pattern.lastIndex = 0;
      for (let match = pattern.exec(piece); match !== null; match = pattern.exec(piece)) {
        if (match.index > done) out.push(start + match.index);
        done = pattern.lastIndex;
        out.push(start + done);
      }
      if (done < piece.length) out.push(end);
      start = end;
    }
    return out;
  };
}

/** The pattern in JS, with \p{...} and \s spelled out. */
export function compile(pattern: string): RegExp {
  let inside = false;
  const source = pattern.replace(/\\p\{([^}]+)\}|\\s|\\S|\\.|\[|\]/gs, (part, name?: string) => {
    if (name !== undefined) return inside ? CLASSES[name] : `[${CLASSES[name]}]`;
    if (part === '\\s') return inside ? SPACES : `[${SPACES}]`;
    if (part === '\\S') return `[^${SPACES}]`;
    if (part === '[') inside = true;
    if (part === ']') inside = false;
    return part;
  });
  return new RegExp(source, 'g');
}

function drawPictures(text: string, needsText: boolean): Pictures {
  if (/^[\0-\x7f]*$/.test(text)) return { classes: text, text };
  const classCodes = unicodeClasses();
  const classes = new Uint16Array(text.length);
  const units = new Uint16Array(needsText ? text.length : 0);
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const codePoint = text.codePointAt(at)!;
    if (codePoint > 0xffff) at++;
    classes[count] = classCodes[codePoint];
    if (needsText) {
      if (codePoint > 0xffff) units[count] = hasCase(codePoint) ? 0xdc00 : 0xd800;
      else units[count] = codePoint > 127 && classCodes[codePoint] === 11 ? 11 : codePoint;
    }
    count++;
  }
  return { classes: fromUnits(classes, count), text: fromUnits(units, needsText ? count : 0) };
}

function hasCase(codePoint: number): boolean {
  return CASED_ASTRAL_LETTERS.some(([first, last]) => codePoint >= first && codePoint <= last);
}

function fromUnits(units: Uint16Array, count: number): string {
  let text = '';
  for (let at = 0; at < count; at += 8192) {
    text += String.fromCharCode(...units.subarray(at, Math.min(count, at + 8192)));
  }
  return text;
}

/** Cuts runs of numbers in threes counted from their right end, see Cut. */
function buildNumberStage(numbers: Exclude<Cut, string>['numbers']): Stage {
  const endsToo = numbers === 'end in threes';
  const run = compile(endsToo ? '\\p{N}+' : '[0-9]+');
  return ({ classes }, ends) => {
    const out: number[] = [];
    let start = 0;
    for (const end of ends) {
      const piece = classes.slice(start, end);
      let done = 0;
      for (const match of piece.matchAll(run)) {
        const first = match.index;
        const last = first + match[0].length;
        const cuts: number[] = [];
        for (let at = first + (match[0].length % 3); at < last; at += 3) {
          if (at > first || !endsToo) cuts.push(at);
        }
        if (endsToo) cuts.push(last);
        for (const at of cuts) {
          if (at <= done) continue;
          out.push(start + at);
          done = at;
        }
      }
      if (done < piece.length) out.push(end);
      start = end;
    }
    return out;
  };
}
