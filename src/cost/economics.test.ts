import { describe, expect, it } from 'vitest';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { EXAMPLE_DESIGN, exampleActivity, priceRun } from '../testing/activity.ts';
import { loadComparators } from './comparators.ts';
import { loadCostConstants } from './constants.ts';
import { grossDies, murphyYield, projectEconomics } from './economics.ts';

const constants = loadCostConstants('planar32lp');
const report = priceRun(exampleActivity(LLAMA_3_1_8B), LLAMA_3_1_8B, EXAMPLE_DESIGN, constants, {
  contextTokens: 1024,
});

describe('yield and dies', () => {
  it("Murphy's yield: 1 without defects, ((1 - 1/e)/1)^2 = 0.3996 at one defect per die", () => {
    expect(murphyYield(5, 0)).toBe(1);
    expect(murphyYield(1, 1)).toBeCloseTo((1 - Math.exp(-1)) ** 2, 12);
    // Small argument: 1 - AD + 7/12 (AD)^2 - ..., no cancellation.
    expect(murphyYield(1e-9, 1)).toBeCloseTo(1 - 1e-9, 15);
  });

  it('a 610 mm2 die: 88 gross on 300 mm; CSET (2020) gets 71.4 good ones, a yield of 0.81', () => {
    // 16988 USD per 5 nm wafer and 238 USD per chip are 71.4 chips; Murphy gives 0.81 at 0.036 defects per cm2, below
    // the 0.09 that TSMC reports for N7: CSET is optimistic, and our middle band is not.
    expect(grossDies(300, 610)).toBe(88);
    const yieldOfCset = 16988 / 238 / grossDies(300, 610);
    expect(yieldOfCset).toBeGreaterThan(murphyYield(6.1, 0.09));
    expect(Math.abs(yieldOfCset - murphyYield(6.1, 0.036))).toBeLessThan(0.01);
  });
});

describe('projectEconomics', () => {
  const result = projectEconomics(report, constants);

  it('bands are ordered and each is the sum of its parts', () => {
    expect(result.low.usdPerMtoken).toBeLessThan(result.mid.usdPerMtoken);
    expect(result.mid.usdPerMtoken).toBeLessThan(result.high.usdPerMtoken);
    for (const one of Object.values(result)) {
      expect(one.usdPerMtoken).toBeCloseTo(
        one.siliconUsdPerMtoken + one.nreUsdPerMtoken + one.electricityUsdPerMtoken,
        12,
      );
      expect(one.yield).toBeGreaterThan(0);
      expect(one.yield).toBeLessThan(1);
    }
  });

  it('mid band by hand: chip and masks over tokens', () => {
    const { mid } = result;
    const dieMm2 = report.areaMm2 / report.dies;
    const good = grossDies(300, dieMm2) * murphyYield(dieMm2 / 100, 0.09);
    const chip = report.dies * (9346 / good + 200);
    const tokens = report.tokensPerSecondAggregate * 0.4 * 31_557_600;
    expect(mid.chipUsd).toBeCloseTo(chip, 6);
    expect(mid.nreUsdPerMtoken).toBeCloseTo(((2 * 250e3 + 2e6) / 2000 / tokens) * 1e6, 12);
  });

  it('break-even: at that number of chips, masks and design are paid by the saving', () => {
    const { low } = result;
    expect(low.breakEvenChips).not.toBeNull();
    const saving =
      ((low.gpuUsdPerMtoken - low.siliconUsdPerMtoken - low.electricityUsdPerMtoken) / 1e6) *
      low.tokensPerChipLifetime;
    const nre = low.nreUsdPerChip * constants.economics.chipsPerModel.high;
    expect(low.breakEvenChips! * saving).toBeGreaterThanOrEqual(nre);
    expect((low.breakEvenChips! - 1) * saving).toBeLessThan(nre);
  });
});

describe('comparators.yaml', () => {
  it('HC1: rate and power give the stated energy per token', () => {
    const { systems, statement } = loadComparators();
    const hc1 = systems.find((s) => s.name === 'Taalas HC1')!;
    expect(200 / hc1.tokensPerSecond!).toBeCloseTo(hc1.jPerToken![0], 4);
    expect(250 / hc1.tokensPerSecond!).toBeCloseTo(hc1.jPerToken![1], 4);
    expect(statement).toMatch(/counterfactual/);
    for (const s of systems) if (s.jPerToken) expect(s.jPerToken[0]).toBeLessThanOrEqual(s.jPerToken[1]);
  });
});
