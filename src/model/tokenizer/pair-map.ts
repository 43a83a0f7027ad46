/** Ranks by pairs of symbols: a Map of numbers as large as a pair's costs several times as much to build and to ask. */
export class PairMap {
  private readonly mask: number;
  // Open addressing; a rank of -1 is an empty place.
  private readonly left: Int32Array;
  private readonly right: Int32Array;
  private readonly rank: Int32Array;

  /** For at most `pairs` pairs. */
  constructor(pairs: number) {
    const size = 2 ** Math.ceil(Math.log2(2 * pairs + 2));
    this.mask = size - 1;
    this.left = new Int32Array(size);
    this.right = new Int32Array(size);
    this.rank = new Int32Array(size).fill(-1);
  }

  /** Sets the rank of a pair, unless it has one. */
  add(left: number, right: number, rank: number): void {
    const at = this.place(left, right);
    if (this.rank[at] !== -1) return;
    this.left[at] = left;
    this.right[at] = right;
    this.rank[at] = rank;
  }

  /** Returns the rank of a pair, or -1. */
  get(left: number, right: number): number {
    return this.rank[this.place(left, right)];
  }

  /** Where the pair is, or the empty place where it belongs. */
  private place(left: number, right: number): number {
    const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    let at = (hash ^ (hash >>> 15)) & this.mask;
    while (this.rank[at] !== -1 && (this.left[at] !== left || this.right[at] !== right)) {
      at = (at + 1) & this.mask;
    }
    return at;
  }
}
