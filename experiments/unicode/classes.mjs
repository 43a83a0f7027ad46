/**
 * Prints the table of src/model/tokenizer/unicode-classes.ts from the Unicode data package of the given folder:
 *
 *   npm install --prefix /somewhere @unicode/unicode-15.1.0
 *   node experiments/unicode/classes.mjs /somewhere/node_modules/@unicode/unicode-15.1.0
 */
import { join, resolve } from 'node:path';
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';

const CATEGORIES = { L: 'Letter', N: 'Number', M: 'Mark', P: 'Punctuation', S: 'Symbol' };
const classes = new Array(0x110000).fill('O');
for (const [letter, category] of Object.entries(CATEGORIES)) {
  const file = join(resolve(argv[2]), 'General_Category', category, 'code-points.mjs');
  const { default: codePoints } = await import(pathToFileURL(file).href);
  for (const codePoint of codePoints) classes[codePoint] = letter;
}
let table = '';
for (let start = 0; start < classes.length; ) {
  let end = start;
  while (classes[end] === classes[start]) end++;
  table += (end - start).toString(36) + classes[start];
  start = end;
}
console.log(table);
