/** The mask-ROM fabric as the cost sees it: multibit cells, their sense circuits, and multiply-accumulate units. */
import { loadCircuit } from '../cell/circuits/circuit.ts';
import { OnefetError } from '../error.ts';
import type { Activity, MacActivity } from '../fabric/activity.ts';
import { type MaskRomDesign, ROM_CELL } from '../fabric/mask-rom.ts';
import { bankTraffic, type MacCounts, macUnits, unitsMm2 } from './components/macs.ts';
import {
  type CurrentCell,
  connectionAreaLine,
  connectionCosts,
  connectionReadLine,
  currentAreaLine,
  currentCell,
  currentCosts,
  currentReadLines,
  currentReadTime,
  senseAreaLine,
} from './components/rom-cells.ts';
import { scaleReadLine, scaleRomLine } from './components/scales.ts';
import type { CostConstants } from './constants.ts';
import { countMacs } from './digital.ts';
import { onSilicon, sumLines } from './lines.ts';
import type { CostComponent, PricedDesign } from './priced-design.ts';
import type { CostLine } from './report.ts';

/** Prices a mask-ROM design at the activity of a run. Errors: NO_ACTIVITY, those of loadCircuit, CIRCUIT_INVALID. */
export function priceMaskRom(activity: Activity<MacActivity>, design: MaskRomDesign): PricedDesign {
  const cell = design.rom.levels === 'current' ? cellOf(design) : undefined;
  const counted = countMacs(activity, design);
  const counts: MacCounts = cell
    ? { ...counted, read: (constants) => currentReadTime(cell, constants) }
    : counted;
  return {
    kvBits: design.kvBits,
    headInFabric: design.head === 'mapped',
    components: [weightCells(counts, cell), macUnits(counts)],
    traffic: ({ constants }) =>
      bankTraffic(counts, sumLines(cellAreas(counts, cell, constants)) + unitsMm2(counts, constants)),
    weights: (constants) =>
      cell ? currentCosts(counts, cell, constants) : connectionCosts(counts, constants),
    warnings: [],
  };
}

function cellOf({ process, rom: { cellArea } }: MaskRomDesign): CurrentCell {
  const circuit = loadCircuit(process, ROM_CELL);
  if (circuit.rom) return currentCell(circuit, circuit.rom, cellArea);
  throw new OnefetError('input', 'CIRCUIT_INVALID', `circuit ${process}/${ROM_CELL} is not a mask ROM`);
}

function weightCells(counts: MacCounts, cell: CurrentCell | undefined): CostComponent {
  return {
    name: 'weight-cells',
    clocked: true,
    area: ({ constants }) => [
      ...onSilicon('rom', ...cellAreas(counts, cell, constants), scaleRomLine(counts, constants)),
      ...(cell ? onSilicon('analog', senseAreaLine(counts, counts.units, cell, constants)) : []),
    ],
    energy: ({ constants }) => [
      ...(cell ? currentReadLines(counts, cell, constants) : [connectionReadLine(counts, constants)]),
      scaleReadLine(counts, constants),
    ],
  };
}

const cellAreas = (
  counts: MacCounts,
  cell: CurrentCell | undefined,
  constants: CostConstants,
): CostLine[] => [cell ? currentAreaLine(counts, cell, constants) : connectionAreaLine(counts, constants)];
