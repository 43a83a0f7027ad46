/** The physics of the components, by hand. */
import { describe, expect, it } from 'vitest';
import { LLAMA_3_1_8B } from '../../model/shapes.ts';
import { EXAMPLE_DESIGN } from '../../testing/activity.ts';
import { loadCostConstants } from '../constants.ts';
import { planFloor } from '../floorplan.ts';
import { costLine } from '../lines.ts';
import type { AreaPart, Silicon } from '../priced-design.ts';
import { currentEnergyJ } from './array.ts';
import { stepTimesS } from './columns.ts';
import { kvBytes, kvReadS, sramMm2, storedMacJ, vectorOpsPerToken } from './digital.ts';
import { mapping, mappingCounts } from './mapping.ts';
import { ladderDuty, ladderUm2, switchedEnergyJ } from './row-drivers.ts';
import { clockJ, gatedLeakageJ, leakageW, railLines, regulatorLossShare } from './static.ts';

const constants = loadCostConstants('planar32lp');

describe('array and row drivers', () => {
  it('a current takes I V t, a swing takes C dV V from the supply', () => {
    // 1 A at 0.8 V for 100 ns; 1 nF by 0.3 V from 0.8 V.
    expect(currentEnergyJ(1, 0.8, 100e-9)).toBeCloseTo(80e-9, 18);
    expect(switchedEnergyJ(1e-9, 0.3, 0.8)).toBeCloseTo(0.24e-9, 18);
  });

  it('a ladder is on for its own step at least, and never more than always', () => {
    // A step of 300 ns in a token of 100 us is 1/333 of it.
    expect(ladderDuty(1 / 32, 300e-9, 100e-6)).toBe(1 / 32);
    expect(ladderDuty(0, 300e-9, 100e-6)).toBeCloseTo(0.003, 12);
    expect(ladderDuty(0.5, 300e-9, 200e-9)).toBe(1);
  });

  it('seven resistors and a bias device are eight parts, three and one are four', () => {
    expect(ladderUm2(2, 7)).toBe(2);
    expect(ladderUm2(2, 3)).toBe(1);
  });
});

describe('mapping', () => {
  const none = { centred: false, rotatedOnline: false, residualRotated: false, side: 0, principal: 0 };
  it('counts of Llama 3.1 8B: 2.2 million means and addends, 42 million weights of rank 16, 0.52 million additions a transform', () => {
    expect(mappingCounts(LLAMA_3_1_8B, none)).toEqual({
      additions: 0,
      macs: 0,
      constants: 0,
      pathWeights: 0,
    });
    // A block: inputs 4096 + 4096 + 4096 + 14336, outputs 6144 + 4096 + 28672 + 4096.
    const { constants: numbers, additions } = mappingCounts(LLAMA_3_1_8B, { ...none, centred: true });
    expect(numbers).toBe(32 * (26_624 + 43_008));
    expect(additions).toBe(numbers);
    const { macs, pathWeights } = mappingCounts(LLAMA_3_1_8B, { ...none, side: 16 });
    expect(pathWeights).toBe(32 * 16 * (3 * 4096 + 4096 + 2 * 4096 + 14_336 + 43_008));
    expect(macs).toBe(pathWeights);
    const { additions: butterflies } = mappingCounts(LLAMA_3_1_8B, { ...none, rotatedOnline: true });
    // 14336 = 28 x 512.
    expect(butterflies / 32).toBe(14_336 * (9 + 27));
  });

  it('nothing is priced where nothing is done', () => {
    const system = { shape: LLAMA_3_1_8B, constants, contextTokens: 1024 };
    expect(mapping(none).area!(system)).toEqual([]);
    const [additions, paths] = mapping({ ...none, centred: true, principal: 4 }).energy!({
      ...system,
      area: [],
      areaMm2: 1,
      dies: 1,
      floorplan: planFloor(
        [{ name: 'cells', value: 1, formula: '', source: '', tag: 'chosen' }],
        32,
        1,
        0.787879,
      ),
      tokenTimeS: 1,
    });
    expect(additions.name).toBe('mapping-additions');
    // 4 (2 x 26624 + 43008) products a block.
    expect(paths.value).toBeCloseTo(32 * 4 * (2 * 26_624 + 43_008) * storedMacJ(0.1e-12, 1.03e-12, 8), 12);
  });
});

describe('columns', () => {
  it('a step is phases x (settle + integrate) and the shared conversions', () => {
    // Two phases of 50 + 100 ns, then 16 columns at 100 MS/s.
    const { settleS, integrateS, convertS, stepS } = stepTimesS(EXAMPLE_DESIGN, 100e6);
    expect([settleS, integrateS, convertS].map((s) => Math.round(s * 1e9))).toEqual([100, 200, 160]);
    expect(stepS).toBeCloseTo(460e-9, 15);
    // Two conversions, and one phase.
    expect(stepTimesS({ ...EXAMPLE_DESIGN, sign: 'two-conversion' }, 100e6).stepS).toBeCloseTo(620e-9, 15);
    expect(stepTimesS({ ...EXAMPLE_DESIGN, sign: 'paired-rows' }, 100e6).stepS).toBeCloseTo(310e-9, 15);
  });
});

describe('digital units', () => {
  it('the cache of Llama 3.1 8B: 128 MiB at 1k and 16 bit, read in 512 cycles of small macros', () => {
    const bytes = kvBytes(LLAMA_3_1_8B, 16, 1024);
    expect(bytes).toBe(128 * 2 ** 20);
    // 4 MiB a layer in 256 macros of 16 KiB, each through 32 B a cycle: 512 cycles of 1 ns.
    const read = kvReadS(bytes / 32, 16384, 32, 1e9);
    expect(read.macros).toBe(256);
    expect(read.seconds).toBeCloseTo(512e-9, 15);
    // 2^30 cells of 0.027 um2 at 65 %.
    expect(sramMm2(bytes, constants)).toBeCloseTo((2 ** 30 * 0.027) / 0.65 / 1e6, 9);
  });

  it('a product with 8 stored bits: 51 fJ and one byte at 80 fJ', () => {
    expect(storedMacJ(51e-15, 80e-15, 8)).toBeCloseTo(131e-15, 20);
    expect(storedMacJ(51e-15, 80e-15, 4)).toBeCloseTo(91e-15, 20);
  });

  it('operations of the vector units of Llama 3.1 8B at 1,024 tokens', () => {
    // 65 norms x 4096 x 3, 40 heads x 128 x 3, softmax 32 x 1024 x 4, 14336 x 5, residuals 2 x 4096, in 32 layers.
    const perLayer = 40 * 128 * 3 + 32 * 1024 * 4 + 14336 * 5 + 2 * 4096;
    expect(vectorOpsPerToken(LLAMA_3_1_8B, 1024)).toBe(65 * 4096 * 3 + 32 * perLayer);
  });
});

describe('static parts', () => {
  const part = (silicon: Silicon, mm2: number, onS?: number): AreaPart => ({
    line: costLine('x', mm2, '1', []),
    silicon,
    ...(onS === undefined ? {} : { onS }),
  });
  // 30 K above the reference at twice every 17.7 K.
  const warm = 2 ** (30 / 17.7);

  it('each kind of silicon leaks by its area and temperature, cells and capacitors are counted elsewhere', () => {
    expect(leakageW([part('passive', 1e6)], constants)).toBe(0);
    const parts = [part('logic', 100), part('sram', 200)];
    expect(leakageW(parts, constants)).toBeCloseTo((100 * 0.006 + 200 * 0.0005) * warm, 12);
  });

  it('a gated block leaks 3 % always, the rest while it is on, and charges its supply once', () => {
    const parts = [part('logic', 100, 1e-6)];
    expect(leakageW(parts, constants)).toBeCloseTo(0.03 * 0.6 * warm, 12);
    expect(gatedLeakageJ(parts, constants)).toBeCloseTo(0.97 * 0.6 * warm * 1e-6, 15);
    expect(railLines(parts, constants)[0].value).toBeCloseTo(100 * 1e-9 * 0.75 ** 2, 15);
    expect(railLines([part('logic', 100)], constants)).toEqual([]);
  });

  it('a clock of 30 % of the whole is 3/7 of what it clocks', () => {
    expect(clockJ(7, 0.3)).toBeCloseTo(3, 12);
  });

  it('88 % efficiency loses 0.136 J for each joule behind the regulator', () => {
    expect(regulatorLossShare(constants)).toBeCloseTo(0.1364, 4);
  });
});
