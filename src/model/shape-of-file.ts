import { basename } from 'node:path';
import { openGguf } from './gguf.ts';
import { readShape } from './read-shape.ts';
import type { NamedShape } from './shapes.ts';

/** The shape of a GGUF file; its weights are not read. */
export function shapeOfModel(path: string): NamedShape {
  const file = openGguf(path);
  try {
    return { ...readShape(file), name: basename(path).replace(/\.gguf$/i, '') };
  } finally {
    file.close();
  }
}
