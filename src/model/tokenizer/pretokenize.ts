/**
 * Llama 3's pre-tokenisation: text is cut into words before byte pairs are merged within each.
 *
 * The pattern (tokenizer.json of Llama 3; llama.cpp's `llama-bpe`), alternatives in order:
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,3} |  ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ |
 *   \s+(?!\S) | \s+
 *
 * Cut by hand, as llama.cpp does: a regular expression's backtracking would make long runs of blanks slow, and JS's
 * \s differs from Unicode's White_Space (it has U+FEFF and lacks U+0085). The `(?i:` letters are ASCII, as in
 * llama.cpp: the long s (U+017F) does not count as s.
 */
const OTHER = 1;
const LETTER = 2;
const NUMBER = 3;
const SPACE = 4;

const classes = new Uint8Array(0x110000);

function characterClass(codePoint: number): number {
  const known = classes[codePoint];
  if (known !== 0) return known;
  const char = String.fromCodePoint(codePoint);
  let result = OTHER;
  if (/\p{L}/u.test(char)) result = LETTER;
  else if (/\p{N}/u.test(char)) result = NUMBER;
  else if (/\p{White_Space}/u.test(char)) result = SPACE;
  classes[codePoint] = result;
  return result;
}

/** Calls `emit(start, end)` for every word of text[from, to), in UTF-16 indices; the words cover the text. */
export function splitLlama3(
  text: string,
  from: number,
  to: number,
  emit: (start: number, end: number) => void,
): void {
  /** Class of the code point at `at`, 0 at the end. */
  const kind = (at: number): number => (at < to ? characterClass(text.codePointAt(at)!) : 0);
  const width = (at: number): number => (text.codePointAt(at)! > 0xffff ? 2 : 1);
  const isBreak = (at: number): boolean => {
    const unit = at < to ? text.charCodeAt(at) : 0;
    return unit === 10 || unit === 13;
  };

  let start = from;
  while (start < to) {
    const first = kind(start);
    let at = start + contraction(text, start, to);
    if (at === start && !isBreak(start) && first !== NUMBER) {
      // [^\r\n\p{L}\p{N}]?\p{L}+
      const second = start + width(start);
      if (first === LETTER || kind(second) === LETTER) {
        at = second;
        while (kind(at) === LETTER) at += width(at);
      }
    }
    if (at === start && first === NUMBER) {
      // \p{N}{1,3}
      for (let digits = 0; digits < 3 && kind(at) === NUMBER; digits++) at += width(at);
    }
    if (at === start) {
      //  ?[^\s\p{L}\p{N}]+[\r\n]*
      const body = text.charCodeAt(start) === 32 ? start + 1 : start;
      if (kind(body) === OTHER) {
        at = body;
        while (kind(at) === OTHER) at += width(at);
        while (isBreak(at)) at++;
      }
    }
    if (at === start) {
      // Only white space is left: \s*[\r\n]+ | \s+(?!\S) | \s+
      let end = start;
      let lastBreak = -1;
      while (kind(end) === SPACE) {
        if (isBreak(end)) lastBreak = end;
        end++; // all of White_Space is in the basic plane
      }
      if (lastBreak >= 0) at = lastBreak + 1;
      else at = end < to && end - start > 1 ? end - 1 : end;
    }
    emit(start, at);
    start = at;
  }
}

/** Length of 's 't 'm 'd 're 've 'll at `at`, else 0. */
function contraction(text: string, at: number, to: number): number {
  if (text.charCodeAt(at) !== 39) return 0;
  const one = at + 1 < to ? text[at + 1].toLowerCase() : '';
  if (one === 's' || one === 't' || one === 'm' || one === 'd') return 2;
  const two = at + 2 < to ? one + text[at + 2].toLowerCase() : '';
  return two === 're' || two === 've' || two === 'll' ? 3 : 0;
}
