/** One chip per model against the time for which anybody wants the model: masks and design paid back over its tokens. */
import type { CostConstants } from '../cost/constants.ts';
import { projectEconomics } from '../cost/economics.ts';
import type { CostReport } from '../cost/report.ts';
import { OnefetError } from '../error.ts';
import { plain } from '../format.ts';
import { type Answer, usedConstants } from './answer.ts';
import type { PowerRow } from './power.ts';

const MONTHS = [1, 3, 12, 36];
const CHIPS = [200, 2000, 20_000];

export function answerLifetime(rows: readonly PowerRow[]): Answer {
  const priced = rows.filter(({ price }) => typeof price !== 'string' && price.economics !== null);
  if (priced.length === 0) {
    return {
      ...HEAD,
      sentences: ['No design here makes tokens that have a price.'],
      tables: [],
      sources: [],
    };
  }
  const [{ subject, cost }] = priced;
  const { economics } = subject.constants;
  const middle = projectEconomics(cost, subject.constants).mid;
  const masks = economics.modelMasks.mid * economics.maskUsd.mid;
  const nre = masks + economics.modelNreUsd.mid;
  const grid = MONTHS.map((months) => CHIPS.map((chips) => at(cost, subject.constants, months, chips)));
  const short = at(cost, subject.constants, 1, economics.chipsPerModel.mid);
  return {
    ...HEAD,
    sentences: [
      `${subject.name}: a model needs ${economics.modelMasks.mid} masks (${usd(masks)}) and ${usd(economics.modelNreUsd.mid)} of design and test, ${usd(nre)} together (middle case). Over ${economics.chipsPerModel.mid.toLocaleString('en-US')} chips of ${usd(middle.chipUsd)} that is ${usd(middle.nreUsdPerChip)} a chip.`,
      `In ${plain(economics.modelLifetimeYears.mid)} year${economics.modelLifetimeYears.mid === 1 ? '' : 's'} at ${Math.round(100 * economics.utilisation.mid)} % of its time a million tokens cost ${usd(middle.usdPerMtoken)} (silicon ${usd(middle.siliconUsdPerMtoken)}, masks and design ${usd(middle.nreUsdPerMtoken)}, electricity ${usd(middle.electricityUsdPerMtoken)}) against ${usd(middle.gpuUsdPerMtoken)} on a rented GPU. ${middle.breakEvenChips === null ? 'Masks and design are never paid back.' : `Masks and design are paid back from ${middle.breakEvenChips.toLocaleString('en-US')} chips on.`}`,
      short === null
        ? 'A month is not enough to price.'
        : `A model that lives one month costs ${usd(short.usdPerMtoken)} a million tokens and pays back ${short.breakEvenChips === null ? 'never' : `from ${short.breakEvenChips.toLocaleString('en-US')} chips on`}: what decides is whether so many full-time chips of one model are wanted, not the masks.`,
    ],
    tables: [
      {
        caption: `Dollars for a million tokens of ${subject.name} by lifetime of the model and chips per model; all else in the middle`,
        headers: [
          'Lifetime',
          ...CHIPS.map((chips) => `${chips.toLocaleString('en-US')} chips`),
          'Paid back from',
        ],
        rows: MONTHS.map((months, i) => [
          months < 12
            ? `${months} month${months === 1 ? '' : 's'}`
            : `${months / 12} year${months === 12 ? '' : 's'}`,
          ...grid[i].map((one) => (one === null ? '-' : `${usd(one.usdPerMtoken)}`)),
          backText(grid[i][0]?.breakEvenChips),
        ]),
      },
      {
        caption: 'Every design in the middle case, and with every input at its low and high end',
        headers: ['Design', '$/Mtoken', 'Low', 'High', 'Chip', 'Paid back from'],
        rows: priced.map(({ subject: { name }, price }) => {
          const of = typeof price === 'string' ? null : price.economics;
          return [
            name,
            `${usd(of!.mid.usdPerMtoken)}`,
            `${usd(of!.low.usdPerMtoken)}`,
            `${usd(of!.high.usdPerMtoken)}`,
            `${usd(of!.mid.chipUsd)}`,
            backText(of!.mid.breakEvenChips),
          ];
        }),
      },
    ],
    sources: usedConstants(
      'economics',
      Object.fromEntries(Object.entries(economics).map(([key, band]) => [key, { ...band, value: band.mid }])),
    ),
  };
}

/** Dollars: whole ones above a thousand. */
const usd = (value: number): string =>
  `$${value >= 1000 ? Math.round(value).toLocaleString('en-US') : plain(value)}`;

const HEAD = { id: 'lifetime', question: 'One chip per model: does a model live long enough?' } as const;

const backText = (chips: number | null | undefined): string =>
  chips === undefined ? '-' : chips === null ? 'never' : `${chips.toLocaleString('en-US')} chips`;

/** The middle case at another lifetime and number of chips; null: it has no price. */
function at(cost: CostReport, constants: CostConstants, months: number, chips: number) {
  const one = (value: number) => ({
    low: value,
    mid: value,
    high: value,
    source: 'the question',
    tag: 'chosen' as const,
  });
  const economics = {
    ...constants.economics,
    modelLifetimeYears: one(months / 12),
    chipsPerModel: one(chips),
  };
  try {
    return projectEconomics(cost, { ...constants, economics }).mid;
  } catch (error) {
    if (error instanceof OnefetError && error.code === 'NO_GOOD_DIE') return null;
    throw error;
  }
}
