/**
 * A small typed emitter of WebAssembly text: expressions are strings branded with their value type, functions are
 * built by appending statements. It does nothing clever; what it emits is what stands in the kernel's source.
 *
 * A module has three memories: `state` (index 0: activations, scratch, results), `weights` (1), and `tables` (2: what the
 * columns of the weights have on one chip).
 */
export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
/** An expression of WebAssembly text that yields a value of type T. */
export type Expr<T extends ValueType> = string & { readonly type?: T };
export type I32 = Expr<'i32'>;
export type F32 = Expr<'f32'>;
export type V128 = Expr<'v128'>;

export type Memory = 'state' | 'weights' | 'tables';

export interface Local<T extends ValueType> {
  readonly name: string;
  readonly type: T;
  readonly get: Expr<T>;
}

/** One instruction with folded operands. */
function op<T extends ValueType>(name: string, ...operands: readonly (string | number)[]): Expr<T> {
  return `(${name}${operands.map((x) => ` ${x}`).join('')})` as Expr<T>;
}

const asI32 = (x: I32 | number): I32 => (typeof x === 'number' ? (`(i32.const ${x | 0})` as I32) : x);

const binary =
  <T extends ValueType, R extends ValueType = T>(name: string) =>
  (a: Expr<T>, b: Expr<T>): Expr<R> =>
    op<R>(name, a, b);
const unary =
  <T extends ValueType, R extends ValueType = T>(name: string) =>
  (a: Expr<T>): Expr<R> =>
    op<R>(name, a);
const integer = (name: string) => (a: I32, b: I32 | number) => op<'i32'>(name, a, asI32(b));
const shift = (name: string) => (a: V128, bits: number) => op<'v128'>(name, a, asI32(bits));

export const i32 = {
  of: asI32,
  add: integer('i32.add'),
  sub: integer('i32.sub'),
  mul: integer('i32.mul'),
  divU: integer('i32.div_u'),
  and: integer('i32.and'),
  or: integer('i32.or'),
  xor: integer('i32.xor'),
  shl: integer('i32.shl'),
  shrU: integer('i32.shr_u'),
  countOnes: unary<'i32'>('i32.popcnt'),
  eq: integer('i32.eq'),
  lessThan: integer('i32.lt_s'),
  greaterOrEqual: integer('i32.ge_s'),
};

export const f32 = {
  of: (x: number): F32 => op('f32.const', Number.isFinite(x) ? Math.fround(x) : x < 0 ? '-inf' : 'inf'),
  add: binary<'f32'>('f32.add'),
  sub: binary<'f32'>('f32.sub'),
  mul: binary<'f32'>('f32.mul'),
  div: binary<'f32'>('f32.div'),
  max: binary<'f32'>('f32.max'),
  sqrt: unary<'f32'>('f32.sqrt'),
  ofI32: unary<'i32', 'f32'>('f32.convert_i32_s'),
};

const lanes = (shape: string) => ({
  splat: (x: number): V128 => {
    const value = shape.startsWith('f') ? (Number.isFinite(x) ? Math.fround(x) : x < 0 ? '-inf' : 'inf') : x;
    return op('v128.const', shape, ...Array<string | number>(Number(shape.split('x')[1])).fill(value));
  },
  add: binary<'v128'>(`${shape}.add`),
  sub: binary<'v128'>(`${shape}.sub`),
});
const arithmetic = (shape: string) => ({ ...lanes(shape), mul: binary<'v128'>(`${shape}.mul`) });

export const i8x16 = {
  ...lanes('i8x16'),
  abs: unary<'v128'>('i8x16.abs'),
  swizzle: binary<'v128'>('i8x16.swizzle'),
  extendLow: unary<'v128'>('i16x8.extend_low_i8x16_s'),
  extendHigh: unary<'v128'>('i16x8.extend_high_i8x16_s'),
  /** Two vectors of i16 to one of i8, saturating. */
  narrow: binary<'v128'>('i8x16.narrow_i16x8_s'),
  greater: binary<'v128'>('i8x16.gt_s'),
  min: binary<'v128'>('i8x16.min_s'),
  max: binary<'v128'>('i8x16.max_s'),
  /** The top bits of the 16 bytes. */
  bitmask: unary<'v128', 'i32'>('i8x16.bitmask'),
  /** Byte i of the result is byte pattern[i] of a (0..15) or b (16..31). */
  shuffle: (a: V128, b: V128, pattern: readonly number[]): V128 => op('i8x16.shuffle', ...pattern, a, b),
};
export const i16x8 = {
  ...arithmetic('i16x8'),
  shl: shift('i16x8.shl'),
  shrU: shift('i16x8.shr_u'),
  shrS: shift('i16x8.shr_s'),
  min: binary<'v128'>('i16x8.min_s'),
  addSaturated: binary<'v128'>('i16x8.add_sat_s'),
  subSaturated: binary<'v128'>('i16x8.sub_sat_s'),
  /** round(a b / 2^15), saturating. */
  q15Mul: binary<'v128'>('i16x8.q15mulr_sat_s'),
  narrow: binary<'v128'>('i16x8.narrow_i32x4_s'),
  equal: binary<'v128'>('i16x8.eq'),
  addPairsOfBytes: unary<'v128'>('i16x8.extadd_pairwise_i8x16_s'),
  addPairsOfBytesU: unary<'v128'>('i16x8.extadd_pairwise_i8x16_u'),
  extendLowU8: unary<'v128'>('i16x8.extend_low_i8x16_u'),
  extendHighU8: unary<'v128'>('i16x8.extend_high_i8x16_u'),
  dot: binary<'v128'>('i32x4.dot_i16x8_s'),
};
export const i32x4 = {
  ...arithmetic('i32x4'),
  splatOf: unary<'i32', 'v128'>('i32x4.splat'),
  shl: shift('i32x4.shl'),
  shrU: shift('i32x4.shr_u'),
  shrS: shift('i32x4.shr_s'),
  extract: (a: V128, lane: number): I32 => op('i32x4.extract_lane', lane, a),
  ofF32: unary<'v128'>('i32x4.trunc_sat_f32x4_s'),
  extendLowU16: unary<'v128'>('i32x4.extend_low_i16x8_u'),
  addPairsU: unary<'v128'>('i32x4.extadd_pairwise_i16x8_u'),
  greater: binary<'v128'>('i32x4.gt_s'),
};
export const f32x4 = {
  ...arithmetic('f32x4'),
  splatOf: unary<'f32', 'v128'>('f32x4.splat'),
  div: binary<'v128'>('f32x4.div'),
  sqrt: unary<'v128'>('f32x4.sqrt'),
  abs: unary<'v128'>('f32x4.abs'),
  neg: unary<'v128'>('f32x4.neg'),
  min: binary<'v128'>('f32x4.min'),
  max: binary<'v128'>('f32x4.max'),
  /** b < a ? b : a, one instruction on x86; operands must not be NaN. */
  pmin: binary<'v128'>('f32x4.pmin'),
  pmax: binary<'v128'>('f32x4.pmax'),
  nearest: unary<'v128'>('f32x4.nearest'),
  floor: unary<'v128'>('f32x4.floor'),
  ofI32: unary<'v128'>('f32x4.convert_i32x4_s'),
  ofU32: unary<'v128'>('f32x4.convert_i32x4_u'),
  extract: (a: V128, lane: number): F32 => op('f32x4.extract_lane', lane, a),
  less: binary<'v128'>('f32x4.lt'),
  greater: binary<'v128'>('f32x4.gt'),
  notEqual: binary<'v128'>('f32x4.ne'),
};
export const v128 = {
  and: binary<'v128'>('v128.and'),
  or: binary<'v128'>('v128.or'),
  xor: binary<'v128'>('v128.xor'),
  /** a & ~b */
  andNot: binary<'v128'>('v128.andnot'),
  /** 1 where any bit is set, else 0. */
  anyTrue: unary<'v128', 'i32'>('v128.any_true'),
  select: (a: V128, b: V128, mask: V128): V128 => op('v128.bitselect', a, b, mask),
  zero: 'v128.const i32x4 0 0 0 0'.replace(/^.*$/, '($&)') as V128,
};

const place = (memory: Memory, offset: number) =>
  `${memory === 'state' ? '' : ` $${memory}`}${offset ? ` offset=${offset}` : ''}`;
const loader =
  <T extends ValueType>(name: string) =>
  (at: I32, offset = 0, memory: Memory = 'state'): Expr<T> =>
    op<T>(`${name}${place(memory, offset)}`, at);
const storer =
  (name: string) =>
  (at: I32, value: string, offset = 0, memory: Memory = 'state'): string =>
    op(`${name}${place(memory, offset)}`, at, value);
export const load = {
  v128: loader<'v128'>('v128.load'),
  i32: loader<'i32'>('i32.load'),
  i16: loader<'i32'>('i32.load16_s'),
  f32: loader<'f32'>('f32.load'),
  splat32: loader<'v128'>('v128.load32_splat'),
  /** Four u16 to four i32. */
  u16x4: loader<'v128'>('v128.load16x4_u'),
  i16x4: loader<'v128'>('v128.load16x4_s'),
  /** Eight i8 to eight i16. */
  i8x8: loader<'v128'>('v128.load8x8_s'),
  lane32: (at: I32, into: V128, lane: number, memory: Memory = 'state'): V128 =>
    op(`v128.load32_lane${place(memory, 0)} ${lane}`, at, into),
};
export const store = {
  v128: storer('v128.store'),
  i32: storer('i32.store'),
  f32: storer('f32.store'),
  i16: storer('i32.store16'),
  /** The low 64 bits. */
  low64: (at: I32, value: V128, offset = 0): string =>
    op(`v128.store64_lane${place('state', offset)} 0`, at, value),
  low32: (at: I32, value: V128, offset = 0): string =>
    op(`v128.store32_lane${place('state', offset)} 0`, at, value),
  lane32: (at: I32, value: V128, lane: number): string => op(`v128.store32_lane ${lane}`, at, value),
};

/** A function under construction. */
export interface Body {
  local<T extends ValueType>(type: T, name: string): Local<T>;
  locals<T extends ValueType>(type: T, name: string, count: number): Local<T>[];
  set<T extends ValueType>(local: Local<T>, value: Expr<T>): void;
  /** local += bytes or a value. */
  advance(local: Local<'i32'>, by: I32 | number): void;
  emit(statement: string): void;
  call(name: string, ...operands: readonly (I32 | number)[]): void;
  /** do { body } while (--counter): the counter must be at least 1. */
  countdown(counter: Local<'i32'>, body: () => void): void;
  /** if (condition) { then } else { otherwise } */
  when(condition: I32, then: () => void, otherwise?: () => void): void;
}

export interface WatFunction {
  readonly name: string;
  readonly text: string;
}

/** Defines an exported function with i32 parameters. */
export function define(
  name: string,
  parameters: readonly string[],
  build: (body: Body, ...parameters: Local<'i32'>[]) => void,
): WatFunction {
  const declarations: string[] = [];
  const statements: string[] = [];
  let labels = 0;
  const make = <T extends ValueType>(type: T, local: string): Local<T> => ({
    name: local,
    type,
    get: `(local.get $${local})` as Expr<T>,
  });
  const taken = new Set<string>(parameters);
  const body: Body = {
    local(type, wanted) {
      let unique = wanted;
      for (let i = 1; taken.has(unique); i++) unique = `${wanted}_${i}`;
      taken.add(unique);
      declarations.push(`(local $${unique} ${type})`);
      return make(type, unique);
    },
    locals: (type, wanted, count) =>
      Array.from({ length: count }, (_, i) => body.local(type, `${wanted}${i}`)),
    set(local, value) {
      statements.push(`(local.set $${local.name} ${value})`);
    },
    advance(local, by) {
      body.set(local, i32.add(local.get, by));
    },
    emit(statement) {
      statements.push(statement);
    },
    call(callee, ...operands) {
      statements.push(`(call $${callee} ${operands.map(asI32).join(' ')})`);
    },
    countdown(counter, inner) {
      const label = `$loop${labels++}`;
      statements.push(`(loop ${label}`);
      inner();
      statements.push(`(br_if ${label} (local.tee $${counter.name} ${i32.sub(counter.get, 1)})))`);
    },
    when(condition, then, otherwise) {
      statements.push(`(if ${condition} (then`);
      then();
      statements.push(otherwise ? ') (else' : '))');
      if (otherwise) {
        otherwise();
        statements.push('))');
      }
    },
  };
  build(body, ...parameters.map((parameter) => make('i32', parameter)));
  return {
    name,
    text: `(func $${name} (export "${name}") ${parameters.map((p) => `(param $${p} i32)`).join(' ')}
${declarations.join(' ')}
${statements.join('\n')})`,
  };
}

/** Parameters of a function by name. */
export type Parameters<P extends readonly string[]> = Readonly<Record<P[number], Local<'i32'>>>;
/** Operands of a call by the names of the parameters. */
export type Operands<P extends readonly string[]> = Readonly<Record<P[number], number>>;
/** A compiled function with such parameters. */
export type Kernel<P extends readonly string[]> = (...operands: { [K in keyof P]: number }) => void;

/** Defines an exported function whose parameters are found by name: for more of them than can be told apart by place. */
export function defineNamed<const P extends readonly string[]>(
  name: string,
  parameters: P,
  build: (body: Body, parameters: Parameters<P>) => void,
): WatFunction {
  return define(name, parameters, (f, ...locals) => {
    const byName = Object.fromEntries(parameters.map((parameter, i) => [parameter, locals[i]]));
    build(f, byName as Parameters<P>);
  });
}

/** Calls a compiled function of named parameters. */
export function invoke<const P extends readonly string[]>(
  kernel: Kernel<P>,
  parameters: P,
  operands: Operands<P>,
): void {
  const inOrder = parameters.map((name) => operands[name as P[number]]);
  kernel(...(inOrder as { [K in keyof P]: number }));
}

/** Emits a call of such a function. */
export function callNamed<const P extends readonly string[]>(
  f: Body,
  name: string,
  parameters: P,
  operands: Readonly<Record<P[number], I32>>,
): void {
  f.call(name, ...parameters.map((parameter) => operands[parameter as P[number]]));
}

/** The text of a module. It imports the state, and of the other memories those that its functions name: a module of one memory runs on more hosts. */
export function moduleText(functions: readonly WatFunction[]): string {
  const code = functions.map((f) => f.text).join('\n');
  const others = ['weights', 'tables']
    .filter((name) => code.includes(`$${name}`))
    .map((name) => `(import "engine" "${name}" (memory $${name} 1 65536 shared))\n`);
  return `(module
(import "engine" "state" (memory 1 65536 shared))
${others.join('')}${code})`;
}
