/**
 * Weights that engines have in common: codes or bytes, with their scales and counts of taps. They depend on the model, the chip
 * image and the formats alone, so the digital head is there once for all modes, and the codes once for the ranges, the mapped
 * weights, every chip, every source of errors and every design with these formats.
 *
 * Parts that no engine uses stay while another engine may want them: all of them while they are small, else those that the
 * next engine uses; after some seconds without any engine none.
 */
import { newArena } from '../../emit/arena.ts';
import { collectGarbage } from '../../memory.ts';
import { type EngineRequest, isShapeOnly } from '../backend.ts';
import { usedImage } from '../image.ts';
import { TAP_COUNTS } from './plan/context.ts';
import type { MemorySizes, Operation, ResidentPart } from './plan/operations.ts';

/** Unused parts of together so many bytes stay. */
const KEPT_BYTES = 2 ** 28;
/** Unused parts go when there has been no engine for so long. */
const IDLE_MS = 10_000;

interface Kept {
  readonly part: ResidentPart;
  readonly bytes: number;
  users: number;
}

/** By key; the one used last is the last. */
const parts = new Map<string, Kept>();
let idle: NodeJS.Timeout | undefined;
/** Of what was let go since the last collection. */
let goneBytes = 0;

export interface Lease {
  readonly parts: readonly ResidentPart[];
  /** Numbers of those that are to be loaded. */
  readonly missing: readonly number[];
  /** They have been loaded: from now on other engines may have them. */
  keep(): void;
  /** The engine is done with them, and with so many bytes of its own. */
  release(ownBytes: number): void;
}

/** Lets go what the engine with these parts would have no room beside; returns the bytes of its parts that are there. */
export function makeRoom(keys: readonly string[]): number {
  clearTimeout(idle);
  dropUnused(keys, KEPT_BYTES);
  goneBytes = collectGarbage(goneBytes);
  return keys.reduce((sum, key) => sum + (parts.get(key)?.bytes ?? 0), 0);
}

/** Takes the parts of an engine: those that are there, and fresh ones for the others. Its `part` numbers are their places. */
export function leaseParts(keys: readonly string[], sizes: MemorySizes): Lease {
  const missing = keys.flatMap((key, part) => (parts.has(key) ? [] : [part]));
  const leased = keys.map((key, part) => parts.get(key) ?? newPart(sizes, part));
  for (const kept of leased) kept.users++;
  let released = false;
  return {
    parts: leased.map(({ part }) => part),
    missing,
    keep() {
      keys.forEach((key, i) => {
        parts.delete(key);
        parts.set(key, leased[i]);
      });
    },
    release(ownBytes) {
      if (released) return;
      released = true;
      goneBytes += ownBytes;
      for (const kept of leased) kept.users--;
      if ([...parts.values()].some(({ users }) => users > 0)) return;
      idle = setTimeout(dropParts, IDLE_MS);
      idle.unref();
    },
  };
}

/** Lets all unused parts go. */
export function dropParts(): void {
  dropUnused([], 0);
}

/** Lets the oldest unused parts go that are not wanted, until at most `bytes` of them are left. */
function dropUnused(wanted: readonly string[], bytes: number): void {
  const unused = [...parts].filter(([key, { users }]) => users === 0 && !wanted.includes(key));
  let left = unused.reduce((sum, [, kept]) => sum + kept.bytes, 0);
  for (const [key, kept] of unused) {
    if (left <= bytes) break;
    parts.delete(key);
    goneBytes += kept.bytes;
    left -= kept.bytes;
  }
}

function newPart({ resident, tables, parts: sizes }: MemorySizes, part: number): Kept {
  const { memories, hasTables, scales, tiles } = sizes[part];
  const shared = (words: number) => new SharedArrayBuffer(4 * words);
  return {
    part: {
      memories: memories.map((number) => newArena(resident[number]).memory),
      tables: hasTables ? memories.map((number) => newArena(tables[number]).memory) : undefined,
      scales: new Float32Array(shared(scales)),
      tapCounts: new Int32Array(shared(tiles * TAP_COUNTS)),
    },
    bytes: memories.reduce(
      (sum, number) => sum + resident[number] + (hasTables ? tables[number] : 0),
      4 * scales,
    ),
    users: 0,
  };
}

/** What decides the weights of each part: the model's file, the image's content, and the formats. */
export function partKeys(
  request: EngineRequest,
  operations: readonly Operation[],
  { parts: sizes }: MemorySizes,
): string[] {
  const { model } = request;
  const source = isShapeOnly(model)
    ? [model.madeUpType, model.shape]
    : // A part of a model counts its blocks from its own first.
      [model.file.identity, model.shape.firstBlock ?? 0];
  const image = usedImage(request)?.sha256;
  return sizes.map(({ memories }, part) => {
    const formats = operations
      .filter((o) => o.part === part)
      .map(({ name, outputs, inputs, kind, bits, rows, cells, source, digital, resident }) => [
        name,
        outputs,
        inputs,
        { ...resident, memory: memories.indexOf(resident.memory) },
        ...(kind === 'int8' ? [cells, source] : [bits, rows, digital ? image : null]),
      ]);
    return JSON.stringify([source, formats]);
  });
}
