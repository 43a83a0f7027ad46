/**
 * Random functions in every shape that libraries write them in: the text with its calls kept and their spread set to zero
 * must give what the simulator itself gives for the text whose own spread is zero, to the last digit.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { createSpicePool } from './pool.ts';
import { drawnSubcircuit, nominalStatistics } from './statistics.ts';

const pool = createSpicePool({ threads: 1 });
afterAll(() => pool.close());

/** Current of what the lines put between node d, at 0.4 V, and ground. */
async function currentA(lines: string, rewritten: boolean): Promise<number> {
  const text = `t\n${lines}\nvd d 0 0.4\nvg g 0 0.4\n.op\n.end\n`;
  const { plots } = await pool.run({
    label: 'shape',
    netlist: rewritten ? nominalStatistics(text, true) : text,
    commands: ['run', 'write x.raw i(vd)'],
    outputs: [{ file: 'x.raw', plot: 'Operating Point', variables: ['i(vd)'], points: 1 }],
  });
  return plots[0].real.get('i(vd)')![0];
}

/** Name -> lines with the spread S; their nominal current, where it is a resistor's. */
const SHAPES: [string, string, number?][] = [
  ['a .param', '.param x = agauss(2, S, 3)\nr1 d 0 {x}', 0.2],
  ['in braces', '.param x={agauss(2,S,3)}\nr1 d 0 {x}', 0.2],
  [
    'after a braced term, as every process parameter of SKY130',
    '.param sw=1\n.param x = {1.0+sw*0.0} + sw*AGAUSS(1,S,1)\nr1 d 0 {x}',
    0.2,
  ],
  ['between braced terms', '.param x = {1.0} + agauss(0,S,1) + {1.0}\nr1 d 0 {x}', 0.2],
  ['in quotes', ".param x='1+gauss(1,S,3)'\nr1 d 0 'x'", 0.2],
  ['nested brackets', '.param a=1\n.param x={agauss(sqrt(4)*(a+0), S*(1+(a)), (3))}\nr1 d 0 {x}', 0.2],
  ['a random mean', '.param x={agauss(agauss(2,S,1), S, 3)}\nr1 d 0 {x}', 0.2],
  ['a random spread', '.param x={agauss(2, S*agauss(1,S,1), 3)}\nr1 d 0 {x}', 0.2],
  ['a continued call', '.param x = {agauss(\n+ 2,\n  + S, 3)}\nr1 d 0 {x}', 0.2],
  ['a comment inside a call', '.param x = {agauss( 2,\n* the spread, (in ohm\n+ S, 3)}\nr1 d 0 {x}', 0.2],
  [
    'calls in comments',
    '* agauss(0, S\n.param x=2 $ agauss(0,\n.param y=1 ; gauss(1,S,1)\nr1 d 0 {x*y}',
    0.2,
  ],
  ['upper and mixed case', '.PARAM X=AGauss(2, S , 3)\nR1 d 0 {X}', 0.2],
  ['several on a line', '.param x={agauss(1,S,3)} y={gauss(1,S,2)}\nr1 d 0 {x+y}', 0.2],
  ['the uniform ones', '.param x={unif(0.5,S)+aunif(0.5,S)+limit(1,S)}\nr1 d 0 {x}', 0.2],
  ['on an instance', 'r1 d 0 {agauss(2,S,3)}', 0.2],
  ['an argument of a subcircuit', '.subckt rr a b k=1\nr1 a b {k}\n.ends\nx1 d 0 rr k={agauss(2,S,3)}', 0.2],
  ['a default of a subcircuit', '.subckt rr a b k={agauss(2,S,3)}\nr1 a b {k}\n.ends\nx1 d 0 rr', 0.2],
  [
    'a .param of a subcircuit',
    '.subckt rr a b\n.param k={1+agauss(1,S,3)}\nr1 a b {k}\n.ends\nx1 d 0 rr',
    0.2,
  ],
  [
    'of the size of an instance, as the mismatch of SKY130',
    '.param sw=1\n.subckt rr a b\n.param w=1 l=1\nr1 a b {2+sw*AGAUSS(0,1.0,1)*(S/sqrt(l*w))}\n.ends\nx1 d 0 rr w=4 l=1',
  ],
  [
    'a parameter of a model',
    '.model n nmos level=14 version=4.8 vth0={0.3+agauss(0,S,3)}\nm1 d g 0 0 n w=1u l=1u',
  ],
  [
    'a continued parameter of a model in a subcircuit',
    '.subckt n d g s b w=1u l=1u\nm1 d g s b nm w={w} l={l}\n.model nm nmos level=14 version=4.8\n* mismatch\n+ vth0 = {0.3+agauss(0,S,1)}\n+ u0 = {0.04*gauss(1,S,3)}\n.ends\nx1 d g 0 0 n',
  ],
];

/** A name that the text defines is the text's own: nothing changes, whatever S. */
const OWN: [string, string, number][] = [
  [
    '.func limit of three',
    '.func limit(v,lo,hi) {min(max(v,lo),hi)}\n.param x={limit(9,S,2)}\nr1 d 0 {x}',
    0.2,
  ],
  ['.func limit of two', '.func LIMIT(v,k) {v*k}\n.param x={limit(40,S)}\nr1 d 0 {x}', 0.2],
  ['.func agauss', '.func agauss(m,d,s) {m+d*s}\n.param x={agauss(1.85,S,3)}\nr1 d 0 {x}', 0.2],
  [
    'a .func of one subcircuit',
    '.func half(x) {x/2}\n.subckt rr a b\n.func limit(x,a) {x*a}\nr1 a b {half(limit(80,S))}\n.ends\nx1 d 0 rr',
    0.2,
  ],
];

describe('spread at zero', () => {
  test.each(SHAPES)('%s', async (_, lines, nominalA) => {
    const own = await currentA(lines.replaceAll(/\bS\b/g, '0'), false);
    const spread = lines.replaceAll(/\bS\b/g, '0.05');
    expect(await currentA(spread, true)).toBe(own);
    if (nominalA !== undefined) expect(-own).toBeCloseTo(nominalA, 9);
    // Every line keeps its number: messages of the simulator name it.
    expect(nominalStatistics(spread).split('\n')).toHaveLength(spread.split('\n').length);
  });

  test.each(OWN)('%s is not random', async (_, lines, nominalA) => {
    const text = lines.replaceAll(/\bS\b/g, '0.05');
    expect(nominalStatistics(text)).toBe(text);
    expect(-(await currentA(text, true))).toBeCloseTo(nominalA, 9);
  });

  test('what ngspice says of a call of another shape is left to ngspice; a limiter keeps its bounds', () => {
    for (const text of [
      'b1 d 0 v=limit(v(a),0,1)',
      '.param x=agauss(1,2)',
      '.param x=@limit(1,2) y=w.unif(1,2)',
    ]) {
      expect(nominalStatistics(text)).toBe(text);
    }
  });

  test('commands of a .control section are not parameters', () => {
    const text = 't\n.control\ndefine agauss(m,d,s) (m + d/s*sgauss(0))\nlet x = agauss(1,2,3)\n.endc\n';
    expect(nominalStatistics(text, true)).toBe(text);
  });

  test('a text without random functions is left alone (property)', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom('a', '(', ')', ',', ' ', '\n', '+', '=', '1', '{', '}', '*', '$'),
        }),
        (text) => {
          expect(nominalStatistics(text)).toBe(text);
          const argument = text.replace(/[(){}\n,$*]/g, '');
          expect(nominalStatistics(`.param p={agauss(0,${argument},1)}`)).toBe('.param p={agauss(0,0,1)}');
        },
      ),
    );
  });
});

describe('drawn subcircuits', () => {
  const library =
    '.subckt n d g s b w=1\n+ l=1 ; ports\n* mis=agauss(0,9,9)\n.param v=agauss(0, sqrt(w*(l)), 1) k=gauss(1,0.1,3)\nm1 d g s b m\n.ends\n.param g=agauss(5,1,1)';

  test('calls keep their place, draws enter as parameters of the instance', () => {
    const { text, parameters } = drawnSubcircuit(library, 'N');
    expect(parameters).toEqual(['onefet_z0', 'onefet_z1']);
    expect(text).toContain('+ l=1 onefet_z0=0 onefet_z1=0 ; ports\n');
    expect(text).toContain('v=(agauss(0,0,1)+(sqrt(w*(l)))/(1)*onefet_z0)');
    expect(text).toContain('k=(gauss(1,0,3)*(1+(0.1)/(3)*onefet_z1))');
    expect(text).toContain('.param g=agauss(5,0,1)');
    expect(text).toContain('* mis=agauss(0,9,9)');
    expect(text.split('\n')).toHaveLength(library.split('\n').length);
  });

  test('what cannot be drawn is refused', () => {
    expect(() => drawnSubcircuit('.subckt n d\n.ends', 'n')).toThrow(/has no agauss/);
    expect(() => drawnSubcircuit('.subckt n d\n.param a=aunif(0,1)\n.ends', 'n')).toThrow(
      /is not a Gaussian/,
    );
    expect(() => drawnSubcircuit('.subckt nn d\n.ends', 'n')).toThrow(/no .subckt n /);
    expect(() => drawnSubcircuit('.subckt n d\n.param a=agauss(0,1,1)', 'n')).toThrow(/has no .ends/);
  });

  test('a draw of z moves the parameter by z d/s, also after a braced term', async () => {
    const sub = '.subckt rr a b\n.param k = {1.0} + agauss(1,0.3,3)\nr1 a b {k}\n.ends\n';
    const { text } = drawnSubcircuit(sub, 'rr');
    expect(-(await currentA(`${text}x1 d 0 rr onefet_z0=2`, false))).toBeCloseTo(0.4 / 2.2, 9);
    expect(-(await currentA(`${text}x1 d 0 rr`, false))).toBeCloseTo(0.2, 9);
  });
});
