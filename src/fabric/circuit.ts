/** The calibrated circuit that a design rests on, with what a run says of it. */
import { type CircuitCalibration, loadCircuit } from '../cell/circuits/circuit.ts';
import { sha256 } from '../files.ts';
import type { CircuitProvenance } from './fabric.ts';

/** Errors: FILE_MISSING, CIRCUIT_INVALID, CIRCUIT_STALE. */
export function bindCircuit(
  process: string,
  circuit: string,
): { readonly calibration: CircuitCalibration; readonly provenance: CircuitProvenance } {
  const calibration = loadCircuit(process, circuit);
  const { engine } = calibration;
  return {
    calibration,
    provenance: { process, circuit, sha256: sha256(JSON.stringify(calibration)), engine },
  };
}
