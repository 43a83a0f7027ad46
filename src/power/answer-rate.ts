/**
 * Why some thousand tokens a second and not millions: a token waits for every matrix in turn.
 *
 *   time of a token = steps x (settle + convert, or products in turn) + attention + depth of units + ways + head
 *   floor           = all arithmetic and conversion in no time: only the ways and one level of logic per step are left
 */
import { dependentSteps } from '../cost/shape.ts';
import { formatSi, plain } from '../format.ts';
import type { Answer } from './answer.ts';
import type { PowerRow } from './power.ts';

const rate = (value: number): string => Math.round(value).toLocaleString('en-US');
/** Lines of time that the digital units have whatever multiplies. */
const SHARED = ['attention', 'digital-depth', 'wires', 'head'];

export function answerRate(rows: readonly PowerRow[]): Answer {
  const [{ cost, subject }] = rows;
  const largest = [...cost.latencyS].sort((a, b) => b.value - a.value);
  const part = ({ name, value }: { name: string; value: number }) =>
    `${name} ${formatSi(value, 's')} (${Math.round((100 * value) / cost.tokenTimeS)} %)`;
  const to = rows[0].shape;
  const steps = dependentSteps(to);
  const wires = lineS(cost, 'wires');
  const without = rows.map(({ cost: one }) => one.tokenTimeS - fabricS(one));
  return {
    id: 'rate',
    question: 'Why thousands of tokens per second for one user, and not millions?',
    sentences: [
      `${subject.name}: a token of ${cost.shape.name} passes ${steps} steps that wait for one another (query, key and value; output; gate and up; down, in each layer; the head). It takes ${formatSi(cost.tokenTimeS, 's')}: ${largest.slice(0, 4).map(part).join(', ')}. That is ${rate(cost.tokensPerSecondPerUser)} tokens/s (${rate(cost.bands.tokensPerSecondPerUser.low)} to ${rate(cost.bands.tokensPerSecondPerUser.high)}).`,
      `With a fabric that took no time at all it would be ${rate(1 / without[0])} tokens/s: attention, norms and softmax, ways and head stay. A million tokens/s leaves ${formatSi(1e-6 / steps, 's')} a step; the ways across the silicon alone take ${formatSi(wires / steps, 's')}, so even with all arithmetic free the limit is ${rate(1 / wires)} tokens/s.`,
      `Millions come from many users at once or not at all: each part takes its next token long before the first one is through, and then ${cost.binding} is the limit: ${rate(cost.tokensPerSecondAggregate)} tokens/s together, ${cost.usersHeld} caches of ${cost.contextTokens.toLocaleString('en-US')} tokens held.`,
    ],
    tables: [
      {
        caption: 'Time of one token and what bounds it',
        headers: [
          'Design',
          'One token',
          'Of it the fabric',
          'Attention',
          'Units and softmax',
          'Ways',
          'Head',
          'Tokens/s',
          'With a fabric of no time',
          'Busiest part takes a token every',
          'Full pipeline',
          'Limit',
        ],
        rows: rows.map(({ cost: one, subject: { name } }, i) => [
          name,
          formatSi(one.tokenTimeS, 's'),
          formatSi(fabricS(one), 's'),
          ...SHARED.map((line) => formatSi(lineS(one, line), 's')),
          rate(one.tokensPerSecondPerUser),
          rate(1 / without[i]),
          formatSi(
            1 / one.limits.find(({ name: limit }) => limit.startsWith('latency'))!.tokensPerSecond,
            's',
          ),
          rate(one.tokensPerSecondAggregate),
          one.binding,
        ]),
      },
      {
        caption: `Limits of a full pipeline, ${subject.name}: the lowest binds`,
        headers: ['Limit', 'Tokens/s', 'How'],
        rows: cost.limits.map(({ name, tokensPerSecond, formula }) => [
          name,
          plain(tokensPerSecond),
          formula,
        ]),
      },
    ],
    sources: [],
  };
}

const lineS = ({ latencyS }: PowerRow['cost'], name: string): number =>
  latencyS.find((line) => line.name === name)?.value ?? 0;

const fabricS = ({ latencyS }: PowerRow['cost']): number =>
  latencyS.reduce((sum, { name, value }) => sum + (SHARED.includes(name) ? 0 : value), 0);
