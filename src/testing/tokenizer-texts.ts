/** Texts that tell pre-tokenisers apart. */
import { unicodeClasses } from '../model/tokenizer/unicode-classes.ts';

const PIECES = [
  ...["'", 's', 'S', 'r', 'e', 'LL', 've', 'd', 'a', '\u00e9', '\u65e5', '1', '22', '\u0663', '\u00bd'],
  ...[' ', '  ', '\t', '\n', '\r', '\r\n', '\u00a0', '\u0085', '\ufeffx', '\u3000', '!', '...', '\u{1f600}'],
  ...[
    '\u{1d400}',
    '\u0301',
    '\u017f',
    '_',
    '~',
    '123456',
    '$',
    '/',
    '\u{10400}',
    '\u4e00',
    '\u3042',
    '\uac00',
  ],
  ...[
    '\u0e01',
    '\ufa0e',
    '\u{20000}',
    'A',
    'Bc',
    'DEF',
    '<sentinel:12>',
    'IMGIMGABZ',
    '(',
    '\u2026',
    '\uff0c',
  ],
  ...['\u201c', '`', '|', '+', '-', '1234567', '@'],
];

/** 3,000 strings of up to twelve pieces each, always the same. */
export function oddStrings(): string[] {
  let state = 12345;
  const draw = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return Array.from({ length: 3000 }, () =>
    Array.from({ length: 1 + draw(12) }, () => PIECES[draw(PIECES.length)]).join(''),
  );
}

/** The first and the last code point of every run of one class, and all of Latin, between letters, numbers and marks. */
export function classBoundaries(): string {
  const classes = unicodeClasses();
  let text = '';
  let count = 0;
  for (let codePoint = 0; codePoint < 0x110000; codePoint++) {
    const class_ = classes[codePoint];
    const isInside = class_ === classes[codePoint - 1] && class_ === classes[codePoint + 1];
    const isSurrogate = codePoint >= 0xd800 && codePoint < 0xe000;
    if ((isInside && codePoint >= 0x250) || isSurrogate) continue;
    const char = String.fromCodePoint(codePoint);
    text += [`a${char}b `, `${char}1 `, ` ${char}${char}\n`, `A${char}'s`, `. ${char}Z`][count++ % 5];
  }
  return text;
}
