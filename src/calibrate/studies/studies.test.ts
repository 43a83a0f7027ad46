import { expect, test } from 'vitest';
import { listDataFolder } from '../../files.ts';
import { loadColumnStudy } from './column/study.ts';
import { loadTransientStudy } from './column/transient-study.ts';
import { loadNoiseStudy } from './noise.ts';
import { loadStatisticsStudy } from './statistics/study.ts';
import { requireStudies } from './studies.ts';

const LOADERS = {
  column: loadColumnStudy,
  noise: loadNoiseStudy,
  statistics: loadStatisticsStudy,
  transient: loadTransientStudy,
};
const shipped = ['planar32lp', 'planar130', 'gf180mcu'].flatMap((process) =>
  listDataFolder(`calibration/${process}`).flatMap((file) => {
    const match = /^(.+)\.(column|noise|statistics|transient)\.json$/.exec(file);
    return match ? [{ process, cell: match[1], study: match[2] as keyof typeof LOADERS }] : [];
  }),
);

test('every cell that has one study has all four', () => {
  expect(shipped.length).toBeGreaterThanOrEqual(16);
  for (const { process, cell } of shipped) {
    expect(shipped.filter((other) => other.process === process && other.cell === cell)).toHaveLength(4);
  }
});

test.each(shipped)(
  '$process/$cell $study: valid, and made from the files that are here',
  ({ process, cell, study }) => {
    expect(LOADERS[study](process, cell).cell).toBe(cell);
  },
);

test('cells that the studies do not describe are refused with what they are', () => {
  for (const cell of ['t1', 't1-large', 't1-driver', 'replica']) requireStudies('planar32lp', cell);
  const reasons = { t2: /source rail/, t2b: /source rail/, t4: /fingers/, t3: /resistors/, t1b: /current/ };
  for (const [cell, reason] of Object.entries(reasons)) {
    expect(() => requireStudies('planar32lp', cell)).toThrow(reason);
    try {
      requireStudies('planar32lp', cell);
    } catch (error) {
      expect(error).toMatchObject({ code: 'STUDY_TOPOLOGY', hint: expect.stringContaining('t1, t1-large') });
    }
  }
});
