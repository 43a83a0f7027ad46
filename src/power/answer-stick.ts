/**
 * What a model of 1 to 3 B would draw in a stick at 2.5 W, heat included.
 *
 *   P = P_static(T) + E_dynamic x rate,  rate <= 1 / time of a token          (one user)
 *   T = T_air + R P                      (leakage doubles every some 18 K)
 *
 * A stick whose leakage takes all of every power at the temperature that it makes does not run.
 */
import { priceAtPoint } from '../cost/chip.ts';
import type { CostConstants } from '../cost/constants.ts';
import { formatSi, plain } from '../format.ts';
import { MODEL_SHAPES, type NamedShape } from '../model/shapes.ts';
import { type Answer, usedConstants } from './answer.ts';
import { designAt, type PowerRow, type PowerSubject } from './power.ts';
import type { QuestionConstants } from './question-constants.ts';

export interface Stick {
  readonly areaMm2: number;
  readonly dies: number;
  /** Of one user without a limit of power. */
  readonly fastestPerS: number;
  readonly staticW: number;
  /** What it draws, and how fast it then is; 0 where it does not run. */
  readonly drawnW: number;
  readonly tokensPerS: number;
  readonly junctionK: number;
}

/** Powers that are tried, between nothing and all that the port gives. */
const TRIED = 50;

/**
 * Finds the power up to `supplyW` at which one user's tokens come fastest: more power is more heat and more leakage, so less of
 * it may be faster.
 */
export function solveStick(
  subject: PowerSubject,
  shape: NamedShape,
  {
    supplyW,
    thermalKPerW,
    ambientK,
    contextTokens,
  }: Readonly<Record<'supplyW' | 'thermalKPerW' | 'ambientK' | 'contextTokens', number>>,
): Stick {
  const design = designAt(subject, shape);
  let best: Stick | undefined;
  for (let i = 1; i <= TRIED; i++) {
    const drawnW = (supplyW * i) / TRIED;
    const junctionK = ambientK + thermalKPerW * drawnW;
    const constants = at(subject.constants, junctionK);
    const cost = priceAtPoint(design, shape, constants, contextTokens);
    const staticW = cost.staticPowerW;
    const fastestPerS = 1 / cost.tokenTimeS;
    const affordedPerS = (drawnW - staticW) / (cost.perTokenJ - staticW * cost.tokenTimeS);
    const tokensPerS = Math.max(0, Math.min(fastestPerS, affordedPerS));
    if (best !== undefined && tokensPerS <= best.tokensPerS) continue;
    const { areaMm2, dies } = cost;
    best = { areaMm2, dies, fastestPerS, staticW, drawnW, tokensPerS, junctionK };
  }
  return best!;
}

function at(constants: CostConstants, junctionK: number): CostConstants {
  const { power } = constants;
  return { ...constants, power: { ...power, junctionK: { ...power.junctionK, value: junctionK } } };
}

/** Power at which the surface has its limit, W. */
export function heatLimitW({
  surfaceLimitK,
  ambientK,
  thermalKPerW,
}: {
  surfaceLimitK: number;
  ambientK: number;
  thermalKPerW: number;
}): number {
  return Math.max(0, surfaceLimitK - ambientK) / thermalKPerW;
}

export function answerStick(rows: readonly PowerRow[], { stick }: QuestionConstants): Answer {
  const shapes = [MODEL_SHAPES['llama-3.2-1b'], MODEL_SHAPES['llama-3.2-3b']];
  const values = {
    supplyW: stick.supplyW.value,
    thermalKPerW: stick.thermalKPerW.value,
    ambientK: stick.ambientK.value,
    surfaceLimitK: stick.surfaceLimitK.value,
    contextTokens: stick.contextTokens.value,
  };
  const limitW = heatLimitW(values);
  const celsius = (kelvin: number) => `${Math.round(kelvin - 273.15)} °C`;
  const perSecond = (one: Stick) =>
    one.tokensPerS > 0 ? Math.round(one.tokensPerS).toLocaleString('en-US') : 'does not run';
  const rateText = (one: Stick) => (one.tokensPerS > 0 ? `${perSecond(one)} tokens/s` : 'nothing');
  const solved = rows.flatMap(({ subject }) =>
    shapes.map((shape) => ({
      name: subject.name,
      shape: shape.name,
      port: solveStick(subject, shape, values),
      touch: solveStick(subject, shape, { ...values, supplyW: Math.min(values.supplyW, limitW) }),
    })),
  );
  const [one] = solved;
  const hot = stick.thermalKPerW;
  return {
    id: 'stick',
    question: 'What would a model of 1 to 3 B draw in a USB stick?',
    sentences: [
      `At ${values.supplyW} W and ${values.thermalKPerW} K/W a stick is ${plain(values.supplyW * values.thermalKPerW)} K above the air (${plain(values.supplyW * (hot.low ?? hot.value))} to ${plain(values.supplyW * (hot.high ?? hot.value))} K): ${celsius(values.ambientK + values.supplyW * values.thermalKPerW)}. ${limitW < values.supplyW ? 'Heat, not the port, is the limit' : 'The port is the limit, not heat'}: a surface of ${celsius(values.surfaceLimitK)} allows ${plain(limitW)} W.`,
      `${one.name}, ${one.shape}: ${plain(one.port.areaMm2)} mm2 (${one.port.dies} ${one.port.dies === 1 ? 'die' : 'dies'}). It could take ${Math.round(one.port.fastestPerS).toLocaleString('en-US')} tokens/s; up to the port's power it gives ${rateText(one.port)} at ${formatSi(one.port.drawnW, 'W')} and ${celsius(one.port.junctionK)}, within the heat limit ${rateText(one.touch)} at ${formatSi(one.touch.drawnW, 'W')}. More power is not always faster: it heats, and leakage grows.`,
    ],
    tables: [
      {
        caption: `One user, ${values.contextTokens.toLocaleString('en-US')} tokens of context; leakage at the temperature that the stick has then`,
        headers: [
          'Design',
          'Model',
          'mm2',
          'Dies',
          'Leakage and bias',
          'From the port',
          'Tokens/s',
          'Die',
          'Cool enough to touch',
          'Tokens/s',
          'Die',
        ],
        rows: solved.map(({ name, shape, port, touch }) => [
          name,
          shape,
          plain(port.areaMm2),
          String(port.dies),
          formatSi(port.staticW, 'W'),
          formatSi(port.drawnW, 'W'),
          perSecond(port),
          celsius(port.junctionK),
          formatSi(touch.drawnW, 'W'),
          perSecond(touch),
          celsius(touch.junctionK),
        ]),
      },
    ],
    sources: usedConstants('stick', stick),
  };
}
