/**
 * What one weight occupies and draws at rest, from its topology.
 */
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { findDataFile, readTextFile } from '../files.ts';
import { BOLTZMANN_OVER_CHARGE, REFERENCE_TEMP_K } from './ekv.ts';
import type { Process } from './technology.ts';
import { type MultiplierTopology, parameterValues } from './topology.ts';

const layoutSchema = z.looseObject({
  layout: z.looseObject({
    metalPitchM: z.looseObject({ value: z.number().positive() }),
    deviceSideM: z.looseObject({ value: z.number().min(0) }),
    deviceEndM: z.looseObject({ value: z.number().min(0) }),
  }),
});

/**
 * Area of one weight: the larger of the devices (each W and L with the layout's spacings) and its wires
 * (horizontal tracks times vertical tracks at the metal pitch), plus resistors of 4 squares at minimum pitch and the
 * spacing of isolated wells (20 pitches around a device). The last two are assumed.
 */
export function cellAreaM2(
  process: Process,
  topology: MultiplierTopology,
  cell: CellSize,
  taps: number,
): number | undefined {
  const path = findDataFile(join('spice', process.technology.name, 'cost.yaml'));
  if (path === undefined) return undefined;
  const { layout } = layoutSchema.parse(parse(readTextFile(path, 'cost constants')));
  const pitch = layout.metalPitchM.value;
  const { fingersOfTopTap, horizontalTracks, verticalTracks, resistors, isolatedWells } = topology.area;
  const device =
    fingersOfTopTap * (cell.widthM + layout.deviceSideM.value) * (cell.lengthM + layout.deviceEndM.value);
  const wires = (horizontalTracks === 'taps' ? taps : horizontalTracks) * verticalTracks * pitch ** 2;
  return Math.max(device, wires) + resistors * 4 * pitch ** 2 + isolatedWells * (20 * pitch) ** 2;
}

interface CellSize {
  readonly widthM: number;
  readonly lengthM: number;
}

/** Cell current at the mean product (codes and taps uniform) times the supply, and what averaging resistors burn. */
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
  const ut = BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K;
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
