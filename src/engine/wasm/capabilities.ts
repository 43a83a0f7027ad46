/** Capabilities of the kernels; the scalar backend does the rest. */

import { MEMORY_BYTES } from '../../emit/arena.ts';
import { FABRIC_WORDS } from '../../fabric/registry.ts';
import { FORWARD_FEATURES } from '../../model/forward.ts';
import type { Capabilities } from '../backend.ts';

export const CAPABILITIES: Capabilities = {
  // run/forward.ts computes what its reference does (architectures.test.ts).
  'model features': { oneOf: FORWARD_FEATURES },
  // Whole vectors of what rotates.
  'model head elements': { multipleOf: 4 },
  // A half in whole vectors; parts that lie beside each other in whole panels.
  'model rotating elements, in halves': { multipleOf: 8 },
  'model part of a fused matrix': { multipleOf: 16 },
  'Node version': { from: 22 },
  fabric: { oneOf: FABRIC_WORDS },
  kvBits: { oneOf: [8, 16] },
  'weights.bits': { oneOf: [3, 4, 6] },
  // Pairs of quads; what a worker has room for while it loads (plan/layout.ts).
  'tile.rows': { from: 8, to: 1024, multipleOf: 8 },
  'precision with real-valued inputs': { oneOf: ['exact'] },
  // What 16 bits hold of a cell's gain (../cell-format.ts); its weight is below one unit beyond.
  'spread of a cell': { to: 2 },
  // The droop of clamp and source line is taken from the tile's mean current.
  'column droop': { to: 0.05 },
  // The same of a cascode: a column with half or twice the mean current is off by 0.7 times this.
  'loss of a cascode per e-fold of current': { to: 0.02 },
  'bytes of a matrix': { to: MEMORY_BYTES },
  'bytes beside the weights': { to: MEMORY_BYTES },
};
