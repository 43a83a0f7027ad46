// How many bits must a column converter have? Sweeps them, and plots the answer: npx onefet node bits-against-kl.mjs && open bits.html
// Settings of a run come behind it, as in: npx onefet node bits-against-kl.mjs '{"maxWindows": 1, "chips": 2}'
import { writeFileSync } from 'node:fs';
import { executeRun, openInputs, planDesign } from 'onefet';

const settings = { maxWindows: 3, chips: 4, ...JSON.parse(process.argv[2] ?? '{}') };
const inputs = openInputs(settings);
const points = [];
for (const bits of [5, 6, 7, 8]) {
  const plan = planDesign(inputs, { ...settings, overrides: { ...settings.overrides, 'adc.bits': bits } });
  const { mean, ci95 } = (await executeRun(plan)).summary.kl;
  points.push({ bits, mean, low: ci95?.[0] ?? mean, high: ci95?.[1] ?? mean });
  console.log(`${bits} bits: KL ${mean.toFixed(4)} nats`);
}

const top = Math.max(...points.map(({ high }) => high));
const [x, y] = [(bits) => 90 + 120 * (bits - 5), (kl) => 300 - (260 * kl) / top];
const marks = points.map(({ bits, mean, low, high }) => `<path d="M${x(bits)} ${y(low)}V${y(high)}" stroke="#0072b2"/>
  <circle cx="${x(bits)}" cy="${y(mean)}" r="5" fill="#0072b2"/><text x="${x(bits)}" y="325">${bits} bits</text>
  <text x="${x(bits) + 34}" y="${y(mean) + 4}">${mean.toFixed(3)}</text>`);
writeFileSync('bits.html', `<!doctype html><meta charset="utf-8"><title>Bits against KL</title>
<svg viewBox="0 0 540 350" font-family="sans-serif" font-size="13" text-anchor="middle"><path d="M60 20V300H520" fill="none" stroke="#888"/>
  <text x="270" y="18">KL to the digital model, nats; bars: 95 % over the chips</text>${marks.join('')}</svg>`);
