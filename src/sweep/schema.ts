/** JSON Schemas that are published: `onefet schema <name>`, and files of the package. */
import { nearestName, OnefetError } from '../error.ts';
import { experimentJsonSchema } from './experiment.ts';

const SCHEMAS: Readonly<Record<string, () => object>> = { experiment: experimentJsonSchema };

/** The text of a schema. Error: SCHEMA_UNKNOWN (usage). */
export function schemaText(name: string): string {
  if (Object.hasOwn(SCHEMAS, name)) return `${JSON.stringify(SCHEMAS[name](), null, 1)}\n`;
  const known = Object.keys(SCHEMAS);
  const nearest = nearestName(name, known);
  throw new OnefetError('usage', 'SCHEMA_UNKNOWN', `there is no schema ${name}`, {
    hint: nearest ? `did you mean ${nearest}?` : `schemas are ${known.join(', ')}`,
  });
}
