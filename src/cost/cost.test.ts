import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { trackAreaUm2 } from '../cell/footprint.ts';
import { loadMultiplier } from '../cell/topology.ts';
import { formatSi } from '../format.ts';
import { LLAMA } from '../model/architecture.ts';
import { blockWeights } from '../model/shape.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { EXAMPLE_DESIGN, exampleActivity, priceRun, STORIES_260K } from '../testing/activity.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { rowOf } from '../tile/circuits.ts';
import { checkSwing } from '../tile/integrator.ts';
import { tilePhysics } from '../tile/physics.ts';
import { adcCost } from './adc.ts';
import { census } from './census.ts';
import { clampUm2 } from './components/columns.ts';
import { bufferUm2, ladderPowerW } from './components/row-drivers.ts';
import { loadCostConstants, parseCostConstants } from './constants.ts';
import { projectEconomics } from './economics.ts';
import { lineValue, sumLines } from './lines.ts';
import { shotNoiseBoundJ } from './log-domain.ts';
import { logDomainCostDesign, rowDriverCurrents } from './log-domain-design.ts';
import { projectActivity } from './project.ts';
import { dependentSteps, kvElementsPerToken, macPerToken } from './shape.ts';

const constants = loadCostConstants('planar32lp');

describe('reference case B: the ADC regression of the Accelergy plug-in', () => {
  it.each([
    { enob: 8, hz: 100e6, nm: 28, energyPj: 1.333, areaUm2: 3200 },
    { enob: 8, hz: 100e6, nm: 65, energyPj: 6.494, areaUm2: 11860 },
    { enob: 10, hz: 1e9, nm: 28, energyPj: 10.85, areaUm2: 9083 },
  ])('$enob bit, $hz S/s, $nm nm', ({ enob, hz, nm, energyPj, areaUm2 }) => {
    const cost = adcCost(enob, hz, nm);
    // The reference values have four digits.
    expect(Math.abs(cost.energyJ * 1e12 - energyPj) / energyPj).toBeLessThan(5e-4);
    expect(Math.abs(cost.areaUm2 - areaUm2) / areaUm2).toBeLessThan(5e-4);
  });

  it('refuses what the survey does not cover', () => {
    expect(() => adcCost(3, 1e8, 28)).toThrow(/enobBits = 3: it covers 4 to 14/);
    expect(() => adcCost(8, 1e8, 5)).toThrow(/technologyNm = 5/);
    expect(() => adcCost(8, Number.NaN, 28)).toThrow(/rateHz/);
  });
});

describe('reference case G: silicon', () => {
  it("Jia'20 ADC: CiMLoop's calibration of 0.275 on the regression and V^2 give the measured energies", () => {
    const regressionPj = adcCost(8, 1 / (54 * 25e-9), 65).energyJ * 1e12;
    // Measured 1.79 pJ at 0.85 V and 3.56 pJ at 1.2 V. Residuals 0.2 % and 0.0 %: rounding of the published scale.
    expect(regressionPj * 0.275).toBeCloseTo(1.79, 1);
    expect(Math.abs((regressionPj * 0.275) / 1.79 - 1)).toBeLessThan(0.005);
    expect(Math.abs((regressionPj * 0.275 * (1.2 / 0.85) ** 2) / 3.56 - 1)).toBeLessThan(0.005);
  });
  // The totals of Jia'20 and Wang'22 are of charge-domain SRAM macros (bit cells with capacitors, C-2C multipliers):
  // they have none of the ladders, clamps and currents that are costed here, so only their converter is a target.
});

describe('counts of Llama 3.1 8B', () => {
  it('7,504,658,432 MAC per token, 218,103,808 per layer, 65,536 cache elements, 129 steps', () => {
    expect(macPerToken(LLAMA_3_1_8B)).toBe(7_504_658_432);
    expect(blockWeights(LLAMA_3_1_8B) / 32).toBe(218_103_808);
    expect(kvElementsPerToken(LLAMA_3_1_8B)).toBe(65_536);
    expect(dependentSteps(LLAMA_3_1_8B)).toBe(129);
  });

  it('29.3 million conversions with 256-row tiles, 1.50 million with full columns; 44 uJ at 1.5 pJ', () => {
    const tiled = census(exampleActivity(LLAMA_3_1_8B, { head: true }), EXAMPLE_DESIGN);
    expect(tiled.adcConversions).toBe(29_315_072);
    expect(tiled.adcConversions * 1.5e-12).toBeCloseTo(44e-6, 6);
    const full = census(exampleActivity(LLAMA_3_1_8B, { tileRows: 14336, head: true }), EXAMPLE_DESIGN);
    expect(full.adcConversions / 1e6).toBeCloseTo(1.5, 1);
  });

  it('27.3 million ladders: 22 W always on, 0.7 W at a duty of 1/32', () => {
    const { ladders } = census(exampleActivity(LLAMA_3_1_8B), EXAMPLE_DESIGN);
    expect(ladders / 1e6).toBeCloseTo(27.26, 2);
    expect(ladderPowerW(ladders, 1e-6, 0.8, 1)).toBeCloseTo(21.8, 1);
    expect(ladderPowerW(ladders, 1e-6, 0.8, 1 / 32)).toBeCloseTo(0.68, 2);
  });
});

describe('formulas against hand arithmetic', () => {
  it('seven taps x three verticals at 40 nm are 0.034 um2', () => {
    expect(trackAreaUm2(7, 3, 40e-9)).toBeCloseTo(0.0336, 6);
  });

  it('minimum energy of a current-mode product: 0.11 fJ at 20 dB and 1.1 fJ at 30 dB (0.7 V, s^2 = 0.1)', () => {
    expect(shotNoiseBoundJ(0.7, 20, 0.1) * 1e15).toBeCloseTo(0.112, 3);
    expect(shotNoiseBoundJ(0.7, 30, 0.1) * 1e15).toBeCloseTo(1.12, 2);
  });

  it('prints prefixes without a carry between them', () => {
    expect(formatSi(999.96e-9, 'J')).toBe('1 µJ');
    expect(formatSi(1.333e-12, 'J')).toBe('1.33 pJ');
    expect(formatSi(0, 'W')).toBe('0 W');
  });
});

describe('priceRun', () => {
  const report = priceRun(exampleActivity(LLAMA_3_1_8B), LLAMA_3_1_8B, EXAMPLE_DESIGN, constants, {
    contextTokens: 1024,
  });

  it('array energy is current x supply x time of the current that was counted', () => {
    // 6,979,321,856 cells x 0.2 nA x 0.8 V x 100 ns
    expect(lineValue(report.energyJ, 'array')).toBeCloseTo(6_979_321_856 * 0.2e-9 * 0.8 * 100e-9, 15);
  });

  it('sums are the sums of their lines, and every line has formula, source and tag', () => {
    expect(report.perTokenJ).toBeCloseTo(sumLines(report.energyJ), 12);
    expect(report.areaMm2).toBeCloseTo(sumLines(report.areaLinesMm2), 6);
    expect(report.tokenTimeS).toBeCloseTo(sumLines(report.latencyS), 12);
    for (const line of [...report.energyJ, ...report.areaLinesMm2, ...report.latencyS]) {
      expect(line.value, line.name).toBeGreaterThanOrEqual(0);
      expect(Number.isFinite(line.value), line.name).toBe(true);
      expect(line.formula, line.name).toMatch(/\d/);
      expect(line.source, line.name).not.toBe('');
    }
  });

  it('the analog part of the latency is steps x (phases x (settle + integrate) + shared conversions)', () => {
    const analog = ['settle', 'integrate', 'convert'].reduce(
      (sum, n) => sum + lineValue(report.latencyS, n),
      0,
    );
    expect(analog).toBeCloseTo(128 * (2 * 150e-9 + 16 / 100e6), 12);
    const head = priceRun(
      exampleActivity(LLAMA_3_1_8B, { head: true }),
      LLAMA_3_1_8B,
      { ...EXAMPLE_DESIGN, headFabric: 'analog' },
      constants,
      { contextTokens: 1024 },
    );
    const withHead = ['settle', 'integrate', 'convert'].reduce((s, n) => s + lineValue(head.latencyS, n), 0);
    expect(withHead / analog).toBeCloseTo(129 / 128, 9);
  });

  it('KV cache: 128 MiB at 1k and 16 bit, read once per token', () => {
    const line = report.energyJ.find((l) => l.name === 'kv-sram')!;
    expect(line.value).toBeCloseTo(65_536 * 1025 * 2 * 1.03e-12, 9);
  });

  it('the aggregate is the lowest limit and never below one user, and power follows from it', () => {
    expect(report.tokensPerSecondAggregate).toBe(Math.min(...report.limits.map((l) => l.tokensPerSecond)));
    expect(report.binding).toBe(report.limits[0].name);
    expect(report.powerW).toBeCloseTo(report.perTokenAggregateJ * report.tokensPerSecondAggregate, 6);
    expect(report.perTokenAggregateJ).toBeLessThanOrEqual(report.perTokenJ);
  });

  it('two conversions cost twice the conversions in time; one phase halves settling', () => {
    const two = priceRun(
      exampleActivity(LLAMA_3_1_8B),
      LLAMA_3_1_8B,
      { ...EXAMPLE_DESIGN, sign: 'two-conversion' },
      constants,
      { contextTokens: 1024 },
    );
    expect(lineValue(two.latencyS, 'convert')).toBeCloseTo(2 * lineValue(report.latencyS, 'convert'), 12);
  });

  it('clamps are priced as the circuit whose noise the run had, and a run that carried more than it may has no cost', () => {
    const activity = exampleActivity(STORIES_260K, { tileRows: 32 });
    const cost = (change: Partial<typeof EXAMPLE_DESIGN>) =>
      priceRun(activity, STORIES_260K, { ...EXAMPLE_DESIGN, tileRows: 32, ...change }, constants, {
        contextTokens: 128,
      });
    const { bitLine } = EXAMPLE_DESIGN;
    const twice = cost({ bitLine: { ...bitLine, biasA: 2e-6 } });
    expect(lineValue(twice.energyJ, 'clamps') / lineValue(cost({}).energyJ, 'clamps')).toBeCloseTo(2, 9);
    // 32 rows x 0.2 nA in two phases: 3.2 nA on average in each; the last tile of 172 rows is partly empty, so less there.
    expect(() => cost({ clampMaxA: 3.1e-9 })).toThrow(
      /attn_q carried 3.2 nA on average, their clamps are priced for at most 3.1 nA/,
    );
    // (1 + 0.1) x (0.1 + 0.26) and (1 + 0.1) x (0.2 + 0.26) um2, twice for the layout, and 1 um2 of switches.
    expect(clampUm2(bitLine, constants)).toBeCloseTo(2 * 1.1 * (0.36 + 0.46) + 1, 9);
    const ideal = cost({ unpriced: ['column.clamp'] });
    expect(lineValue(ideal.areaLinesMm2, 'clamps')).toBe(0);
    expect(ideal.warnings.join()).toMatch(/column.clamp is resistance: an ideal clamp has no price/);
  });

  it('the integrators are those of the noise: C = D T / V in area, energy and kT/C', () => {
    const columnEnds = 6_979_321_856 / 256;
    // 13 x 3 nA x 100 ns / 0.3 V = 13 fF, at 5 fF/um2; restored from 0.8 V once per conversion.
    expect(
      lineValue(report.areaLinesMm2, 'integrators') / ((columnEnds * (13e-15 / 5e-15)) / 1e6),
    ).toBeCloseTo(1, 9);
    expect(lineValue(report.energyJ, 'integrators') / (columnEnds * 13e-15 * 0.3 * 0.8)).toBeCloseTo(1, 9);
    const { design } = loadLogDomainDesign('log-domain', ['cell=t1', 'fullScaleA=3e-9']);
    const physics = tilePhysics(loadCalibration('planar32lp', 't1'), design);
    // sigma of the column value D from kT/C = sqrt(k T C) / (T I_fs): 13 fF at 300.15 K is 7.34e-18 C, 0.0245 cells.
    const sigmaCells = Math.sqrt(1.380649e-23 * 300.15 * 13e-15) / (100e-9 * 3e-9);
    expect(sigmaCells).toBeCloseTo(0.0245, 4);
    expect(Math.sqrt(physics.samplingVariance * 13)).toBeCloseTo(sigmaCells, 9);
    // Half the swing doubles the capacitor: twice the area, half the noise variance, the same charge.
    const half = priceRun(
      exampleActivity(LLAMA_3_1_8B),
      LLAMA_3_1_8B,
      { ...EXAMPLE_DESIGN, swingV: 0.15 },
      constants,
      {
        contextTokens: 1024,
      },
    );
    expect(
      lineValue(half.areaLinesMm2, 'integrators') / lineValue(report.areaLinesMm2, 'integrators'),
    ).toBeCloseTo(2, 9);
    expect(lineValue(half.energyJ, 'integrators') / lineValue(report.energyJ, 'integrators')).toBeCloseTo(
      1,
      9,
    );
  });

  it('a swing that does not fit between the rails is refused before anything is computed', () => {
    const { design } = loadLogDomainDesign('log-domain', ['cell=t1', 'adc.swingV=0.41']);
    expect(() => tilePhysics(loadCalibration('planar32lp', 't1'), design)).toThrow(
      /adc.swingV is 0.41 V: the integrator swings by twice that, 0.82 V, and the supply is 0.8 V/,
    );
    expect(() => checkSwing({ supplyV: 0.8, adc: { ...design.adc, swingV: 0.4 } })).not.toThrow();
  });

  it('each counted line by hand', () => {
    const value = (name: string) => lineValue(report.energyJ, name);
    const cells = 6_979_321_856;
    const columnEnds = cells / 256;
    const rows = 32 * (6 * 4096 + 14336);
    expect(value('dacs') / (rows * 0.5e-12)).toBeCloseTo(1, 9);
    expect(value('adcs') / (columnEnds * 1.333e-12)).toBeCloseTo(1, 3);
    expect(value('accumulation') / (columnEnds * 0.165e-12)).toBeCloseTo(1, 9);
    // Class A: two phases, two bit lines of 1 uA bias (what the clamps may carry), 0.8 V, 50 + 100 ns.
    expect(value('clamps') / (columnEnds * 2 * 2 * 1e-6 * 0.8 * 150e-9)).toBeCloseTo(1, 9);
    // Three rows in four driven; gate 0.25 fF and seven wires over a cell of (0.2 + 0.1) x (0.1 + 0.26) um at 0.2 fF/um; 0.3 V from 0.8 V.
    const gateF = 0.25e-15 + 7 * Math.sqrt(0.3 * 0.36) * 0.2e-15;
    expect(value('gates') / (0.75 * cells * gateF * 0.3 * 0.8)).toBeCloseTo(1, 9);
    // 262,144 attention MAC per token of context.
    expect(value('attention') / (262_144 * 1024 * 0.59e-12)).toBeCloseTo(1, 9);
    expect(value('head') / (128_256 * 4096 * (0.1e-12 + 0.08e-12))).toBeCloseTo(1, 9);
    // Two bit lines of 60 fF charged to 0.4 V from 0.8 V.
    expect(value('bit-lines') / (columnEnds * 2 * 60e-15 * 0.4 * 0.8)).toBeCloseTo(1, 9);
    // Ladders of 1 uA and buffers of 0.5 uA for 60 ns before their step.
    expect(value('wake-up') / (columnEnds * 1.5e-6 * 0.8 * 60e-9)).toBeCloseTo(1, 9);
    // Bias of ladders at its duty over the token time.
    expect(value('ladders') / ((columnEnds * 1e-6 * 0.8 * report.tokenTimeS) / 32)).toBeCloseTo(1, 9);
  });

  it('ladders that are never off are static power and need no wake-up', () => {
    const on = priceRun(
      exampleActivity(LLAMA_3_1_8B),
      LLAMA_3_1_8B,
      { ...EXAMPLE_DESIGN, ladderDuty: 1 },
      constants,
      { contextTokens: 1024 },
    );
    expect(on.energyJ.some((l) => l.name === 'wake-up')).toBe(false);
    // 27.26 million x (1 + 0.5) uA x 0.8 V through a regulator of 88 %.
    expect(on.staticPowerW - report.staticPowerW).toBeCloseTo((27.262976 * 1.5 * 0.8) / 0.88, 3);
  });

  it('power binds when a die may take little, and nothing runs when leakage alone takes it all', () => {
    const limited = (limitW: number) =>
      priceRun(
        exampleActivity(LLAMA_3_1_8B),
        LLAMA_3_1_8B,
        EXAMPLE_DESIGN,
        {
          ...constants,
          power: { ...constants.power, limitWPerDie: { ...constants.power.limitWPerDie, value: limitW } },
        },
        { contextTokens: 1024 },
      );
    const some = limited((report.staticPowerW + 10) / report.dies);
    expect(some.binding).toBe('power');
    expect(some.powerW).toBeCloseTo(report.staticPowerW + 10, 6);
    const none = limited((report.staticPowerW * 0.9) / report.dies);
    expect(none.tokensPerSecondAggregate).toBe(0);
    expect(() => projectEconomics(none, constants)).toThrow(/makes no tokens \(power binds\)/);
  });

  it('tornado: the ADC multiplier at either end of its band moves its line, with the regulator behind it', () => {
    const s = report.sensitivity.find((one) => one.constant === 'adc.energyMultiplier')!;
    const adcs = lineValue(report.energyJ, 'adcs') / constants.power.regulatorEfficiency.value;
    expect([s.lowValue, s.value, s.highValue]).toEqual([0.275, 1, 3.2]);
    expect(s.highPerTokenJ - report.perTokenJ).toBeCloseTo(2.2 * adcs, 12);
    expect(report.perTokenJ - s.lowPerTokenJ).toBeCloseTo(0.725 * adcs, 12);
    expect(s.lowAreaMm2).toBe(report.areaMm2);
    const effects = report.sensitivity.map((one) =>
      Math.max(Math.abs(one.lowPerTokenJ - report.perTokenJ), Math.abs(one.highPerTokenJ - report.perTokenJ)),
    );
    expect(effects).toEqual([...effects].sort((a, b) => b - a));
    // What is chosen is not uncertain.
    expect(report.sensitivity.some(({ constant }) => constant === 'adc.rateHz')).toBe(false);
  });

  it('energy grows with every quantity that was counted (property)', () => {
    const base = exampleActivity(STORIES_260K, { tokens: 10 });
    // Clamps that hold a hundred times the current.
    const design = { ...EXAMPLE_DESIGN, clampMaxA: 100 * EXAMPLE_DESIGN.clampMaxA };
    const cost = (activity: typeof base) =>
      priceRun(activity, STORIES_260K, design, constants, { contextTokens: 128 }).perTokenJ;
    const before = cost(base);
    fc.assert(
      fc.property(
        fc.constantFrom('sumCurrentA', 'sumActiveRows', 'dacConversions', 'adcConversions'),
        fc.integer({ min: 0, max: base.layers.length - 1 }),
        fc.double({ min: 1.01, max: 100, noNaN: true }),
        (key, index, factor) => {
          const layers = base.layers.map((l, i) => (i === index ? { ...l, [key]: l[key] * factor } : l));
          expect(cost({ layers })).toBeGreaterThan(before);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('refuses what it cannot mean', () => {
    const activity = exampleActivity(STORIES_260K);
    const cost = (design: Partial<typeof EXAMPLE_DESIGN>, contextTokens = 128) =>
      priceRun(activity, STORIES_260K, { ...EXAMPLE_DESIGN, ...design }, constants, { contextTokens });
    expect(() => cost({}, 0)).toThrow(/context of 0 tokens/);
    expect(() => cost({ ladderDuty: 2 })).toThrow(/ladderDuty is 2, it must be 0 to 1/);
    expect(() => cost({ integrationTimeS: Number.NaN })).toThrow(/integrationTimeS is NaN/);
    expect(() => cost({ vdsV: 0.9 })).toThrow(/vdsV is 0.9/);
    expect(() => cost({ headFabric: 'analog' })).toThrow(/activity lacks the head/);
    expect(() =>
      priceRun({ layers: [] }, STORIES_260K, EXAMPLE_DESIGN, constants, { contextTokens: 1 }),
    ).toThrow(/no analog layers/);
    const idle = { layers: activity.layers.map((l) => ({ ...l, tokens: 0 })) };
    expect(() => priceRun(idle, STORIES_260K, EXAMPLE_DESIGN, constants, { contextTokens: 1 })).toThrow(
      /processed 0 tokens/,
    );
  });
});

describe('weights.overrides: each tensor with its own cells, columns, conversions and area', () => {
  // ffn_down in 6 bits (two cells on two columns), attn_v in 3 bits (three taps): counted by hand for one layer of 8B.
  const weightBits = { ffn_down: 6, attn_v: 3 };
  const design = EXAMPLE_DESIGN;
  const activity = exampleActivity(LLAMA_3_1_8B, { weightBits });
  const down = 32 * 4096 * 14336;
  const value = 32 * 1024 * 4096;
  const all = 6_979_321_856;

  it('counts twice the cells, column ends and conversions of the 6-bit tensor', () => {
    const { formats, cells, columnEnds, adcConversions } = census(activity, design);
    expect(formats.map(({ bits, taps, tensors }) => ({ bits, taps, tensors }))).toEqual([
      { bits: 3, taps: 3, tensors: ['attn_v'] },
      {
        bits: 4,
        taps: 7,
        tensors: ['attn_q', 'attn_k', 'attn_output', 'ffn_gate', 'ffn_up'],
      },
      { bits: 6, taps: 7, tensors: ['ffn_down'] },
    ]);
    expect(formats.map((format) => format.cells)).toEqual([value, all - value - down, 2 * down]);
    expect(cells).toBe(all + down);
    expect(columnEnds).toBe((all + down) / 256);
    expect(adcConversions).toBe((all + down) / 256);
    // 14336 rows x (2 x 4096 columns / 256) ladders.
    expect(formats[2].ladders).toBe(32 * 14336 * 32);
  });

  it('prices area, gates and conversions of each with its own taps', () => {
    // A device of 20 nm side, so that wires decide: 7 x 3 and 3 x 3 tracks of 40 nm.
    const tiny = { ...design, device: { ...design.device, widthM: 20e-9, lengthM: 20e-9 } };
    const bare = {
      ...constants,
      layout: {
        ...constants.layout,
        deviceSideM: { ...constants.layout.deviceSideM, value: 0 },
        deviceEndM: { ...constants.layout.deviceEndM, value: 0 },
      },
    };
    const report = priceRun(activity, LLAMA_3_1_8B, tiny, bare, { contextTokens: 1024 });
    const area = (name: string) => lineValue(report.areaLinesMm2, name);
    expect(area('cells') / (((all - value + down) * 0.0336 + value * 0.0144) * 1e-6)).toBeCloseTo(1, 9);
    expect(report.weights.map(({ cellUm2 }) => Number(cellUm2.toFixed(4)))).toEqual([0.0144, 0.0336, 0.0336]);
    expect(report.weights.reduce((sum, one) => sum + one.cellsMm2, 0)).toBeCloseTo(area('cells'), 9);
    // Seven resistors and a bias device are 2 um2, three and one are 1 um2.
    expect(area('ladders') / (((all - value + down) * 2 + value * 1) / 256e6)).toBeCloseTo(1, 9);
    const gates = (bits: number, taps: number) =>
      0.75 * bits * (0.25e-15 + taps * Math.sqrt(taps * 3 * 0.04 ** 2) * 0.2e-15) * 0.3 * 0.8;
    expect(lineValue(report.energyJ, 'gates') / (gates(all - value + down, 7) + gates(value, 3))).toBeCloseTo(
      1,
      9,
    );
    const plainReport = priceRun(exampleActivity(LLAMA_3_1_8B), LLAMA_3_1_8B, EXAMPLE_DESIGN, constants, {
      contextTokens: 1024,
    });
    expect(lineValue(report.energyJ, 'adcs') / lineValue(plainReport.energyJ, 'adcs')).toBeCloseTo(
      (all + down) / all,
      9,
    );
    expect(lineValue(report.areaLinesMm2, 'adcs') / lineValue(plainReport.areaLinesMm2, 'adcs')).toBeCloseTo(
      (all + down) / all,
      6,
    );
  });

  it('is carried over to the projection tensor by tensor', () => {
    const small = exampleActivity(STORIES_260K, { weightBits, tokens: 5 });
    const after = census(projectActivity(small, STORIES_260K, LLAMA_3_1_8B), design);
    expect(after.formats.map((format) => Math.round(format.cells))).toEqual([
      value,
      all - value - down,
      2 * down,
    ]);
    expect(after.adcConversions).toBeCloseTo((all + down) / 256, 3);
  });

  it('refuses columns that are not those of the bits', () => {
    const wrong = { layers: activity.layers.map((one) => ({ ...one, weightBits: 4 })) };
    expect(() => census(wrong, EXAMPLE_DESIGN)).toThrow(
      /ffn_down has 8192 columns for 4096 outputs, but 4-bit weights take 1 each/,
    );
  });
});

describe('one node throughout', () => {
  const cost = (name: string) => {
    const { design } = loadLogDomainDesign(name);
    const ranges = Object.fromEntries(LLAMA.matrices.map(({ tensor }) => [`blk.0.${tensor}`, [[13]]]));
    const costDesign = logDomainCostDesign(design, loadCalibration(design.process, design.cell), ranges);
    return priceRun(
      exampleActivity(LLAMA_3_1_8B),
      LLAMA_3_1_8B,
      costDesign,
      loadCostConstants(design.process, design.costs),
      { contextTokens: 1024 },
    );
  };
  const [mixed, planar, fin] = ['log-domain', 'log-domain-28', 'log-domain-7'].map(cost);

  it('what is mixed and what is extrapolated is said', () => {
    expect(mixed.warnings.join()).toMatch(/not made together: cell 32 nm, converters 28 nm, digital 7 nm/);
    expect(planar.warnings.join()).not.toMatch(/not made together|extrapolated/);
    expect(fin.warnings.join()).toMatch(/Converters at 7 nm are extrapolated/);
    expect(fin.warnings.join()).not.toMatch(/not made together/);
  });

  it('all of 7 nm takes a quarter of the silicon of all of 28 nm, and cells of an eighth of the gate have the same spread', () => {
    expect(planar.areaMm2 / fin.areaMm2).toBeGreaterThan(3);
    expect(planar.areaMm2 / fin.areaMm2).toBeLessThan(7);
    expect(fin.perTokenJ).toBeLessThan(planar.perTokenJ);
    const spread = (process: string) => {
      const { design } = loadLogDomainDesign(process);
      const { gmOverIPerV, sigmaVtV, sigmaBeta } = tilePhysics(
        loadCalibration(design.process, design.cell),
        design,
      );
      return Math.hypot(gmOverIPerV * sigmaVtV, sigmaBeta);
    };
    expect(Math.abs(spread('log-domain-7') / spread('log-domain-28') - 1)).toBeLessThan(0.1);
  });
});

describe('rows of other topologies', () => {
  const activity = exampleActivity(LLAMA_3_1_8B);
  const cost = (row: (typeof EXAMPLE_DESIGN)['row']) =>
    priceRun(activity, LLAMA_3_1_8B, { ...EXAMPLE_DESIGN, row }, constants, { contextTokens: 1024 });
  const ends = 6_979_321_856 / 256;
  const tiles = 106_496;
  const buffer = bufferUm2(EXAMPLE_DESIGN, constants);

  it('rails in place of ladders: one ladder and seven buffers for the rows of a tile, one wire a row', () => {
    const report = cost({ ladder: false, rails: true, gatesPerCell: () => 1, wires: () => 1 });
    expect(lineValue(report.areaLinesMm2, 'ladders')).toBeCloseTo((tiles * 2) / 1e6, 9);
    expect(lineValue(report.areaLinesMm2, 'row-buffers')).toBeCloseTo(((ends + 7 * tiles) * buffer) / 1e6, 9);
    const gateF = 0.25e-15 + Math.sqrt(0.3 * 0.36) * 0.2e-15;
    expect(lineValue(report.energyJ, 'gates') / (0.75 * 256 * ends * gateF * 0.3 * 0.8)).toBeCloseTo(1, 9);
  });

  it('fingers: no ladder at all, four gates a cell on average', () => {
    const report = cost({ ladder: false, rails: false, gatesPerCell: (t) => (t + 1) / 2, wires: () => 1 });
    expect(lineValue(report.areaLinesMm2, 'ladders')).toBe(0);
    expect(lineValue(report.energyJ, 'ladders')).toBe(0);
    expect(lineValue(report.areaLinesMm2, 'row-buffers')).toBeCloseTo((ends * buffer) / 1e6, 9);
    const gateF = 4 * 0.25e-15 + Math.sqrt(0.3 * 0.36) * 0.2e-15;
    expect(lineValue(report.energyJ, 'gates') / (0.75 * 256 * ends * gateF * 0.3 * 0.8)).toBeCloseTo(1, 9);
  });

  it.each([
    ['t1', true, false, 1, 7],
    ['t2', false, true, 1, 1],
    ['t3', false, true, 1, 1],
    ['t4', false, false, 4, 1],
  ] as const)('%s has them by its topology', (name, ladder, rails, gates, wires) => {
    const row = rowOf(loadMultiplier(name).topology);
    expect([row.ladder, row.rails, row.gatesPerCell(7), row.wires(7)]).toEqual([ladder, rails, gates, wires]);
  });

  it('an auto-zero adds its capacitor and switches to the follower', () => {
    const { design } = loadLogDomainDesign('log-domain', ['driver.buffer=auto-zero']);
    const calibration = loadCalibration('planar32lp', 't1-large');
    const costDesign = logDomainCostDesign(design, calibration, {});
    expect(costDesign.buffer.storeF).toBe(0.2e-12);
    const plain = bufferUm2({ ...costDesign, buffer: { ...costDesign.buffer, storeF: 0 } }, constants);
    // 0.2 pF at 5 fF/um2.
    expect(bufferUm2(costDesign, constants) - plain).toBeCloseTo(40 + 1, 9);
    expect(tilePhysics(calibration, design).rowOffsetSigmaV).toBeCloseTo(0.216e-3, 6);
    // A follower of 4/0.4 um at 2.5 mV um.
    const follower = loadLogDomainDesign('log-domain').design;
    expect(tilePhysics(calibration, follower).rowOffsetSigmaV).toBeCloseTo(2.5e-3 / Math.sqrt(1.6), 9);
  });
});

describe('row drivers that SPICE has simulated', () => {
  const calibration = loadCalibration('planar32lp', 't1-driver');
  const { rowSupplyA, sharedSupplyA, tempK } = calibration.product!;

  it('are priced at their measured supply current, the assumed figures stand beside', () => {
    const { design } = loadLogDomainDesign('log-domain', [
      'cell=t1-driver',
      'vdsV=0.25',
      'ladder.duty=0.03125',
    ]);
    const ranges = Object.fromEntries(LLAMA.matrices.map(({ tensor }) => [`blk.0.${tensor}`, [[13]]]));
    const costDesign = logDomainCostDesign(design, calibration, ranges);
    const report = priceRun(exampleActivity(LLAMA_3_1_8B), LLAMA_3_1_8B, costDesign, constants, {
      contextTokens: 1024,
    });
    const line = report.energyJ.find((one) => one.name === 'row-drivers')!;
    // 47 nW per row and 187 nW per reference at 0.8 V (calibration/README.md); 27.26 million ladders and, with 256 rows
    // to a tile, 106,496 references, on 1/32 of the token time.
    const { currentA, sharedA } = costDesign.rowDriver!;
    expect(currentA * 0.8 * 1e9).toBeCloseTo(47, 0);
    expect(sharedA * 0.8 * 1e9).toBeCloseTo(187, 0);
    const ladders = 6_979_321_856 / 256;
    expect(line.value / ((ladders * currentA * 0.8 * report.tokenTimeS) / 32)).toBeCloseTo(1, 9);
    const references = report.energyJ.find((one) => one.name === 'row-references')!;
    expect(references.value / ((106_496 * sharedA * 0.8 * report.tokenTimeS) / 32)).toBeCloseTo(1, 9);
    expect(references.tag).toBe('simulated');
    expect(line.tag).toBe('simulated');
    expect(line.source).toMatch(/SPICE supply currents of planar32lp\/t1-driver/);
    expect(report.energyJ.some(({ name }) => name === 'ladders' || name === 'row-buffers')).toBe(false);
    const assumed = report.references.find((one) => one.name === 'row-drivers-assumed')!;
    expect(assumed.value / line.value).toBeCloseTo(3e-6 / currentA, 5);
    // A row of 59 nA and its follower of 1 uA settle ten times slower, in latency and accuracy alike.
    expect(costDesign.settleTimeS).toBeGreaterThan(0.5e-6);
  });

  it('linear between the temperatures, refused outside; an ideal driver has measured nothing', () => {
    expect(rowDriverCurrents(calibration, tempK[0])).toMatchObject({
      currentA: rowSupplyA[0],
      sharedA: sharedSupplyA[0],
    });
    const last = tempK.length - 1;
    expect(rowDriverCurrents(calibration, tempK[last])!.currentA).toBeCloseTo(rowSupplyA[last], 15);
    const middle = rowDriverCurrents(calibration, (tempK[1] + tempK[2]) / 2)!.currentA;
    expect(middle).toBeCloseTo((rowSupplyA[1] + rowSupplyA[2]) / 2, 15);
    expect(() => rowDriverCurrents(calibration, 200)).toThrow(/not at 200 K/);
    expect(rowDriverCurrents(loadCalibration('planar32lp', 't1'), 300)).toBeNull();
    expect(rowDriverCurrents(loadCalibration('planar32lp', 't2'), 300)).toBeNull();
  });
});

describe('projectActivity', () => {
  it('to its own shape, it is the average of the layers: per-token sums do not change', () => {
    const activity = exampleActivity(STORIES_260K, { tileRows: 32, tokens: 7 });
    const projected = projectActivity(activity, STORIES_260K, STORIES_260K);
    const before = census(activity, EXAMPLE_DESIGN);
    const after = census(projected, EXAMPLE_DESIGN);
    const { formats, ...sums } = before;
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) {
      expect(Number(after[key]), key).toBeCloseTo(Number(before[key]), 6);
    }
    expect(after.formats[0].cells).toBeCloseTo(formats[0].cells, 6);
  });

  it('to the 8B, it keeps the mean current per cell and counts conversions of the new tiles', () => {
    const small = exampleActivity(STORIES_260K, {
      tileRows: 256,
      tokens: 7,
      currentPerCellA: 0.31e-9,
      head: true,
    });
    const after = census(projectActivity(small, STORIES_260K, LLAMA_3_1_8B), EXAMPLE_DESIGN);
    expect(after.macs).toBe(7_504_658_432);
    expect(after.currentA / after.cells).toBeCloseTo(0.31e-9, 15);
    expect(after.adcConversions).toBeCloseTo(29_315_072, 3);
    expect(after.connectedCells / after.cells).toBeCloseTo(0.85, 9);
  });

  it('weights layers by what they did: a layer of twice the current counts', () => {
    const small = exampleActivity(STORIES_260K, { tokens: 3 });
    const doubled = {
      layers: small.layers.map((l) => (l.layer === 0 ? { ...l, sumCurrentA: 2 * l.sumCurrentA } : l)),
    };
    const ratio =
      census(projectActivity(doubled, STORIES_260K, LLAMA_3_1_8B), EXAMPLE_DESIGN).currentA /
      census(projectActivity(small, STORIES_260K, LLAMA_3_1_8B), EXAMPLE_DESIGN).currentA;
    // One of five equal layers doubled: 6/5.
    expect(ratio).toBeCloseTo(1.2, 9);
  });

  it('keeps the share of blocks whose matrices a mapping gave six bits', () => {
    const six = exampleActivity(STORIES_260K, { weightBits: { attn_k: 6 } });
    const four = exampleActivity(STORIES_260K);
    // Blocks 0 and 1 of 5: of 32, those l with floor(5 l / 32) of 0 or 1, which are 13.
    const mixed = {
      layers: four.layers.map((one, i) => (one.tensor === 'attn_k' && one.layer < 2 ? six.layers[i] : one)),
    };
    const projected = projectActivity(mixed, STORIES_260K, LLAMA_3_1_8B);
    const { formats } = census(projected, EXAMPLE_DESIGN);
    const key = 1024 * 4096;
    expect(formats.map(({ bits }) => bits)).toEqual([4, 6]);
    expect(formats[1].cells).toBe(2 * 13 * key);
    expect(formats[0].cells).toBe(6_979_321_856 - 13 * key);
  });

  it('says which tensor is missing', () => {
    const small = exampleActivity(STORIES_260K);
    const without = { layers: small.layers.filter((l) => l.tensor !== 'ffn_up') };
    expect(() => projectActivity(without, STORIES_260K, LLAMA_3_1_8B)).toThrow(/the run has no ffn_up/);
  });
});

describe('cost.yaml', () => {
  const text = readFileSync(new URL('../../spice/planar32lp/cost.yaml', import.meta.url), 'utf8');
  const startFolder = process.cwd();
  afterEach(() => process.chdir(startFolder));

  it('every process that ships loads, and each constant has a source', () => {
    const shipped = readdirSync(new URL('../../spice', import.meta.url));
    expect(shipped.length).toBeGreaterThanOrEqual(3);
    for (const name of shipped) {
      const loaded = loadCostConstants(name);
      expect(loaded.process).toBe(name);
      expect(loaded.sha256).toMatch(/^[0-9a-f]{64}$/);
    }
  });

  it('takes the whole of another process by like, and no circle', () => {
    expect(loadCostConstants('sky130')).toEqual({ ...loadCostConstants('planar130'), process: 'sky130' });
    const folder = mkdtempSync(join(tmpdir(), 'onefet-like-'));
    process.chdir(folder);
    for (const [name, like] of [
      ['one', 'two'],
      ['two', 'one'],
      ['alone', 'alone'],
      ['lost', 'nowhere'],
    ]) {
      mkdirSync(join('spice', name), { recursive: true });
      writeFileSync(join('spice', name, 'cost.yaml'), `process: ${name}\ndescription: x\nlike: ${like}\n`);
    }
    expect(() => loadCostConstants('one')).toThrow(/two.cost\.yaml: like: one leads in a circle/);
    expect(() => loadCostConstants('lost')).toThrow(/like: nowhere, which has no cost\.yaml/);
    expect(() => loadCostConstants('alone')).toThrow(/like: alone leads in a circle/);
  });

  it('an unknown key is an error that names the nearest', () => {
    const wrong = text.replace('wireFPerM:', 'wiresFPerM:');
    expect(() => parseCostConstants(wrong, 'cost.yaml')).toThrow(/unknown key analog.wiresFPerM$/);
    const extra = text.replace('  rank: ', '  rnak: { value: 1, source: x, tag: cited }\n  rank: ');
    try {
      parseCostConstants(extra, 'cost.yaml');
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        kind: 'input',
        message: 'cost.yaml: unknown key lora.rnak',
        hint: 'did you mean lora.rank?',
      });
    }
  });

  it('a constant without a source, or out of range, is an error that says where', () => {
    expect(() =>
      parseCostConstants(text.replace(/source: 'minimum metal pitch of [^']*', /, ''), 'c'),
    ).toThrow(/c: layout.metalPitchM.source/);
    expect(() =>
      parseCostConstants(text.replace('value: 0.88, high: 0.92', 'value: 1.2, high: 1.3'), 'c'),
    ).toThrow(/power.regulatorEfficiency.value/);
    const noBand = text.replace('{ low: 0.801, value: 0.88, high: 0.92,', '{ value: 0.88,');
    expect(() => parseCostConstants(noBand, 'c')).toThrow(/give low and high, or the tag chosen/);
    const crossed = text.replace('low: 0.801, value: 0.88', 'low: 0.9, value: 0.88');
    expect(() => parseCostConstants(crossed, 'c')).toThrow(/low <= value <= high must hold/);
    const chosen = text.replace('rateHz: { value', 'rateHz: { low: 1.0e+7, high: 1.0e+9, value');
    expect(() => parseCostConstants(chosen, 'c')).toThrow(/the tag chosen, which has neither/);
    expect(() => parseCostConstants('a: [', 'c')).toThrow(/^c:1:\d+: /);
  });

  it('a file of the same name in the working folder takes its place', () => {
    const folder = mkdtempSync(join(tmpdir(), 'onefet-cost-'));
    try {
      mkdirSync(join(folder, 'spice/planar32lp'), { recursive: true });
      writeFileSync(
        join(folder, 'spice/planar32lp/cost.yaml'),
        text.replace(
          'energyMultiplier: { low: 0.275, value: 1,',
          'energyMultiplier: { low: 0.275, value: 3,',
        ),
      );
      process.chdir(folder);
      const mine = loadCostConstants('planar32lp');
      expect(mine.adc.energyMultiplier.value).toBe(3);
      const run = (c: typeof mine) =>
        lineValue(
          priceRun(exampleActivity(STORIES_260K), STORIES_260K, EXAMPLE_DESIGN, c, { contextTokens: 128 })
            .energyJ,
          'adcs',
        );
      expect(run(mine)).toBeCloseTo(3 * run(constants), 15);
    } finally {
      process.chdir(startFolder);
      rmSync(folder, { recursive: true });
    }
  });

  it('names what there is when a process is missing', () => {
    try {
      loadCostConstants('planar33lp');
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        kind: 'input',
        code: 'COST_MISSING',
        message: 'process planar33lp has no cost constants: spice/planar33lp/cost.yaml not found',
        hint: expect.stringMatching(/copy .* fin7, gf180mcu, planar130, planar32lp, sky130 have one/),
      });
    }
    expect(() => loadCostConstants('../etc')).toThrow(/not valid/);
    expect(() => loadCostConstants('planar32lp', 'cost-29')).toThrow(/cost-29.yaml not found/);
  });
});
