/**
 * The panel product of one chip on a GPU, in WGSL: what kernels/panel.ts does with source `cells` and a batch, for all panels
 * of a matrix in one dispatch.
 *
 *   for cell: for tile:
 *     w_r[row][16] = the chip's weights of the codes             (engine/cell-format.ts, bit for bit)
 *     raw = sum_r sum_k w_r x_r, current = sum_k |w_0| m         (integers, exact)
 *     y += convert(raw, current)                                 (wasm/kernels/adc.ts)
 *
 * A workgroup has 16 columns and GROUP_TOKENS tokens, TOKENS of them a thread. It makes the weights of CHUNK quads at a time in
 * its own memory, once for all its tokens, and every thread then multiplies them with its tokens' inputs, four rows at a
 * time by dot4I8Packed. Inputs are signed bytes there: the offset of 64 that WebAssembly's product needs is not added.
 *
 * Layouts are those of the WebAssembly engine (panel-job.ts) but for the inputs, which stand token by token so that
 * neighbouring threads read neighbouring words: x [tile][plane][rank][quad][token], then magnitudes [tile][quad][token].
 *
 * Integers are those of the reference. Of f32 WGSL promises only that + - * round correctly one by one: a driver may fuse
 * a product and a sum, and its square root may miss by some units in the last place. So a conversion whose value lies that
 * close to the middle between two codes may give the other one (panel.test.ts counts them).
 */
import type { NoiseKind } from '../wasm/kernels/adc.ts';
import { normalCoefficients } from '../wasm/kernels/hash.ts';

/** Threads of a workgroup, and tokens of a thread. */
const THREADS = 256;
const TOKENS = 2;
export const GROUP_TOKENS = THREADS * TOKENS;
const PANEL_VECTORS = 4;
/** Memory of a workgroup that every WebGPU device has. */
const WORKGROUP_BYTES = 16384;
const QUAD_BYTES = 64;

export interface PanelVariant {
  readonly rank: number;
  readonly planes: 1 | 2;
  readonly noise: NoiseKind;
  readonly float: boolean;
}

/** Words of the job, in this order; `Job` in the text below. */
export const JOB_FIELDS = [
  'cells',
  'tiles',
  'quads', // of a tile
  'lastQuads', // of a cell's last tile
  'count', // tokens
  'stride', // tokens as they are stored: whole groups
  'outputs', // columns of a cell
  'columnCells', // columns of a row: outputs * cells
  'tileRows', // rows of a tile
  'ladderColumns',
  'laddersPerCell',
  'rowsOfLadder', // padded rows of all tiles
  'keyA',
  'keyB',
  'linear',
  'cubic',
  'top',
  'p0',
  'p1',
  'p2',
  'p3',
  'p4',
  'squarings',
  'baseBits',
  'limit',
] as const;
export type JobField = (typeof JOB_FIELDS)[number];
/** Words before the tables by tap: slope, curve, bend, beta and a base for each rank, eight words each. */
export const JOB_WORDS = Math.ceil(JOB_FIELDS.length / 4) * 4;

/** Quads whose weights fit a workgroup's memory beside one another: of all ranks, and magnitudes where noise needs them. */
export function chunkQuads({ rank, noise }: PanelVariant): number {
  const parts = rank + (noise === 'product' ? 1 : 0);
  return Math.min(64, Math.floor(WORKGROUP_BYTES / (parts * QUAD_BYTES)));
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const lines = (items: readonly string[]): string => items.join('\n');

/** The text of a variant. */
export function panelShader(variant: PanelVariant): string {
  const { rank, noise } = variant;
  const chunk = chunkQuads(variant);
  const current = noise === 'product';
  return `
struct Job {
${lines(JOB_FIELDS.map((name) => `  ${name}: i32,`))}
${lines(range(JOB_WORDS - JOB_FIELDS.length).map((i) => `  pad${i}: i32,`))}
  slope: array<vec4<i32>, 2>,
  curve: array<vec4<i32>, 2>,
  bend: array<vec4<i32>, 2>,
  beta: array<vec4<i32>, 2>,
  base: array<array<vec4<i32>, 2>, ${rank}>,
}
@group(0) @binding(0) var<uniform> job: Job;
// [panel][cell][tile][quad][8]: see wasm/kernels/prepare.ts
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> inputs: array<u32>;
// [ladder][row][4]: pairs of 16-bit entries by tap
@group(0) @binding(3) var<storage, read> rows: array<u32>;
// [panel][cell][tile][zero, gain, offset, scale][4 vectors]; zero is for unsigned inputs
@group(0) @binding(4) var<storage, read> columns: array<vec4<f32>>;
// [cell][tile][token][2]: TOKEN of adc.ts
@group(0) @binding(5) var<storage, read> tokens: array<vec4<u32>>;
// [cell][tile][2]: TILE of adc.ts
@group(0) @binding(6) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> clipped: atomic<u32>;

var<workgroup> weights: array<vec4<u32>, ${rank * chunk * PANEL_VECTORS}>;
${current ? `var<workgroup> sizes: array<vec4<u32>, ${chunk * PANEL_VECTORS}>;` : ''}

fn q15(a: i32, b: i32) -> i32 { return (a * b + 0x4000) >> 15u; }
fn wrap(x: i32) -> i32 { return (x << 16u) >> 16u; }
fn saturate16(x: i32) -> i32 { return clamp(x, -32768, 32767); }

fn hash(counter: u32, a: u32, b: u32) -> u32 {
  var h = counter + a;
  h = ((h ^ (h >> 16u)) * 0x7feb352du) ^ b;
  h = (h ^ (h >> 15u)) * 0x846ca68bu;
  return h ^ (h >> 16u);
}
fn signedByte(bits: u32, at: u32) -> i32 { return extractBits(bitcast<i32>(bits), 8u * at, 8u); }

// E of engine/cell-format.ts: the gain of a cell with these bits on a row with this entry for its tap.
fn cellGain(tap: u32, bits: u32, row: i32) -> i32 {
  let low = signedByte(bits, 0u) + signedByte(bits, 1u);
  let high = signedByte(bits, 2u) + signedByte(bits, 3u);
  let x = (low + high + 2) << 6u;
  let z = q15(x, job.linear + q15(q15(x, x), job.cubic));
  let v = saturate16(row - z);
  let word = tap >> 2u;
  let lane = tap & 3u;
  let second = wrap(job.curve[word][lane] + q15(v, job.bend[word][lane]));
  let first = wrap(job.slope[word][lane] + q15(v, second));
  let u = min(saturate16(q15(v, first) + q15((low - high) << 6u, job.beta[word][lane])), job.top);
  var gain = job.p4;
  gain = wrap(job.p3 + q15(u, gain));
  gain = wrap(job.p2 + q15(u, gain));
  gain = wrap(job.p1 + q15(u, gain));
  gain = wrap(job.p0 + q15(u, gain));
  for (var i = 0; i < job.squarings; i++) { gain = q15(gain, gain); }
  return gain;
}

// Weights of one column and four rows, by rank.
fn makeColumn(codeWord: u32, high: bool, rowAt: u32, index: u32) -> array<u32, ${rank}> {
  var packed = array<u32, ${rank}>();
  for (var j = 0u; j < 4u; j++) {
    let code = extractBits(bitcast<i32>(codeWord), 8u * j + select(0u, 4u, high), 4u);
    let tap = u32(abs(code));
    let pair = bitcast<i32>(rows[(rowAt + j) * 4u + (tap >> 1u)]);
    let row = select(wrap(pair), pair >> 16u, (tap & 1u) == 1u);
    let gain = cellGain(tap, hash(index + j * u32(job.columnCells), bitcast<u32>(job.keyA), bitcast<u32>(job.keyB)), row);
    for (var r = 0u; r < ${rank}u; r++) {
      let product = q15(gain, job.base[r][tap >> 2u][tap & 3u]);
      let size = clamp((product + (1 << u32(job.baseBits - 1))) >> u32(job.baseBits), -job.limit, job.limit);
      packed[r] |= (bitcast<u32>(sign(code) * size) & 0xffu) << (8u * j);
    }
  }
  return packed;
}

// Of four columns into the workgroup's memory: a thread writes whole vectors.
fn makeQuad(codesAt: u32, high: bool, rowAt: u32, index: u32, to: u32) {
  let c0 = makeColumn(codes[codesAt], high, rowAt, index);
  let c1 = makeColumn(codes[codesAt + 1u], high, rowAt, index + 1u);
  let c2 = makeColumn(codes[codesAt + 2u], high, rowAt, index + 2u);
  let c3 = makeColumn(codes[codesAt + 3u], high, rowAt, index + 3u);
  for (var r = 0u; r < ${rank}u; r++) { weights[r * ${4 * chunk}u + to] = vec4(c0[r], c1[r], c2[r], c3[r]); }
${
  current
    ? `  let leading = vec4(c0[0], c1[0], c2[0], c3[0]);
  let negative = (leading >> vec4(7u)) & vec4(0x01010101u);
  sizes[to] = (leading ^ (negative * 255u)) + negative;`
    : ''
}
}

fn dots(w: vec4<u32>, x: u32) -> vec4<i32> {
  return vec4(dot4I8Packed(w.x, x), dot4I8Packed(w.y, x), dot4I8Packed(w.z, x), dot4I8Packed(w.w, x));
}

${noise === 'off' ? '' : normalsText()}
@compute @workgroup_size(${THREADS})
fn panel(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
${lines(body(variant, chunk).map((line) => `  ${line}`))}
}
`;
}

/** Standard normals of four columns: wasm/kernels/hash.ts. */
function normalsText(): string {
  const [linear, cubic] = normalCoefficients().map(Math.fround);
  return `
fn normals(column: u32, a: u32, b: u32) -> vec4<f32> {
  var sums: vec4<f32>;
  for (var i = 0u; i < 4u; i++) {
    let bits = hash(column + i, a, b);
    sums[i] = f32(signedByte(bits, 0u) + signedByte(bits, 1u) + signedByte(bits, 2u) + signedByte(bits, 3u) + 2);
  }
  return sums * (${linear}f + (sums * sums) * ${cubic}f);
}
`;
}

function body(variant: PanelVariant, chunk: number): string[] {
  const { rank, planes, noise } = variant;
  const current = noise === 'product';
  const each = (make: (t: number, n: number) => string) =>
    range(TOKENS).flatMap((t) => range(PANEL_VECTORS).map((n) => make(t, n)));
  return [
    'let panel = group.x;',
    ...range(TOKENS).map((t) => `let token${t} = group.y * ${GROUP_TOKENS}u + ${t * THREADS}u + thread;`),
    ...each((t, n) => `var y${t}${n} = vec4<f32>();`),
    'var clips = 0u;',
    'let quads = u32(job.quads);',
    'let stride = u32(job.stride);',
    'let tileCount = u32(job.tiles);',
    'let panelQuads = u32(job.cells) * ((tileCount - 1u) * quads + u32(job.lastQuads));',
    'var codesAt = panel * panelQuads * 8u;',
    `let magnitudesAt = ${planes * rank}u * ((tileCount - 1u) * quads + u32(job.lastQuads)) * stride;`,
    'for (var cell = 0u; cell < u32(job.cells); cell++) {',
    '  let column = cell * u32(job.outputs) + panel * 16u;',
    '  let ladder = cell * u32(job.laddersPerCell) + panel * 16u / u32(job.ladderColumns);',
    '  var rowAt = ladder * u32(job.rowsOfLadder);',
    '  for (var tile = 0u; tile < tileCount; tile++) {',
    '    let virtualTile = cell * tileCount + tile;',
    '    let tileQuads = select(quads, u32(job.lastQuads), tile + 1u == tileCount);',
    `    let x = ${planes * rank}u * tile * quads * stride;`,
    ...each((t, n) => `    var raw${t}${n} = vec4<i32>();`),
    ...(current ? each((t, n) => `    var current${t}${n} = vec4<i32>();`) : []),
    `    for (var first = 0u; first < tileQuads; first += ${chunk}u) {`,
    `      let some = min(${chunk}u, tileQuads - first);`,
    '      workgroupBarrier();',
    `      for (var i = thread; i < some * ${PANEL_VECTORS}u; i += ${THREADS}u) {`,
    '        let row = first * 4u + (i & ~3u);',
    '        let v = i & 3u;',
    '        let words = codesAt + row * 2u + (v >> 1u) * 4u;',
    '        let index = (tile * u32(job.tileRows) + row) * u32(job.columnCells) + column + v * 4u;',
    '        makeQuad(words, (v & 1u) == 1u, rowAt + row, index, i);',
    '      }',
    '      workgroupBarrier();',
    '      for (var quad = 0u; quad < some; quad++) {',
    ...product(variant, chunk, each).map((line) => `        ${line}`),
    '      }',
    '    }',
    '    codesAt += tileQuads * 8u;',
    '    rowAt += tileQuads * 4u;',
    ...epilogue(variant, each).map((line) => `    ${line}`),
    '  }',
    '}',
    ...range(TOKENS).flatMap((t) => [
      `if (token${t} < u32(job.count)) {`,
      `  let at = (token${t} * u32(job.outputs) + panel * 16u) / 4u;`,
      ...range(PANEL_VECTORS).map((n) => `  y[at + ${n}u] = y${t}${n};`),
      '}',
    ]),
    'if (clips > 0u) { atomicAdd(&clipped, clips); }',
  ];
}

type Each = (make: (t: number, n: number) => string) => string[];

/** One quad of the chunk times the inputs of the thread's tokens. */
function product({ rank, planes, noise }: PanelVariant, chunk: number, each: Each): string[] {
  const ranks = range(rank).flatMap((r) => [
    '{',
    ...range(PANEL_VECTORS).map((n) => `  let w${n} = weights[(${r * chunk}u + quad) * 4u + ${n}u];`),
    ...range(TOKENS).flatMap((t) =>
      range(planes).map(
        (p) =>
          `  let x${t}${p} = inputs[x + (${p * rank + r}u * tileQuads + first + quad) * stride + token${t}];`,
      ),
    ),
    ...each((t, n) =>
      planes === 1
        ? `  raw${t}${n} += dots(w${n}, x${t}0);`
        : `  raw${t}${n} += dots(w${n}, x${t}0) * 128 + dots(w${n}, x${t}1);`,
    ),
    '}',
  ]);
  if (noise !== 'product') return ranks;
  return [
    ...ranks,
    ...range(TOKENS).map(
      (t) => `let m${t} = inputs[magnitudesAt + (tile * quads + first + quad) * stride + token${t}];`,
    ),
    ...each((t, n) => `current${t}${n} += dots(sizes[quad * 4u + ${n}u], m${t});`),
  ];
}

/** wasm/kernels/adc.ts, `convert`, of one tile and the thread's tokens. */
function epilogue({ noise, float }: PanelVariant, each: Each): string[] {
  const noisy = noise !== 'off';
  return [
    'let columnsAt = ((panel * u32(job.cells) + cell) * tileCount + tile) * 16u;',
    'let tileAt = tiles[2u * virtualTile];',
    'let top = bitcast<f32>(tileAt.w);',
    ...(noisy
      ? [
          ...range(PANEL_VECTORS).map(
            (n) => `let slow${n} = normals(column + ${4 * n}u, tileAt.x, tileAt.y);`,
          ),
        ]
      : []),
    ...range(TOKENS).flatMap((t) => [
      // Tokens beyond the last read the last one's numbers; their results are not stored.
      `let live${t} = token${t} < u32(job.count);`,
      `let tokenAt${t} = 2u * (virtualTile * u32(job.count) + min(token${t}, u32(job.count) - 1u));`,
      `let first${t} = tokens[tokenAt${t}];`,
      `let second${t} = tokens[tokenAt${t} + 1u];`,
    ]),
    ...each((t, n) =>
      lines([
        '{',
        `  let gain = columns[columnsAt + ${4 + n}u] * bitcast<f32>(first${t}.z);`,
        `  var value = vec4<f32>(raw${t}${n}) * gain + columns[columnsAt + ${8 + n}u];`,
        ...(noisy
          ? [
              `  let z = normals(column + ${4 * n}u, first${t}.x, first${t}.y) + slow${n} * bitcast<f32>(second${t}.y);`,
              noise === 'product'
                ? `  value += z * sqrt(vec4<f32>(current${t}${n}) * bitcast<f32>(tileAt.z) + bitcast<f32>(second${t}.x));`
                : `  value += z * bitcast<f32>(second${t}.z);`,
            ]
          : []),
        ...(float
          ? []
          : [
              '  let code = round(value);',
              '  value = clamp(code, vec4<f32>(-top), vec4<f32>(top));',
              `  if (live${t}) { clips += dot(vec4<u32>(code != value), vec4<u32>(1u)); }`,
            ]),
        `  y${t}${n} += value * (columns[columnsAt + ${12 + n}u] * bitcast<f32>(first${t}.w));`,
        '}',
      ]),
    ),
  ];
}
