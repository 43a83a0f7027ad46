/**
 * Best-first merging of neighbouring symbols, the core of both byte-pair and SentencePiece encoding: among all
 * neighbours that form a rule, merge the cheapest, the leftmost first among equals, until none is left.
 *
 * A doubly linked list of symbols and a binary heap of candidate pairs make it O(n log n): one word of a megabyte
 * takes about a second, where rescanning after every merge would take days.
 */
export interface MergeRules {
  /** Rule that joins two neighbours, or -1. */
  find(left: number, right: number): number;
  /** Order of application: lower first. */
  cost(rule: number): number;
  /** Symbol that replaces the two. */
  result(rule: number): number;
}

export class Merger {
  private readonly rules: MergeRules;
  // The symbols, as a doubly linked list over indices; a merged-away symbol is -1.
  private symbol = new Int32Array(0);
  private next = new Int32Array(0);
  private previous = new Int32Array(0);
  // The heap. An entry is stale when its two symbols are no longer what they were.
  private cost = new Float64Array(0);
  private place = new Int32Array(0);
  private left = new Int32Array(0);
  private right = new Int32Array(0);
  private rule = new Int32Array(0);
  private size = 0;

  constructor(rules: MergeRules) {
    this.rules = rules;
  }

  /** Merges `symbols` and appends what is left to `out`. */
  merge(symbols: ArrayLike<number>, out: number[]): void {
    const count = symbols.length;
    if (count === 0) return;
    this.reserve(count);
    const { symbol, next, previous } = this;
    for (let i = 0; i < count; i++) {
      symbol[i] = symbols[i];
      next[i] = i + 1 < count ? i + 1 : -1;
      previous[i] = i - 1;
    }
    this.size = 0;
    for (let i = 0; i + 1 < count; i++) this.propose(i, i + 1);
    while (this.size > 0) {
      const at = this.place[0];
      const left = this.left[0];
      const right = this.right[0];
      const rule = this.rule[0];
      this.dropFirst();
      const after = next[at];
      if (symbol[at] !== left || after === -1 || symbol[after] !== right) continue;
      symbol[at] = this.rules.result(rule);
      symbol[after] = -1;
      next[at] = next[after];
      if (next[at] !== -1) previous[next[at]] = at;
      if (previous[at] !== -1) this.propose(previous[at], at);
      if (next[at] !== -1) this.propose(at, next[at]);
    }
    for (let i = 0; i !== -1; i = next[i]) out.push(symbol[i]);
  }

  private reserve(count: number): void {
    if (this.symbol.length >= count) return;
    const length = Math.max(64, 2 * count);
    this.symbol = new Int32Array(length);
    this.next = new Int32Array(length);
    this.previous = new Int32Array(length);
    // n - 1 first candidates; each of at most n - 1 merges takes one out and puts two in.
    this.cost = new Float64Array(2 * length);
    this.place = new Int32Array(2 * length);
    this.left = new Int32Array(2 * length);
    this.right = new Int32Array(2 * length);
    this.rule = new Int32Array(2 * length);
  }

  private propose(at: number, after: number): void {
    const left = this.symbol[at];
    const right = this.symbol[after];
    const rule = this.rules.find(left, right);
    if (rule === -1) return;
    const cost = this.rules.cost(rule);
    let hole = this.size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (!this.before(cost, at, parent)) break;
      this.move(parent, hole);
      hole = parent;
    }
    this.cost[hole] = cost;
    this.place[hole] = at;
    this.left[hole] = left;
    this.right[hole] = right;
    this.rule[hole] = rule;
  }

  private dropFirst(): void {
    const last = --this.size;
    const cost = this.cost[last];
    const at = this.place[last];
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= last) break;
      if (child + 1 < last && this.before(this.cost[child + 1], this.place[child + 1], child)) child++;
      if (!this.before(this.cost[child], this.place[child], last)) break;
      this.move(child, hole);
      hole = child;
    }
    this.cost[hole] = cost;
    this.place[hole] = at;
    this.left[hole] = this.left[last];
    this.right[hole] = this.right[last];
    this.rule[hole] = this.rule[last];
  }

  /** Whether (cost, at) comes before heap entry `entry`. */
  private before(cost: number, at: number, entry: number): boolean {
    return cost < this.cost[entry] || (cost === this.cost[entry] && at < this.place[entry]);
  }

  private move(from: number, to: number): void {
    this.cost[to] = this.cost[from];
    this.place[to] = this.place[from];
    this.left[to] = this.left[from];
    this.right[to] = this.right[from];
    this.rule[to] = this.rule[from];
  }
}
