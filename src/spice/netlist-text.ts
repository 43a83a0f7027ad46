/**
 * Netlist text as ngspice reads it: which characters are comments, which lines continue others, what lies in a .control
 * section. Everything that looks for something in a netlist looks here, so that a name in a comment or in a quoted path is
 * never taken for a command. Rules from ngspice 45, inpcom.c (inp_stripcomments_line, inp_stitch_continuation_lines).
 */

/** A line with its continuations. */
export interface LogicalLine {
  /** Comments and continuation marks are blanks, so that offsets are those of the text. */
  readonly text: string;
  /** Offset of its first character in the text. */
  readonly start: number;
  /** Offset after its last character, its line end not included. */
  readonly end: number;
  /** From 1, in the text. */
  readonly line: number;
  /** Inside .control ... .endc, these two lines included. */
  readonly control: boolean;
}

/** Takes the byte order mark off a text and ends its lines as ngspice wants them. */
export const plainText = (text: string): string => text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');

const blanks = (length: number) => ' '.repeat(length);

/** Blanks the comment of one physical line; the length stays. */
function withoutComment(line: string, control: boolean): string {
  const first = line.trimStart()[0];
  if (first === '*' || (!control && (first === '$' || first === '#'))) return blanks(line.length);
  // In .control a semicolon may part two commands and a dollar names a variable.
  if (control) return line;
  const path = /^\s*\.(?:inc|lib)/i.test(line);
  // A dollar opens a comment after a blank or comma; before a name in an include it may be the environment's.
  const comment = path ? /;|(?<=[ \t,])\$(?![A-Za-z_{])/ : /;|(?<=[ \t,])\$|\/\//;
  const at = line.search(comment);
  return at < 0 ? line : line.slice(0, at) + blanks(line.length - at);
}

/** Splits a text into logical lines, comments blanked; lines of blanks alone are left out. `title`: the first line is one. */
export function logicalLines(text: string, title = false): LogicalLine[] {
  const found: { parts: string[]; start: number; end: number; line: number; control: boolean }[] = [];
  let control = false;
  let start = 0;
  text.split('\n').forEach((raw, i) => {
    const at = start;
    start += raw.length + 1;
    if (title && i === 0) return;
    const line = withoutComment(raw, control);
    const trimmed = line.trimStart();
    if (trimmed === '') return;
    const last = found.at(-1);
    if (trimmed[0] === '+' && last !== undefined) {
      // What lies between the two lines, a comment or nothing, is blank as well.
      last.parts.push(blanks(at - last.end), line.replace('+', ' '));
      last.end = at + line.length;
      return;
    }
    const opens = /^\.control\b/i.test(trimmed);
    found.push({ parts: [line], start: at, end: at + line.length, line: i + 1, control: control || opens });
    if (opens) control = true;
    else if (control && /^\.endc\b/i.test(trimmed)) control = false;
  });
  return found.map(({ parts, ...line }) => ({ ...line, text: parts.join('') }));
}

/** Text from `start` to the bracket that closes the one before it, or to the end of the text. */
export function balanced(text: string, start: number): string {
  let depth = 1;
  for (let at = start; at < text.length; at++) {
    if (text[at] === '(') depth++;
    else if (text[at] === ')' && --depth === 0) return text.slice(start, at);
  }
  return text.slice(start);
}

/** A `.subckt` ... `.ends` that lies in no other: indices into the lines, both ends included. */
export interface Subcircuit {
  /** Lower case. */
  readonly name: string;
  readonly first: number;
  readonly last: number;
}

/** Finds the subcircuits that lie in no other; one that never ends runs to the last line. */
export function outerSubcircuits(lines: readonly LogicalLine[]): Subcircuit[] {
  const found: Subcircuit[] = [];
  let depth = 0;
  let first = 0;
  let name = '';
  lines.forEach(({ text, control }, i) => {
    if (control) return;
    const opening = text.match(/^\s*\.subckt\s+(\S+)/i);
    if (opening) {
      if (depth++ === 0) [first, name] = [i, opening[1].toLowerCase()];
    } else if (depth > 0 && /^\s*\.ends\b/i.test(text)) {
      if (--depth === 0) found.push({ name, first, last: i });
    }
  });
  if (depth > 0) found.push({ name, first, last: lines.length - 1 });
  return found;
}
