/** Points that no other beats: every number of a point is to be small. */

/** a is nowhere worse than b and somewhere better. */
export function dominates(a: readonly number[], b: readonly number[]): boolean {
  let better = false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] > b[i]) return false;
    if (a[i] < b[i]) better = true;
  }
  return better;
}

const same = (a: readonly number[], b: readonly number[]): boolean => a.every((x, i) => x === b[i]);

/** Numbers of the points that no other dominates, in their order; of equal points the first. */
export function frontOf(points: readonly (readonly number[])[]): number[] {
  return points.flatMap((point, i) =>
    points.some((other, j) => dominates(other, point) || (j < i && same(other, point))) ? [] : [i],
  );
}

/** Rank by peeling fronts off: 0 is the front, 1 the front of what is left without it, and so on. */
export function frontRanks(points: readonly (readonly number[])[]): number[] {
  const ranks = new Array<number>(points.length).fill(-1);
  let left = points.map((_, i) => i);
  for (let rank = 0; left.length > 0; rank++) {
    const front = new Set(frontOf(left.map((i) => points[i])).map((i) => left[i]));
    for (const i of front) ranks[i] = rank;
    left = left.filter((i) => !front.has(i));
  }
  return ranks;
}
