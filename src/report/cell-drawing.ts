/**
 * The one-transistor cell as a drawing with its simulated currents on it: a row's ladder, the gate via on one of its taps,
 * the transistor, the drain via on one of two bit lines. SVG without script.
 */
import { evenSi, formatSi, plain } from '../format.ts';
import { BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C } from '../physical-constants.ts';
import type { CalibrationFigures } from './figures-cell.ts';
import { escapeHtml } from './html.ts';

/** The tap in the example: any between the ends shows as much. */
const shownTap = (levels: number): number => Math.max(1, Math.round(0.7 * levels));

/** Currents of the taps at full input, A, in SPICE at the temperature nearest to the nominal one; [0] is that of tap 1. */
export function tapCurrentsA({ multiply, nominal }: CalibrationFigures): {
  tempK: number;
  currentA: number[];
} {
  const { codes, levels, tempK, spice } = multiply;
  const away = tempK.map((t) => Math.abs(t - nominal.tempK));
  const at = away.indexOf(Math.min(...away));
  const currentA = Array.from(
    { length: levels },
    (_, tap) => nominal.fullScaleA * spice[at][tap * codes + codes - 1],
  );
  return { tempK: tempK[at], currentA };
}

/**
 * Of a cell with one transistor whose taps were simulated; undefined for others. `designFullScaleA`: what the design runs
 * its cells at, said where it is another current than that of the simulation.
 */
export function cellDrawing(calibration: CalibrationFigures, designFullScaleA?: unknown): string | undefined {
  const { multiply, topology, process, cell, device, nominal, mismatch } = calibration;
  if (topology !== 't1' || multiply.spice.length === 0) return undefined;
  const { tempK, currentA } = tapCurrentsA(calibration);
  const levels = currentA.length;
  const tap = shownTap(levels);
  const size = `${plain(device.widthM * 1e6)} × ${plain(device.lengthM * 1e6)} µm`;
  const { monteCarlo } = mismatch;
  const top = monteCarlo.product.indexOf(Math.max(...monteCarlo.product));
  const sigma = monteCarlo.lnSigmaSpice[top];
  const caption = `One weight is one transistor. The input sets the voltages of a row's ladder, as its logarithm; where the gate via lands on the ladder is the size of the weight; which bit line the drain via lands on is its sign (no via: zero). The transistor's current is exponential in its gate voltage, so it is the product: here ${evenSi(currentA, 'A')[tap - 1]} for full input times ${tap}/${levels}. The bit line adds the currents of all rows.`;
  const octaveV =
    ((nominal.ladderSlopeFactorN * BOLTZMANN_J_PER_K * nominal.tempK) / ELEMENTARY_CHARGE_C) * Math.LN2;
  const elsewhere =
    typeof designFullScaleA === 'number' && designFullScaleA !== nominal.fullScaleA
      ? ` at ${formatSi(nominal.fullScaleA, 'A')} of full scale (the design's is ${formatSi(designFullScaleA, 'A')})`
      : '';
  const known = `${process}/${cell}, ${size}. Currents from SPICE at ${plain(tempK - 273.15)} °C and ${plain(nominal.vdsV)} V, full input${elsewhere}; the ladder moves the gate by ${plain(octaveV * 1e3)} mV for each factor of two. Cells made alike differ by ${plain(100 * sigma, 3)} % (sigma of ln I).`;
  return `<figure class="drawing" aria-labelledby="drawing-title"><h3 id="drawing-title">How one transistor multiplies</h3>
${drawingSvg(currentA, tap, `${process}/${cell}`)}
<figcaption>${escapeHtml(caption)} <span class="known">${escapeHtml(known)}</span></figcaption></figure>`;
}

const INK = '#1c2430';
const SOFT = '#4b5563';
const ACTIVE = '#d55e00';
const BLUE = '#0072b2';

interface Style {
  readonly color?: string;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly size?: number;
  readonly weight?: number;
}

function text(x: number, y: number, content: string, style: Style = {}): string {
  const { color = INK, anchor = 'start', size = 13, weight = 400 } = style;
  return `<text x="${x}" y="${y}" fill="${color}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}">${escapeHtml(content)}</text>`;
}

const line = (points: string, color = INK, width = 1.6): string =>
  `<polyline points="${points}" fill="none" stroke="${color}" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/>`;

const dot = (x: number, y: number, color: string, radius = 4.5): string =>
  `<circle cx="${x}" cy="${y}" r="${radius}" fill="${color}"/>`;

/** Where things stand, in the units of the view box. */
const LADDER_X = 104;
const TOP_Y = 58;
const STEP_Y = 34;
const GATE_X = 220;
const PLUS_X = 326;
const MINUS_X = 382;

function drawingSvg(currentA: readonly number[], tap: number, name: string): string {
  const levels = currentA.length;
  const height = TOP_Y + STEP_Y * (levels - 1) + 92;
  const tapY = (m: number) => TOP_Y + STEP_Y * (levels - m);
  return `<svg viewBox="0 0 410 ${height}" role="img" aria-label="${escapeHtml(`Schematic of the cell ${name}`)}" font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif">
${ladder(currentA, tap, tapY)}
${bitLines(height)}
${transistor(tapY(tap), height, evenSi(currentA, 'A')[tap - 1])}
</svg>`;
}

/** Resistors between taps; the larger the weight, the higher the tap. */
function ladder(currentA: readonly number[], tap: number, tapY: (m: number) => number): string {
  const levels = currentA.length;
  const texts = evenSi(currentA, 'A');
  const parts = [
    text(8, 20, 'input as a voltage', { color: SOFT, size: 12 }),
    text(8, 35, '(its logarithm)', { color: SOFT, size: 12 }),
    line(`${LADDER_X},42 ${LADDER_X},${tapY(levels)}`),
  ];
  for (let m = levels; m >= 1; m--) {
    const y = tapY(m);
    const active = m === tap;
    if (m > 1) parts.push(resistor(LADDER_X, y, tapY(m - 1)));
    parts.push(
      dot(LADDER_X, y, active ? ACTIVE : INK, active ? 5 : 3),
      text(LADDER_X - 10, y + 4, `${m}/${levels}   ${texts[m - 1]}`, {
        anchor: 'end',
        size: 12,
        color: active ? ACTIVE : INK,
        weight: active ? 650 : 400,
      }),
    );
  }
  const bottom = tapY(1);
  parts.push(
    text(LADDER_X, bottom + 24, 'ladder: one for a row', { color: SOFT, size: 12, anchor: 'middle' }),
    line(`${LADDER_X},${tapY(tap)} ${GATE_X},${tapY(tap)}`, ACTIVE, 2),
    text((LADDER_X + GATE_X) / 2 + 2, tapY(tap) - 9, 'gate via: size', {
      color: ACTIVE,
      size: 12,
      anchor: 'middle',
    }),
  );
  return parts.join('\n');
}

function resistor(x: number, from: number, to: number): string {
  const zigzag = [0.15, 0.25, 0.4, 0.55, 0.7, 0.8].map((share, i) => {
    const y = from + share * (to - from);
    return `${i === 0 || i === 5 ? x : x + (i % 2 === 0 ? -6 : 6)},${y.toFixed(1)}`;
  });
  return line([`${x},${from}`, ...zigzag, `${x},${to}`].join(' '), SOFT, 1.4);
}

function bitLines(height: number): string {
  const bottom = height - 34;
  return [
    line(`${PLUS_X},34 ${PLUS_X},${bottom}`, BLUE, 2.4),
    line(`${MINUS_X},34 ${MINUS_X},${bottom}`, SOFT, 2.4),
    text(PLUS_X, 26, 'plus', { color: BLUE, anchor: 'middle', weight: 650 }),
    text(MINUS_X, 26, 'minus', { color: SOFT, anchor: 'middle', weight: 650 }),
    text(404, bottom + 18, 'two bit lines, to an ADC', { color: SOFT, size: 12, anchor: 'end' }),
  ].join('\n');
}

/** Gate plate at GATE_X, channel right of it; drain up to the plus line, source down to ground. */
function transistor(y: number, height: number, current: string): string {
  const channel = GATE_X + 8;
  const drainX = channel + 22;
  const viaY = y - 34;
  const sourceY = Math.min(y + 52, height - 58);
  return [
    line(`${GATE_X},${y - 17} ${GATE_X},${y + 17}`, INK, 2.4),
    line(`${channel},${y - 20} ${channel},${y + 20}`, INK, 2.4),
    line(`${channel},${y - 14} ${drainX},${y - 14} ${drainX},${viaY} ${PLUS_X},${viaY}`, BLUE, 2),
    dot(PLUS_X, viaY, BLUE, 5),
    `<circle cx="${MINUS_X}" cy="${viaY}" r="5" fill="#fff" stroke="${SOFT}" stroke-width="1.6" stroke-dasharray="2.5 2"/>`,
    text(drainX - 4, viaY - 10, 'drain via: sign', { color: BLUE, size: 12, anchor: 'middle' }),
    line(`${channel},${y + 14} ${drainX},${y + 14} ${drainX},${sourceY}`),
    line(`${drainX - 11},${sourceY} ${drainX + 11},${sourceY}`, INK, 2.4),
    text(drainX + 8, y + 6, current, { color: ACTIVE, weight: 650, size: 14 }),
    text(drainX, sourceY + 17, 'source line', { color: SOFT, size: 12, anchor: 'middle' }),
  ].join('\n');
}
