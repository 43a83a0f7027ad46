/**
 * Numbers for people: SI prefixes appear only when a value is printed, never in a computation.
 */
const PREFIXES: readonly (readonly [number, string])[] = [
  [1e18, 'E'],
  [1e15, 'P'],
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
  [1, ''],
  [1e-3, 'm'],
  [1e-6, 'µ'],
  [1e-9, 'n'],
  [1e-12, 'p'],
  [1e-15, 'f'],
  [1e-18, 'a'],
];

/** `formatSi(1.333e-12, 'J')` is '1.33 pJ'; three significant digits unless told otherwise. */
export function formatSi(value: number, unit: string, digits = 3): string {
  if (value === 0) return `0 ${unit}`.trim();
  if (!Number.isFinite(value)) return `${value} ${unit}`.trim();
  let magnitude = Math.abs(value);
  // Rounding may carry 999.96 into the next prefix: round first, then choose.
  magnitude = Number(magnitude.toPrecision(digits));
  const [scale, prefix] = PREFIXES.find(([s]) => magnitude >= s) ?? PREFIXES[PREFIXES.length - 1];
  return `${plain(value / scale, digits)} ${prefix}${unit}`.trim();
}

/** Three significant digits without an exponent where that is readable. */
export function plain(value: number, digits = 3): string {
  if (value === 0) return '0';
  const magnitude = Math.abs(value);
  if (magnitude >= 1e6 || magnitude < 1e-4) return value.toExponential(digits - 1);
  const rounded = Number(value.toPrecision(digits));
  return Math.abs(rounded) >= 1000 ? grouped(rounded) : String(rounded);
}

/**
 * A number below 1e21 as English writes it, at most three decimals: 1,234.5. The first `toLocaleString` of a process loads the
 * languages of the world for 0.1 s.
 */
export function grouped(value: number): string {
  const [whole, fraction] = String(Number(value.toFixed(3))).split('.');
  const thousands = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? thousands : `${thousands}.${fraction}`;
}

/** A count, with thousands separators below a million and a prefix above. */
export function count(value: number): string {
  if (Math.abs(value) >= 1e6) return formatSi(value, '');
  return grouped(Number(value.toFixed(Math.abs(value) < 100 ? 2 : 0)));
}

/**
 * Numbers that stand side by side, with as many decimals each as the first needs for `digits` significant digits: 10.00 and
 * 8.38, not 10 and 8.376. Very large and very small ones are left to `plain`.
 */
export function evenly(values: readonly number[], digits = 3): string[] {
  const magnitude = Math.abs(values[0]);
  if (!(magnitude >= 1e-3 && magnitude < 1e6)) return values.map((value) => plain(value, digits));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Number(magnitude.toPrecision(digits)))));
  return values.map((value) =>
    value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals }),
  );
}

/** `formatSi` of several values in the prefix of the largest, with as many decimals each: 3.00 nA, 0.43 nA. */
export function evenSi(values: readonly number[], unit: string, digits = 3): string[] {
  const largest = Math.max(...values.map(Math.abs));
  if (!(largest > 0)) return values.map((value) => formatSi(value, unit));
  const rounded = Number(largest.toPrecision(digits));
  const [scale, prefix] = PREFIXES.find(([s]) => rounded >= s) ?? PREFIXES[PREFIXES.length - 1];
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(rounded / scale)));
  return values.map((value) => `${(value / scale).toFixed(decimals)} ${prefix}${unit}`);
}
