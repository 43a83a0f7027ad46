/** Names and places of a model's matrices: the key of a tensor, and where on the die its tiles lie. */
import type { LinearName } from './linear.ts';

export function tensorKey(name: LinearName): string {
  return name.layer < 0 ? name.tensor : `blk.${name.layer}.${name.tensor}`;
}

/**
 * Tiles are laid on the die in the order of the data flow, along eight strips that run back and forth: enough to
 * give neighbours similar values of a gradient.
 */
export function diePosition(
  name: LinearName,
  tile: number,
  tiles: number,
  blocks: number,
): { dieX: number; dieY: number } {
  const strips = 8;
  const inBlock = (name.ordinal + (tile + 0.5) / tiles) / (name.count + 1);
  const along = name.layer < 0 ? 1 - 1e-9 : (name.layer + inBlock) / (blocks + 1);
  const strip = Math.floor(along * strips);
  const within = along * strips - strip;
  return { dieX: strip % 2 === 0 ? within : 1 - within, dieY: (strip + 0.5) / strips };
}
