/** The table of `bench engine`. */

import { formatSi } from '../format.ts';
import type { AccuracyDifference } from './accuracy.ts';
import type { Bench, BenchResult } from './engine.ts';

interface Column {
  readonly head: string;
  cell(result: BenchResult): string;
}

export function benchEngineText(
  bench: Bench,
  differences: Readonly<Record<string, AccuracyDifference>>,
): string {
  const { limits, shape, peer } = bench;
  const one = (x: number, digits = 1) => x.toFixed(digits);
  const percent = (x: number) => `${(100 * x).toFixed(0)} %`;
  const columns: Column[] = [
    { head: '', cell: (r) => r.name },
    { head: 'rank', cell: (r) => String(r.rank) },
    { head: 'prefill tok/s', cell: (r) => one(r.prefillTokensPerSecond) },
    { head: 'GMAC/s', cell: (r) => one(r.prefillGmacPerSecond, 0) },
    { head: 'of peak', cell: (r) => percent(r.prefillShareOfPeak) },
    { head: 'decode tok/s', cell: (r) => one(r.decodeTokensPerSecond, 2) },
    { head: 'of memory', cell: (r) => percent(r.decodeShareOfStream) },
    { head: `${bench.texts} texts tok/s`, cell: (r) => one(r.togetherTokensPerSecond, 2) },
    ...(peer
      ? [
          { head: 'prefill x peer', cell: (r: BenchResult) => one(r.ratios!.prefill, 2) },
          { head: 'decode x peer', cell: (r: BenchResult) => one(r.ratios!.decode, 2) },
          {
            head: `${bench.texts} texts x peer`,
            cell: (r: BenchResult) => one(r.ratios!.together, 2),
          },
          { head: 'by processor time', cell: (r: BenchResult) => processorRatios(r) },
        ]
      : []),
    { head: 'KL to scalar', cell: (r) => differences[r.name]?.klNats.toExponential(1) ?? '' },
    { head: 'memory', cell: memory },
  ];
  const rows = [columns.map(({ head }) => head), ...bench.results.map((r) => columns.map((c) => c.cell(r)))];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const table = rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '),
  );
  const kernel = limits.gemmGmacPerSecond[limits.kernel];
  const positions = Object.values(differences)[0]?.positions;
  return [
    `${shape.layers} blocks of width ${shape.dim} (${bench.layersBuilt} built, the rest scaled), ${bench.threads} threads, batch ${bench.batchTokens}, decoding behind ${bench.batchTokens} tokens (${bench.texts} texts: one of them, the others behind ${Math.ceil(bench.batchTokens / bench.texts)}), medians of ${bench.rounds} rounds`,
    `${bench.processor}${bench.withoutVnni ? ', without VNNI' : ''}, kernel ${limits.kernel}, Node ${bench.node}; one thread: product ${kernel.toFixed(0)} GMAC/s, ${limits.peakGmacPerSecond.toFixed(0)} in registers, memory ${one(limits.streamGbytePerSecond)} GB/s`,
    peer
      ? `peer: ${peer.name}, ${one(peer.prefillTokensPerSecond)} tok/s prefill, ${one(peer.decodeTokensPerSecond, 2)} decode, in turns and warm; a ratio above 1 means that this engine is faster`
      : '',
    peer ? `  ${peer.system}` : '',
    '',
    ...table,
    '',
    bench.results.some((r) => r.memoryBytes !== r.decodeMemoryBytes)
      ? 'memory: of an engine of the whole shape. A chip prefills as `run` does, its cells made for every batch, and decodes as `generate` does, from cells that are baked: two figures'
      : '',
    runningLine(bench),
    ...profileLines(bench),
    positions === undefined
      ? ''
      : `KL to scalar: nats per token between the scalar reference and the engine on the same chip, embedded model, ${positions} positions, without drawn noise`,
  ]
    .filter((line, i, all) => line !== '' || all[i - 1] !== '')
    .join('\n')
    .trimEnd();
}

const memory = ({ memoryBytes, decodeMemoryBytes }: BenchResult): string =>
  [...new Set([memoryBytes, decodeMemoryBytes])].map((bytes) => formatSi(bytes, 'B')).join(' / ');

/** Says how many threads ran at a time: where others had the machine, walls are not to be compared. */
function runningLine({ threads, results, peer }: Bench): string {
  const range = (counts: readonly number[]) => {
    const [least, most] = [Math.min(...counts), Math.max(...counts)].map((count) => count.toFixed(1));
    return least === most ? least : `${least} to ${most}`;
  };
  const own = (stage: 'prefill' | 'decode') =>
    `${range(results.map((r) => r.threadsRunning[stage]))} in ${stage}`;
  const others = peer
    ? `, of the peer ${peer.threadsRunning.prefill.toFixed(1)} in prefill, ${peer.threadsRunning.decode.toFixed(1)} in decode`
    : '';
  const counts = [
    ...results.flatMap(({ threadsRunning: { prefill, decode } }) => [prefill, decode]),
    ...(peer ? Object.values(peer.threadsRunning) : []),
  ];
  const shared =
    Math.min(...counts) < 0.9 * threads
      ? ': the machine was shared, so take ratios by processor time (with --threads 1 nobody waits in loops)'
      : '';
  return `threads that ran at a time, of ${threads}: ${own('prefill')}, ${own('decode')}${others}${shared}`;
}

const processorRatios = ({ processorRatios: found }: BenchResult): string =>
  found ? [found.prefill, found.decode, found.together].map((ratio) => ratio.toFixed(2)).join(' / ') : '';

/** Lists where the time of each variant goes. */
function profileLines({ results }: Bench): string[] {
  const line = (profile: Readonly<Record<string, number>>) =>
    Object.entries(profile)
      .filter(([, share]) => share >= 0.005)
      .map(([stage, share]) => `${stage} ${(100 * share).toFixed(0)} %`)
      .join(', ');
  return results.map((r) => `${r.name}: prefill ${line(r.prefillProfile)}; decode ${line(r.decodeProfile)}`);
}
