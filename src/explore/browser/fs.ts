/** node:fs of a page, as far as reading goes. */
import { currentFiles } from './files.ts';

export const constants = { O_RDONLY: 0, O_NONBLOCK: 0 };

const missing = (path: string): Error =>
  Object.assign(new Error(`ENOENT: no such file, ${path}`), { code: 'ENOENT' });

const bytesOf = (path: string): Uint8Array => {
  const text = currentFiles().read(path);
  if (text === undefined) throw missing(path);
  return new TextEncoder().encode(text);
};

export const existsSync = (path: string): boolean =>
  currentFiles().read(path) !== undefined || currentFiles().list(path) !== undefined;

export function readdirSync(path: string, options?: { readonly withFileTypes?: boolean }) {
  const names = currentFiles().list(path);
  if (names === undefined) throw missing(path);
  if (!options?.withFileTypes) return names;
  return names.map((name) => ({
    name,
    isDirectory: () => currentFiles().list(`${path}/${name}`) !== undefined,
  }));
}

export function statSync(path: string) {
  const isFolder = currentFiles().list(path) !== undefined;
  const size = isFolder ? 0 : bytesOf(path).length;
  return {
    size,
    mtimeMs: 0,
    isDirectory: () => isFolder,
    isFile: () => !isFolder,
    isFIFO: () => false,
    isSymbolicLink: () => false,
  };
}
export const lstatSync = statSync;

/** Handles are places in this list. */
const opened: { readonly bytes: Uint8Array; at: number }[] = [];

export const openSync = (path: string): number => opened.push({ bytes: bytesOf(path), at: 0 }) - 1;

export function readSync(handle: number, into: Uint8Array, offset: number, length: number): number {
  const file = opened[handle];
  const part = file.bytes.subarray(file.at, file.at + length);
  into.set(part, offset);
  file.at += part.length;
  return part.length;
}

export const closeSync = (handle: number): void => {
  opened[handle] = { bytes: new Uint8Array(), at: 0 };
};

export const readFileSync = (path: string): string => new TextDecoder().decode(bytesOf(path));

const refuse = (): never => {
  throw new Error('EROFS: a page writes no files');
};
export const fsyncSync = refuse;
export const mkdirSync = refuse;
export const renameSync = refuse;
export const rmSync = refuse;
export const symlinkSync = refuse;
export const writeSync = refuse;
