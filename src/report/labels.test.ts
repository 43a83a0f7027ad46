/** Names beside points: nothing covers anything in cases where a place above each point would. */
import { expect, test } from 'vitest';
import {
  type Box,
  DESKTOP_FIELD,
  type KnownAxis,
  nameAnnotations,
  nameBoxes,
  overlap,
  PHONE_FIELD,
} from './labels.ts';

const pairs = (boxes: readonly Box[]) =>
  boxes.flatMap((box, i) => boxes.slice(i + 1).map((other) => overlap(box, other)));

/** The fabrics of the gallery: area, KL; two at one height a tenth of a decade apart, thrice. */
const FABRICS = [
  { x: 9242, y: 0.0572, name: 'log-domain' },
  { x: 10660, y: 0.0572, name: 'log-domain-28' },
  { x: 2441, y: 0.061, name: 'log-domain-7' },
  { x: 707, y: 0.0112, name: 'routed' },
  { x: 5190, y: 0.0112, name: 'mask-rom' },
  { x: 3310, y: 0.0112, name: 'hardwired' },
  { x: 1062, y: 0.0112, name: 'digital' },
  { x: 814, y: 0, name: 'gpu' },
];
const AREA: KnownAxis = { type: 'log', range: [2.79, 4.22] };
const KL: KnownAxis = { range: [-0.005, 0.066] };

test.each([
  ['desktop', DESKTOP_FIELD],
  ['phone', PHONE_FIELD],
])('the fabrics on a %s: no name covers another or leaves the field', (_, field) => {
  const boxes = nameBoxes(FABRICS, AREA, KL, field);
  expect(pairs(boxes).filter((area) => area > 0)).toEqual([]);
  for (const { left, top, right, bottom } of boxes) {
    expect(Math.min(left, top, field.widthPx - right, field.heightPx - bottom)).toBeGreaterThanOrEqual(0);
  }
});

test('names of points that lie in one place stand above each other', () => {
  const same = ['one', 'two', 'three', 'four', 'five'].map((name) => ({ x: 5, y: 5, name }));
  const axis: KnownAxis = { range: [0, 10] };
  expect(pairs(nameBoxes(same, axis, axis, DESKTOP_FIELD)).every((area) => area === 0)).toBe(true);
});

test('annotations stand where their boxes are: above the middle of a point that is alone, in the units of the axis', () => {
  const linear: KnownAxis = { range: [0, 10] };
  const log: KnownAxis = { type: 'log', range: [0, 2] };
  const [annotation] = nameAnnotations([{ x: 10, y: 5, name: 'a < b' }], log, linear, DESKTOP_FIELD);
  expect(annotation).toMatchObject({ x: 1, y: 5, text: 'a &lt; b', xanchor: 'center', showarrow: false });
  const [{ top, bottom }] = nameBoxes([{ x: 10, y: 5, name: 'a < b' }], log, linear, DESKTOP_FIELD);
  expect(annotation.yshift).toBeCloseTo(DESKTOP_FIELD.heightPx / 2 - (top + bottom) / 2, 9);
  expect(annotation.yshift).toBeGreaterThan(0);
});
