/**
 * Area and current at rest of one weight, from its topology: the one home of a cell's area. The comparison of
 * cells and the cost of a chip both take it from here.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { loadYaml } from '../config.ts';
import { findCostFile } from '../cost-file.ts';
import { requireDataFile } from '../files.ts';
import { REFERENCE_TEMP_K, thermalVoltageV } from './ekv.ts';
import { type MultiplierTopology, parameterValues } from './topology.ts';

/** `area` of a topology: what a weight is made of. */
export type Footprint = MultiplierTopology['area'];

/** Layout rules: `layout` in spice/<process>/cost.yaml. */
interface LayoutRules {
  metalPitchM: number;
  /** Lengths that a device adds to its gate across the width, and along the length. */
  deviceSideM: number;
  deviceEndM: number;
  /** Area of a resistor, and side of the square that a well of its own takes, in metal pitches (squared). */
  resistorPitches2: number;
  wellPitches: number;
}

export interface CellArea {
  /** Unit transistors of the top tap. */
  fingers: number;
  deviceUm2: number;
  horizontalTracks: number;
  verticalTracks: number;
  tracksUm2: number;
  resistorsUm2: number;
  wellsUm2: number;
  um2: number;
  /** Whether the device or the tracks decide. */
  limitedBy: 'device' | 'wires';
}

/** Taps of the ladder that a topology's `fingersOfTopTap` is stated for. */
const STATED_TAPS = 7;

/** Computes horizontal x vertical tracks x pitch^2, um2: seven taps, three verticals at 40 nm are 0.034 um2. */
export function trackAreaUm2(horizontalTracks: number, verticalTracks: number, pitchM: number): number {
  return horizontalTracks * verticalTracks * (pitchM * 1e6) ** 2;
}

/**
 * Computes the area of one weight whose row has `taps` taps:
 *
 *   max(fingers (W + side) (L + end), horizontal x vertical tracks x pitch^2)
 *     + resistors x resistorPitches2 x pitch^2 + isolated wells x (wellPitches x pitch)^2
 *
 * A cell of one transistor keeps it whatever the taps; one whose weight is a number of fingers needs them in proportion.
 */
export function cellArea(
  footprint: Footprint,
  device: { readonly widthM: number; readonly lengthM: number },
  rules: LayoutRules,
  taps: number,
): CellArea {
  const { fingersOfTopTap, verticalTracks, resistors, isolatedWells } = footprint;
  const fingers = fingersOfTopTap === 1 ? 1 : Math.ceil((fingersOfTopTap * taps) / STATED_TAPS);
  const deviceUm2 =
    fingers * (device.widthM + rules.deviceSideM) * (device.lengthM + rules.deviceEndM) * 1e12;
  const horizontalTracks = footprint.horizontalTracks === 'taps' ? taps : footprint.horizontalTracks;
  const tracksUm2 = trackAreaUm2(horizontalTracks, verticalTracks, rules.metalPitchM);
  const resistorsUm2 = resistors * rules.resistorPitches2 * (rules.metalPitchM * 1e6) ** 2;
  const wellsUm2 = isolatedWells * (rules.wellPitches * rules.metalPitchM * 1e6) ** 2;
  return {
    fingers,
    deviceUm2,
    horizontalTracks,
    verticalTracks,
    tracksUm2,
    resistorsUm2,
    wellsUm2,
    um2: Math.max(deviceUm2, tracksUm2) + resistorsUm2 + wellsUm2,
    limitedBy: deviceUm2 >= tracksUm2 ? 'device' : 'wires',
  };
}

const length = z.looseObject({ value: z.number().min(0) });
const rulesSchema = z.looseObject({
  layout: z.looseObject({
    metalPitchM: length,
    deviceSideM: length,
    deviceEndM: length,
    resistorPitches2: length,
    wellPitches: length,
  }),
});

const wireSchema = rulesSchema.extend({ analog: z.looseObject({ wireFPerM: length }) });

function layoutRules(layout: z.infer<typeof rulesSchema>['layout']): LayoutRules {
  return {
    metalPitchM: layout.metalPitchM.value,
    deviceSideM: layout.deviceSideM.value,
    deviceEndM: layout.deviceEndM.value,
    resistorPitches2: layout.resistorPitches2.value,
    wellPitches: layout.wellPitches.value,
  };
}

/**
 * Reads what a wire across one square cell comes to, F: sqrt(area) x capacitance per length, from the layout rules that the
 * cost has. Errors: FILE_MISSING where the process has no cost.yaml, and those of a wrong file.
 */
export function loadCellWires(
  process: string,
  costs: string,
): (footprint: Footprint, device: { widthM: number; lengthM: number }, taps: number) => number {
  const found = findCostFile(process, costs)?.path;
  const path = found ?? requireDataFile(join('spice', process, `${costs}.yaml`), 'cost constants');
  const { analog, layout } = loadYaml(path, 'cost constants', wireSchema, 'COST_CONSTANTS');
  const rules = layoutRules(layout);
  return (footprint, device, taps) =>
    Math.sqrt(cellArea(footprint, device, rules, taps).um2) * 1e-6 * analog.wireFPerM.value;
}

/** Reads the layout rules of a process; undefined: it has no cost.yaml. Errors: those of a missing or wrong file. */
export function loadLayoutRules(process: string): LayoutRules | undefined {
  const file = findCostFile(process);
  if (file === undefined) return undefined;
  const { layout } = loadYaml(file.path, 'cost constants', rulesSchema, 'COST_CONSTANTS');
  return layoutRules(layout);
}

/** Computes the mean static power of a weight: cell current at the mean product (codes and taps uniform) times the supply, and what averaging resistors burn, W. */
export function cellPowerW(
  topology: MultiplierTopology,
  fullScaleA: number,
  supplyV: number,
  drive: { dacSlopeFactor: number; ladderSlopeFactor: number },
  codes: number,
  taps: number,
): number {
  let product = 0;
  let squared = 0;
  const ut = thermalVoltageV(REFERENCE_TEMP_K);
  for (let k = 1; k <= codes; k++) {
    for (let m = 1; m <= taps; m++) {
      product += (k * m) / (codes * taps);
      squared +=
        (ut * (drive.dacSlopeFactor * Math.log(k / codes) - drive.ladderSlopeFactor * Math.log(m / taps))) **
        2;
    }
  }
  const count = codes * taps;
  const parameters = parameterValues(topology);
  const resistive =
    topology.area.resistors === 2 && parameters.resistor_ohm !== undefined
      ? squared / count / (2 * parameters.resistor_ohm)
      : 0;
  return (product / count) * fullScaleA * supplyV + resistive;
}
