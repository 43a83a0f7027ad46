/**
 * The keys of a design as a reader asks for them: meaning, unit, default and range, all from the fabric's schema, where
 * each key has its one description.
 */
import { z } from 'zod';
import { nearestName, OnefetError } from '../error.ts';
import { fabricModule } from './registry.ts';

export interface DesignKey {
  /** Path with dots, as --set takes it. */
  readonly key: string;
  readonly description: string;
  /** Of the number: V, A, K, ...; undefined for counts, shares and words. */
  readonly unit: string | undefined;
  /** What it may be, in words: "a whole number from 3 to 14, or float". */
  readonly allowed: string;
  /** undefined: it must be said. */
  readonly default: unknown;
}

/** The part of JSON Schema that zod writes for our keys. */
interface SchemaNode {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly SchemaNode[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
}

/** Lists the keys of the designs of a fabric, in the order of its schema. Errors: FABRIC (usage). */
export function designKeys(fabric: string): DesignKey[] {
  const schema = z.toJSONSchema(fabricModule(fabric, 'the list of keys').schema, { io: 'input' });
  return keysBelow(schema as SchemaNode, '');
}

/** Finds one key. Errors: CONFIG_KEY (usage). */
export function designKey(fabric: string, key: string): DesignKey {
  const keys = designKeys(fabric);
  const found = keys.find((each) => each.key === key);
  if (found) return found;
  const nearest = nearestName(
    key,
    keys.map((each) => each.key),
  );
  throw new OnefetError('usage', 'CONFIG_KEY', `a ${fabric} design has no key ${JSON.stringify(key)}`, {
    hint: nearest ? `did you mean ${nearest}?` : 'onefet list keys lists them',
  });
}

function keysBelow({ properties = {} }: SchemaNode, prefix: string): DesignKey[] {
  return Object.entries(properties).flatMap(([name, node]): DesignKey[] => {
    const key = prefix ? `${prefix}.${name}` : name;
    if (node.properties) return keysBelow(node, key);
    return [
      {
        key,
        description: node.description ?? '',
        unit: unitOf(name),
        allowed: allowedText(node),
        default: node.default,
      },
    ];
  });
}

/** What ends a key's name says its unit. Longer endings first. */
const UNITS: readonly (readonly [string, string])[] = [
  ['PerM2', '1/m2'],
  ['TimeS', 's'],
  ['Ohm', 'ohm'],
  ['Lsb', 'steps of the converter'],
  ['Hz', 'Hz'],
  ['Um2', 'um2'],
  ['M', 'm'],
  ['V', 'V'],
  ['A', 'A'],
  ['K', 'K'],
  ['F', 'F'],
  ['S', 's'],
];

/** Unit of a key by the convention of its name: `offsetSigmaV` is in volts. */
export function unitOf(name: string): string | undefined {
  return UNITS.find(([ending]) => name.endsWith(ending) && name.length > ending.length)?.[1];
}

function allowedText(node: SchemaNode): string {
  if (node.anyOf) return node.anyOf.map(allowedText).join(' or ');
  if (node.const !== undefined) return String(node.const);
  if (node.enum) return node.enum.map(String).join(', ');
  switch (node.type) {
    case 'integer':
    case 'number':
      return numberText(node);
    case 'boolean':
      return 'true, false';
    case 'null':
      return 'null';
    case 'object':
      return typeof node.additionalProperties === 'object'
        ? `a mapping of names to ${allowedText(node.additionalProperties)}`
        : 'a mapping';
    default:
      return 'text';
  }
}

function numberText(node: SchemaNode): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = node;
  // zod bounds every whole number by what a double holds, which says nothing.
  const most = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? maximum : undefined;
  const least = minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? minimum : undefined;
  const bounds = [
    ...(exclusiveMinimum === undefined ? [] : [`above ${exclusiveMinimum}`]),
    ...(least === undefined ? [] : [most === undefined ? `at least ${least}` : `from ${least}`]),
    ...(most === undefined ? [] : [least === undefined ? `up to ${most}` : `to ${most}`]),
    ...(exclusiveMaximum === undefined ? [] : [`below ${exclusiveMaximum}`]),
    ...(multipleOf === undefined || (node.type === 'integer' && multipleOf === 1)
      ? []
      : [`in steps of ${multipleOf}`]),
  ];
  return [node.type === 'integer' ? 'a whole number' : 'a number', ...bounds].join(' ');
}
