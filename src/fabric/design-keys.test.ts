/** What `onefet show` says of a key, and that no key goes without. */
import { expect, test } from 'vitest';
import { designKey, designKeys, unitOf } from './design-keys.ts';
import { FABRIC_WORDS } from './registry.ts';

test.each(FABRIC_WORDS)('every key of a %s design has a description', (fabric) => {
  const without = designKeys(fabric).filter(
    ({ description, allowed }) => !/^\S.*[.:]$/s.test(description) || allowed === '',
  );
  expect(without.map(({ key }) => key)).toEqual([]);
});

test('says range, default and unit as the schema has them', () => {
  expect(designKey('log-domain', 'adc.bits')).toMatchObject({
    allowed: 'a whole number from 3 to 14 or float',
    default: 8,
    unit: undefined,
  });
  expect(designKey('log-domain', 'driver.resistorSigma')).toMatchObject({
    allowed: 'a number at least 0',
    unit: undefined,
  });
  expect(designKey('log-domain', 'bias.sourceNoiseV')).toMatchObject({ unit: 'V' });
  expect(designKey('log-domain', 'adc.rangeQuantile')).toMatchObject({
    allowed: 'a number above 0.5 up to 1',
  });
  expect(designKey('log-domain', 'weights.overrides').allowed).toBe('a mapping of names to 3 or 4 or 6');
});

test('a key that is not there is named with its nearest', () => {
  expect(() => designKey('log-domain', 'adc.bit')).toThrow(/no key "adc.bit"/);
});

test('units follow from names', () => {
  expect(unitOf('trapsPerM2')).toBe('1/m2');
  expect(unitOf('clampMaxA')).toBe('A');
  expect(unitOf('rows')).toBeUndefined();
});
