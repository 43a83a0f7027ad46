/**
 * The array of cells: its silicon, and the current that the cells take from the supply.
 */
import { type CellArea, cellArea } from '../../cell/footprint.ts';
import { count, formatSi, plain } from '../../format.ts';
import type { Provenance } from '../../provenance.ts';
import type { Census, FormatCensus } from '../census.ts';
import type { CostConstants } from '../constants.ts';
import { CHOSEN, costLine, DRAWN, onSilicon, UM2_PER_MM2, UNPROVEN } from '../lines.ts';
import type { LogDomainCostDesign } from '../log-domain-design.ts';
import type { CostComponent } from '../priced-design.ts';
import type { CostLine } from '../report.ts';

// Physics.

/** Energy that a current takes from a supply: E = I V t, J. */
export function currentEnergyJ(currentA: number, supplyV: number, seconds: number): number {
  return currentA * supplyV * seconds;
}

/** Area of a cell of the design whose row has `taps` taps; see cellArea. */
export function designCellArea(
  design: LogDomainCostDesign,
  constants: CostConstants,
  taps: number,
): CellArea {
  const { layout } = constants;
  return cellArea(
    design.footprint,
    design.device,
    {
      metalPitchM: layout.metalPitchM.value,
      deviceSideM: layout.deviceSideM.value,
      deviceEndM: layout.deviceEndM.value,
      resistorPitches2: layout.resistorPitches2.value,
      wellPitches: layout.wellPitches.value,
    },
    taps,
  );
}

/** A transistor with its spacing and contacts, um2: (W + side) (L + end), as a cell's. */
export function deviceUm2(
  { widthM, lengthM }: { readonly widthM: number; readonly lengthM: number },
  { deviceSideM, deviceEndM }: CostConstants['layout'],
): number {
  return (widthM + deviceSideM.value) * (lengthM + deviceEndM.value) * 1e12;
}

/** A format with the side of its square cell, m, and the capacitance of a wire across it, F. */
interface FormatWires extends FormatCensus {
  readonly sideM: number;
  readonly wireF: number;
}

/** Wires of each format: side = sqrt(cell area), C = side x capacitance per length. */
export function formatWires(
  counts: Census,
  design: LogDomainCostDesign,
  constants: CostConstants,
): FormatWires[] {
  return counts.formats.map((format) => {
    const sideM = Math.sqrt(designCellArea(design, constants, format.taps).um2) * 1e-6;
    return { ...format, sideM, wireF: sideM * constants.analog.wireFPerM.value };
  });
}

/** Tracks, fingers, resistors and wells are those of a drawing that nobody has checked against rules. */
const SKETCHED: Provenance = { source: "area of the cell's topology", tag: 'assumed' };

// Lines.

export function array(counts: Census, design: LogDomainCostDesign): CostComponent {
  return {
    name: 'array',
    area: ({ constants }) => onSilicon('passive', cellLine(counts.formats, design, constants)),
    energy: () => currentLines(counts.currentA, design),
  };
}

/** Tensors of different weight bits have different cells; each format is a term of the sum. */
function cellLine(
  formats: readonly FormatCensus[],
  design: LogDomainCostDesign,
  constants: CostConstants,
): CostLine {
  const used = new Set<Provenance>([CHOSEN, SKETCHED]);
  let um2 = 0;
  const terms = formats.map(({ bits, taps, cells }) => {
    const cell = designCellArea(design, constants, taps);
    um2 += cells * cell.um2;
    for (const constant of constantsOf(cell, constants)) used.add(constant);
    return () =>
      `${count(cells)} cells of ${bits}-bit weights x ${cellFormula(cell, design, constants, taps)}`;
  });
  return costLine('cells', um2 / UM2_PER_MM2, () => terms.map((term) => term()).join(' + '), [...used]);
}

function constantsOf(cell: CellArea, { layout }: CostConstants): Provenance[] {
  return [
    ...(cell.limitedBy === 'device' ? [layout.deviceSideM, layout.deviceEndM] : [layout.metalPitchM]),
    ...(cell.resistorsUm2 > 0 ? [layout.resistorPitches2] : []),
    ...(cell.wellsUm2 > 0 ? [layout.wellPitches] : []),
  ];
}

function cellFormula(
  cell: CellArea,
  { device, footprint }: LogDomainCostDesign,
  { layout }: CostConstants,
  taps: number,
): string {
  const um = (metres: number) => plain(metres * 1e6);
  const pitch = formatSi(layout.metalPitchM.value, 'm');
  const fingers = cell.fingers === 1 ? '' : `${cell.fingers} x `;
  const rows =
    footprint.horizontalTracks === 'taps' ? `${taps} taps` : `${cell.horizontalTracks} horizontals`;
  const { resistors, isolatedWells } = footprint;
  const widest = `max(device ${plain(cell.deviceUm2)} um2 = ${fingers}(${um(device.widthM)} + ${um(layout.deviceSideM.value)}) x (${um(device.lengthM)} + ${um(layout.deviceEndM.value)}) um, tracks ${plain(cell.tracksUm2)} um2 = ${rows} x ${cell.verticalTracks} verticals x (${pitch})^2)`;
  const extra = [
    ...(resistors > 0 ? [`${resistors} resistors of ${layout.resistorPitches2.value} x (${pitch})^2`] : []),
    ...(isolatedWells > 0 ? [`${isolatedWells} wells of (${layout.wellPitches.value} x ${pitch})^2`] : []),
  ];
  return extra.length === 0 ? widest : `(${[widest, ...extra].join(' + ')})`;
}

function currentLines(currentA: number, design: LogDomainCostDesign): CostLine[] {
  const { supplyV, integrationTimeS, settleTimeS } = design;
  return [
    costLine(
      'array',
      currentEnergyJ(currentA, supplyV, integrationTimeS),
      () =>
        `${formatSi(currentA, 'A')} summed over column ends and phases x ${supplyV} V x ${formatSi(integrationTimeS, 's')}`,
      [DRAWN, CHOSEN],
    ),
    costLine(
      'array-settling',
      currentEnergyJ(currentA, supplyV, settleTimeS),
      () => `the same current while the lines settle: x ${supplyV} V x ${formatSi(settleTimeS, 's')}`,
      [DRAWN, UNPROVEN],
    ),
  ];
}
