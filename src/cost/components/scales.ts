/**
 * The digital scale of each output and tile, by which a tile's result is multiplied: 16 bits in a compiled ROM, or in SRAM
 * where it was fitted to the chip, which no mask can hold. Each is read once a token.
 */
import { count, formatSi } from '../../format.ts';
import type { CostConstants } from '../constants.ts';
import { CHOSEN, COUNTED, costLine, onSilicon } from '../lines.ts';
import type { CostComponent } from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import { romMm2, sramMm2 } from './digital.ts';
import type { MatrixTotals } from './matrices.ts';

/** Of a scale as it is stored. */
export const SCALE_BITS = 16;

type Scales = Pick<MatrixTotals, 'scales'>;

const scaleBytes = ({ scales }: Scales): number => (scales * SCALE_BITS) / 8;

/** Scales in a compiled ROM. */
export function scaleRomLine({ scales }: Scales, constants: CostConstants): CostLine {
  const { romBitsPerMm2 } = constants.memory;
  return costLine(
    'scale-rom',
    romMm2(scales * SCALE_BITS, constants),
    () =>
      `${count(scales)} scales (one per output and tile) x ${SCALE_BITS} bit / ${formatSi(romBitsPerMm2.value, 'bit')} per mm2`,
    [CHOSEN, romBitsPerMm2],
  );
}

/** Reads each scale once. */
export function scaleReadLine(counts: Scales, { memory }: CostConstants): CostLine {
  const bytes = scaleBytes(counts);
  return costLine(
    'scale-rom',
    bytes * memory.romReadJPerByte.value,
    () =>
      `${formatSi(bytes, 'B')} of scales, each read once x ${formatSi(memory.romReadJPerByte.value, 'J/B')}`,
    [COUNTED, memory.romReadJPerByte],
  );
}

/** Adds the results of an output's tiles, each times its scale. */
export function scaleLine({ tileResults }: MatrixTotals, { digital }: CostConstants): CostLine {
  return costLine(
    'accumulation',
    tileResults * (digital.accumulateJ.value + digital.scaleMultiplyJ.value),
    () =>
      `${count(tileResults)} tile results x (${formatSi(digital.accumulateJ.value, 'J')} add + ${formatSi(digital.scaleMultiplyJ.value, 'J')} scale)`,
    [COUNTED, digital.accumulateJ, digital.scaleMultiplyJ],
  );
}

/** The store of the scales alone: `corrected`, those that each chip has of its own. */
export function scaleStore(counts: Scales, corrected: boolean): CostComponent {
  return {
    name: 'scales',
    clocked: true,
    area: ({ constants }) =>
      corrected
        ? onSilicon('sram', correctedAreaLine(counts, constants))
        : onSilicon('rom', scaleRomLine(counts, constants)),
    energy: ({ constants }) => [
      corrected ? correctedReadLine(counts, constants) : scaleReadLine(counts, constants),
    ],
  };
}

function correctedAreaLine(counts: Scales, constants: CostConstants): CostLine {
  const bytes = scaleBytes(counts);
  return costLine(
    'corrected-scales-sram',
    sramMm2(bytes, constants),
    () =>
      `${formatSi(bytes, 'B')} of scales that were fitted to this chip, ${SCALE_BITS} bit for each output and tile, in SRAM`,
    [CHOSEN, constants.memory.sramCellUm2],
  );
}

function correctedReadLine(counts: Scales, { memory: { sramReadJPerByte } }: CostConstants): CostLine {
  const bytes = scaleBytes(counts);
  return costLine(
    'corrected-scales',
    bytes * sramReadJPerByte.value,
    () =>
      `${formatSi(bytes, 'B')} of scales of this chip, each read once x ${formatSi(sramReadJPerByte.value, 'J/B')}`,
    [COUNTED, sramReadJPerByte],
  );
}
