// What does a token cost when its context grows? Prices Llama 3.1 8B on designs: npx onefet node energy-against-context.mjs && open energy.html
import { writeFileSync } from 'node:fs';
import { power } from 'onefet';

const contexts = [512, 2048, 8192, 32768];
const lines = ['log-domain', 'routed', 'hardwired'].map((design) => ({
  design,
  mJ: power({ design, contexts }).map(({ cost }) => cost.perTokenJ * 1e3),
}));
for (const { design, mJ } of lines) contexts.forEach((n, i) => console.log(`${design} ${n} tokens: ${mJ[i].toPrecision(3)} mJ`));

const all = lines.flatMap(({ mJ }) => mJ.map(Math.log));
const [low, high] = [Math.min(...all), Math.max(...all)];
const [x, y] = [(i) => 70 + 110 * i, (mJ) => 300 - (260 * (Math.log(mJ) - low)) / (high - low)];
const curves = lines.map(({ design, mJ }, n) => `<g fill="${['#0072b2', '#d55e00', '#009e73'][n]}">
  ${mJ.map((value, i) => `<circle cx="${x(i)}" cy="${y(value)}" r="4"/>`).join('')}
  <polyline points="${mJ.map((value, i) => `${x(i)},${y(value)}`).join(' ')}" fill="none" stroke="#888"/>
  <text x="${x(0) - 10}" y="${y(mJ[0]) + 4}" text-anchor="end">${mJ[0].toPrecision(2)}</text>
  <text x="${x(3) + 12}" y="${y(Math.max(...all.map(Math.exp))) + 16 * n}">${design} ${mJ[3].toPrecision(3)} mJ</text></g>`);
writeFileSync('energy.html', `<!doctype html><meta charset="utf-8"><title>Energy against context</title>
<svg viewBox="0 0 560 350" font-family="sans-serif" font-size="12"><text x="20" y="16">mJ per token of one user, Llama 3.1 8B (log scales)</text>
${contexts.map((n, i) => `<text x="${x(i)}" y="335" text-anchor="middle">${n} tokens</text>`).join('')}${curves.join('')}</svg>`);
