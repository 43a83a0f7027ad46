/** Bands: draws against the law that they follow, and a cost whose band can be worked out by hand. */
import { describe, expect, it } from 'vitest';
import { BAND_DRAWS, bandQuantile, constantDraws, costBands, outsideBands, triangular } from './bands.ts';
import { type Constant, loadCostConstants } from './constants.ts';

const constants = loadCostConstants('planar32lp');
const figures = (value: number) => ({
  perTokenJ: value,
  areaMm2: 1,
  tokensPerSecondPerUser: 1 / value,
  perTokenAggregateJ: value,
  tokensPerSecondAggregate: 1,
  powerW: 1,
});

describe('triangular law', () => {
  it('ends, peak and median of 1, 2, 5', () => {
    expect(triangular(0, 1, 2, 5)).toBe(1);
    expect(triangular(1, 1, 2, 5)).toBe(5);
    // A quarter lies below the peak.
    expect(triangular(0.25, 1, 2, 5)).toBeCloseTo(2, 12);
    // 1 - F(x) = (5 - x)^2 / 12 = 1/2.
    expect(triangular(0.5, 1, 2, 5)).toBeCloseTo(5 - Math.sqrt(6), 12);
  });

  it('a constant goes by its logarithm, one that may be zero by itself, a choice not at all', () => {
    const band = (low: number, value: number, high: number): Constant => ({
      ...{ low, value, high },
      ...{ source: 'x', tag: 'assumed' },
    });
    expect(bandQuantile(band(1, 10, 100), 0.5)).toBeCloseTo(10, 9);
    expect(bandQuantile(band(0, 1, 2), 0.5)).toBeCloseTo(1, 9);
    expect(bandQuantile({ value: 3, source: 'x', tag: 'chosen' }, 0.99)).toBe(3);
  });
});

describe('bands of a cost', () => {
  it('say which figure at the likely constants lies outside them, and why', () => {
    const at = { ...figures(2), dies: 7, binding: 'KV capacity' };
    const bands = costBands(constants, () => figures(2), 3);
    expect(outsideBands(at, bands)).toEqual([]);
    const [warning] = outsideBands({ ...at, tokensPerSecondAggregate: 2 }, bands);
    expect(warning).toMatch(/rate of the full pipeline, 2 tokens\/s \(1 tokens\/s to .* last of 7 dies/);
    const [energy] = outsideBands({ ...at, perTokenJ: 3 }, bands);
    expect(energy).toMatch(/energy of a token of one user, 3 J.*an end of their band/);
    expect(energy).not.toMatch(/die/);
    expect(outsideBands({ ...at, powerW: 3, binding: 'power' }, bands)[0]).toMatch(
      /what limits the pipeline/,
    );
  });

  it('of one constant are the 5th and 95th percentile of its own law', () => {
    const bands = costBands(constants, (drawn) => figures(drawn.memory.romReadJPerByte.value));
    expect(bands.draws).toBe(BAND_DRAWS);
    const { romReadJPerByte } = constants.memory;
    for (const [got, u] of [
      [bands.perTokenJ.low, 0.05],
      [bands.perTokenJ.median, 0.5],
      [bands.perTokenJ.high, 0.95],
    ] as const) {
      expect(Math.abs(got / bandQuantile(romReadJPerByte, u) - 1)).toBeLessThan(0.1);
    }
    expect(bands.areaMm2).toEqual({ low: 1, median: 1, high: 1 });
    expect(bands.tokensPerSecondPerUser.low).toBeCloseTo(1 / bands.perTokenJ.high, 6);
  });

  it('draws are the same every time, inside the band, different from constant to constant; money and choices stay', () => {
    const [a, again, b] = [7, 7, 8].map(constantDraws(constants));
    expect(again).toEqual(a);
    expect(b.power.junctionK.value).not.toBe(a.power.junctionK.value);
    expect(a.economics).toBe(constants.economics);
    expect(a.adc.rateHz).toBe(constants.adc.rateHz);
    for (const draw of [a, b]) {
      const { low, high, value } = draw.power.logicLeakageWPerMm2;
      expect(value).toBeGreaterThan(low!);
      expect(value).toBeLessThan(high!);
    }
    // Constants of the same band are drawn apart: their places in it differ.
    const { sramLeakageWPerMm2: sram, romLeakageWPerMm2: rom } = a.power;
    expect([sram.low, sram.high]).toEqual([rom.low, rom.high]);
    expect(sram.value).not.toBe(rom.value);
  });
});
