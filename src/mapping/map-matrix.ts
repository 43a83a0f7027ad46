/**
 * One matrix from exact weights to what the masks and the digital part hold.
 *
 *   search scales -> round or GPTQ -> refit -> anneal -> (refit -> descend) x sweeps -> refit -> side path
 *
 * The error after each step is relative: tr(E H E^T) / tr(W H_c W^T), E = W - W^, H the second moments of what the rows
 * code and H_c those about the mean: the energy of what the outputs vary by.
 */

import { dot } from '../small-matrices.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import { weightFormat } from '../tile/weight-code.ts';
import { anneal } from './anneal.ts';
import { centreAddend } from './centre.ts';
import type { Coding } from './coding.ts';
import { descend } from './descent.ts';
import { DAMPING, gptq } from './gptq.ts';
import { joinPaths, lowRank, type SidePath } from './low-rank.ts';
import {
  energies,
  formErrors,
  loadMoments,
  loadWeights,
  readCoding,
  type Workspace,
  weightEnergies,
} from './numerics/workspace.ts';
import { type PreparedInput, type PreparedWeights, prepareWeights } from './prepare.ts';
import { refit } from './refit.ts';
import { round } from './round.ts';
import { type ScaleRule, searchScales } from './scale-search.ts';

export interface CodingOptions {
  readonly scales: ScaleRule;
  readonly codes: 'round' | 'gptq';
  /** Of GPTQ, share of the mean diagonal. */
  readonly damping: number;
  /** Ridge of the second moments in K / tokens of their mean diagonal (loadInput); absent: none. */
  readonly ridge?: number;
  /** Joint refit of an output's tile scales after the codes. */
  readonly refit: boolean;
  /** Sweeps of annealed descent before those of descent, followed by a refit if that is on; absent: none. */
  readonly anneal?: number;
  /** Sweeps of coordinate descent, each followed by a refit if that is on. */
  readonly sweeps: number;
  /** Of the side path in SRAM; 0 is none. */
  readonly rank: number;
}

/** Today's mapping, and the best that needs no side path. */
export const ROUND: CodingOptions = {
  scales: 'clipped',
  codes: 'round',
  damping: DAMPING,
  refit: false,
  sweeps: 0,
  rank: 0,
};
export const GPTQ_PLUS: CodingOptions = {
  scales: 'weighted',
  codes: 'gptq',
  damping: DAMPING,
  refit: true,
  sweeps: 2,
  rank: 0,
};

export interface MappedMatrix extends Coding {
  readonly outputs: number;
  readonly inputs: number;
  readonly tileRows: number;
  readonly bits: WeightBits;
  /** mu [K] in the rows' basis and W mu [N]; undefined where rows code a itself. */
  readonly centre: { readonly mean: Float32Array; readonly addend: Float32Array } | undefined;
  /** y += up (down (a - mu)): what the codes leave. */
  readonly side: SidePath | undefined;
  /** z = down (a - mu) is taken out of the rows' input, a - mu - down^T z, and y += up z. */
  readonly principal: SidePath | undefined;
}

/** The last three of an image that was corrected for one chip: as it was read, with gains, with its side path. */
export const MAP_STEPS = [
  'scales',
  'gptq',
  'refit',
  'descent',
  'side',
  'chip',
  'gains',
  'chip-side',
] as const;

export interface MapStep {
  readonly step: (typeof MAP_STEPS)[number];
  /** Relative to what the outputs vary by. */
  readonly error: number;
}

export interface MatrixReport {
  readonly steps: readonly MapStep[];
  /** Relative error of what is stored, side path included. */
  readonly error: number;
  /** tr(W H_c W^T): what the outputs vary by. */
  readonly signal: number;
  /** How often each magnitude 0 .. magnitudeMax occurs. */
  readonly magnitudes: readonly number[];
  /** Transistors: weights times cells per weight, zeros included. */
  readonly cells: number;
  /** Damping that GPTQ's factor needed. */
  readonly damping: number | undefined;
}

/**
 * Makes the moments of a prepared input those of the workspace: once for all matrices that read it. With a ridge rho codes
 * are chosen, and errors said, under
 *
 *   H + rho K / tokens mean(diag H) I
 *
 * A text says the less of a direction the fewer tokens it has for an input; codes that are fitted to H alone are worse on other
 * texts (linear shrinkage, Ledoit & Wolf 2004, J. Multivariate Anal. 88).
 */
export function loadInput(
  workspace: Workspace,
  input: PreparedInput,
  { ridge = 0 }: Pick<CodingOptions, 'ridge'> = {},
): void {
  const { inputs, tokens } = input.statistics;
  loadMoments(workspace, input.moments, inputs, (ridge * inputs) / tokens);
}

/** A matrix before it is mapped. */
export interface ExactMatrix {
  /** W [N][K], the norm's gain folded in. */
  readonly weights: Float32Array;
  readonly outputs: number;
  /** s B and A, A with the gain folded in: exact beside the codes. */
  readonly adapter?: SidePath | undefined;
  /** The constant [N] in place of W mu, where the inputs are those of a mapped model (retarget.ts). */
  readonly addend?: Float32Array | undefined;
  /** `weights` and `adapter` are nobody else's: they may be changed. */
  readonly taken?: boolean;
}

/**
 * Maps W [N][K] (the norm's gain folded in; changed where it is `taken`) of an input that was prepared and loaded. `everyStep` measures the error after
 * each step, not at both ends only; a measurement costs as much as a sweep of descent.
 */
export function mapMatrix(
  workspace: Workspace,
  input: PreparedInput,
  exact: ExactMatrix,
  bits: WeightBits,
  options: CodingOptions,
  everyStep = false,
): { mapped: MappedMatrix; report: MatrixReport } {
  const { outputs } = exact;
  const { inputs, mean } = input.statistics;
  const prepared = prepareWeights(workspace, input, exact.weights, outputs, exact.taken);
  const { weights } = prepared;
  const adapter = exact.adapter && prepareAdapter(workspace, input, exact.adapter, exact.taken);
  const principal = withAdapter(prepared.principal, adapter);
  const { magnitudeMax } = weightFormat(bits);
  const { tileRows } = workspace;
  loadWeights(workspace, { outputs, inputs, tileRows, magnitudeMax, weights, moments: input.moments });
  const signal = outputEnergy(workspace, input, prepared);
  const steps: MapStep[] = [];
  const measure = (step: MapStep['step'], always = false): void => {
    if (everyStep || always)
      steps.push({ step, error: sum(energies(workspace, workspace.at.errors)) / signal });
  };

  searchScales(workspace, options.scales);
  if (options.codes === 'round' || everyStep) {
    round(workspace);
    measure('scales', true);
  }
  if (options.codes === 'gptq') {
    gptq(workspace, options.damping);
    measure('gptq');
  }
  improve(workspace, options, measure);
  formErrors(workspace); // what was added up in descent, exactly
  if (!everyStep || steps.length === 0) measure(options.sweeps > 0 ? 'descent' : 'gptq', true);

  const side = options.rank > 0 ? lowRank(workspace, options.rank) : undefined;
  if (side) steps.push({ step: 'side', error: lastError(steps) - sum(side.removed) / signal });
  const coding = readCoding(workspace);
  const format = weightFormat(bits);
  return {
    mapped: {
      ...coding,
      outputs,
      inputs,
      tileRows,
      bits,
      // W mu of the exact weights: the principal part leaves the mean alone.
      centre: input.options.centre
        ? { mean, addend: exact.addend ?? addendOf(weights, outputs, mean, adapter?.path) }
        : undefined,
      side: adapter ? joinPaths(adapter.path, side?.path) : side?.path,
      principal,
    },
    report: {
      steps,
      error: lastError(steps),
      signal,
      magnitudes: countMagnitudes(coding.codes, magnitudeMax),
      cells: outputs * inputs * format.cellWeights.length,
      damping: workspace.factored,
    },
  };
}

/** An adapter in the rows' basis, and its A on the principal directions. */
interface PreparedAdapter {
  readonly path: SidePath;
  /** A V [rank][principal]; undefined without a principal part. */
  readonly directions: Float32Array | undefined;
}

function prepareAdapter(
  workspace: Workspace,
  input: PreparedInput,
  { rank, up, down }: SidePath,
  taken: boolean | undefined,
): PreparedAdapter {
  const { weights, principal } = prepareWeights(workspace, input, down, rank, taken);
  return { path: { rank, up, down: weights }, directions: principal?.up };
}

/** The principal part of W + B A. */
function withAdapter(
  principal: SidePath | undefined,
  adapter: PreparedAdapter | undefined,
): SidePath | undefined {
  if (!principal || !adapter?.directions) return principal;
  const { path, directions } = adapter;
  const up = principal.up.map((x, i) => {
    const [n, r] = [Math.floor(i / principal.rank), i % principal.rank];
    let sum = x;
    for (let a = 0; a < path.rank; a++) {
      sum += path.up[n * path.rank + a] * directions[a * principal.rank + r];
    }
    return sum;
  });
  return { ...principal, up };
}

/** (W + B A) mu. */
function addendOf(
  weights: Float32Array,
  outputs: number,
  mean: Float32Array,
  adapter: SidePath | undefined,
): Float32Array {
  const addend = centreAddend(weights, outputs, mean);
  if (!adapter) return addend;
  const inner = centreAddend(adapter.down, adapter.rank, mean);
  return addend.map((x, n) => x + dot(adapter.up.subarray(n * adapter.rank, (n + 1) * adapter.rank), inner));
}

/** Refit and descent in turn, annealed first, ending with a refit. */
function improve(
  workspace: Workspace,
  options: CodingOptions,
  measure: (step: MapStep['step']) => void,
): void {
  if (options.refit) {
    refit(workspace);
    measure('refit');
  }
  const { anneal: annealed = 0 } = options;
  const steps = [
    ...(annealed > 0 ? [() => anneal(workspace, annealed)] : []),
    ...Array<() => void>(options.sweeps).fill(() => descend(workspace)),
  ];
  for (const step of steps) {
    step();
    measure('descent');
    if (options.refit) {
      refit(workspace);
      measure('refit');
    }
  }
}

/**
 * tr(W H_c W^T) of the whole input: the weights stand in the workspace. A mean that is not taken off does not count, a
 * principal part that is taken out does.
 */
function outputEnergy(
  workspace: Workspace,
  input: PreparedInput,
  { weights, principal }: PreparedWeights,
): number {
  let energy = sum(weightEnergies(workspace));
  principal?.up.forEach((x, i) => {
    energy += input.principal!.energies[i % principal.rank] * x * x;
  });
  if (input.options.centre) return energy || 1;
  const constants = centreAddend(weights, workspace.outputs, input.statistics.mean);
  return energy - constants.reduce((total, x) => total + x * x, 0) || 1;
}

const sum = (x: Float64Array): number => x.reduce((total, value) => total + value, 0);
const lastError = (steps: readonly MapStep[]): number => steps[steps.length - 1].error;

function countMagnitudes(codes: Int8Array, magnitudeMax: number): number[] {
  const counts = Array<number>(magnitudeMax + 1).fill(0);
  for (const code of codes) counts[Math.abs(code)]++;
  return counts;
}

/** W^ [N][K] of a mapped matrix, in the rows' basis and without its side paths. */
export function mappedWeights(mapped: MappedMatrix): Float32Array {
  const { outputs, inputs, tileRows, codes, scales } = mapped;
  const tiles = Math.ceil(inputs / tileRows);
  const weights = new Float32Array(outputs * inputs);
  for (let n = 0; n < outputs; n++) {
    for (let j = 0; j < inputs; j++) {
      weights[n * inputs + j] = scales[n * tiles + Math.floor(j / tileRows)] * codes[n * inputs + j];
    }
  }
  return weights;
}
