/**
 * The activity that a design is priced at: of the newest run that counted it, or of the file that comes with a shipped design.
 *
 * A run counted a design where everything that decides the counts is the same. Bits of the converters, their sharing, constants
 * of cost and the cache's bits do not; whether the accuracy that was seen is this design's too is said apart.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { ACTIVITY_FILE, readActivity, type StoredActivity } from '../experiment/activity-file.ts';
import { DESIGN_DEFAULTS } from '../experiment/options.ts';
import { runFolders } from '../experiment/run-folder.ts';
import type { CommonDesign } from '../fabric/common-design.ts';
import { type LoadedDesign, loadDesign } from '../fabric/design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { designSchema, loadFabric } from '../fabric/registry.ts';
import { displayPath, findDataFile, listDataFolder } from '../files.ts';

const FOLDER = 'experiments/activity';

/** Names of all designs of the working folder and the package, the default first. */
export const shippedDesigns = (): string[] =>
  namesOf('experiments/designs', '.yaml').sort(
    (a, b) => Number(b === DESIGN_DEFAULTS.design) - Number(a === DESIGN_DEFAULTS.design),
  );

const namesOf = (folder: string, ending: string): string[] =>
  listDataFolder(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length));

export interface FoundActivity {
  readonly activity: StoredActivity;
  /** File that it is from, and the command that counted it. */
  readonly path: string;
  readonly source: string;
  /** The design that ran computes what this one does: its accuracy is known. */
  readonly sameDesign: boolean;
  /** The run had this mapping of the weights: what the digital side does around it was counted. */
  readonly sameMapping: boolean;
  /** The run counted another mapping of the weights on the same circuit, or files of other runs cannot be believed. */
  readonly warning?: string;
}

/** Activities on file with the designs that counted them. */
export interface StoredActivities {
  /** Those of runs first, the newest first. */
  readonly candidates: readonly Candidate[];
  /** Files that cannot be believed: why. */
  readonly passedOver: readonly string[];
}

interface Candidate {
  readonly path: string;
  readonly activity: StoredActivity;
  /** undefined: a design of another version. */
  readonly ran: CommonDesign | undefined;
  /** As countedKey and unmappedKey have it; their calibration is read when they are first asked for. */
  readonly counted: () => string | undefined;
  readonly unmapped: () => string | undefined;
}

/** Reads the activities of the runs below a folder, and the shipped ones. */
export function storedActivities(runs: string): StoredActivities {
  const passedOver: string[] = [];
  const ofRuns = runFolders(runs)
    .map((folder) => join(folder, ACTIVITY_FILE))
    .filter((path) => existsSync(path))
    .flatMap((path) => readOrPassOver(path, passedOver));
  const shipped = namesOf(FOLDER, '.json').map((design) => {
    const path = findDataFile(`${FOLDER}/${design}.json`)!;
    return { path, activity: readActivity(path) };
  });
  return { candidates: [...ofRuns, ...shipped].map(candidate), passedOver };
}

function candidate({
  path,
  activity,
}: {
  readonly path: string;
  readonly activity: StoredActivity;
}): Candidate {
  const ran = designThatRan(activity);
  const fabric = once(() => fabricThatRan(ran!));
  const keyed = (keyOf: (fabric: Fabric) => string) =>
    once(() => {
      const bound = fabric();
      return bound && keyOf(bound);
    });
  return { ...{ path, activity, ran }, counted: keyed(countedKey), unmapped: keyed(unmappedKey) };
}

/** undefined: its cell is not calibrated here, so that no design that is can be the same. */
function fabricThatRan(ran: CommonDesign): Fabric | undefined {
  try {
    return loadFabric(ran);
  } catch (error) {
    if (error instanceof OnefetError && error.code === 'GATE_UNCALIBRATED') return undefined;
    throw error;
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** Finds the activity of a design. Errors: ACTIVITY_MISSING (input). */
export function findActivity(
  loaded: LoadedDesign,
  fabric: Fabric,
  runs: string,
  { candidates, passedOver }: StoredActivities = storedActivities(runs),
): FoundActivity {
  const { name } = loaded.design;
  const computed = computedKey(loaded.design);
  const same = candidates.filter(({ ran }) => ran !== undefined && computedKey(ran) === computed);
  const best = same.find(({ activity }) => activity.design.name === name) ?? same[0];
  if (best !== undefined) return withWarnings({ ...foundAt(best), sameDesign: true }, passedOver);
  const sameKind = candidates.filter(({ ran }) => ran?.fabric === fabric.kind);
  const wanted = countedKey(fabric);
  const counted = sameKind.find((one) => one.counted() === wanted);
  if (counted !== undefined) return withWarnings(foundAt(counted), passedOver);
  const unmapped = unmappedKey(fabric);
  const mapped = sameKind.find((one) => one.unmapped() === unmapped);
  if (mapped !== undefined) {
    const differing = differencesOf(mapped.ran!.mapping, fabric.design.mapping);
    const auto =
      fabric.design.mapping.method === 'auto' && mapped.ran!.mapping.method !== 'auto'
        ? ', with all that auto may choose'
        : '';
    const warning = `its counts are of a run with ${differing.join(', ')}: currents are those of the other codes, and what the digital side does around the mapping is that of the design's keys${auto}. Run it for its own: onefet run --design ${name}`;
    return withWarnings({ ...foundAt(mapped), sameMapping: false }, [warning, ...passedOver]);
  }
  const settings = Object.entries(loaded.overrides).map(([key, value]) => ` --set ${key}=${value}`);
  throw new OnefetError(
    'input',
    'ACTIVITY_MISSING',
    `no run in ${displayPath(runs)} and no file in ${FOLDER} counted what design ${loaded.design.name} does${settings.length > 0 ? ` with${settings.join('')}` : ''}`,
    { hint: `run it once: onefet run --design ${loaded.design.name}${settings.join('')}` },
  );
}

/** A run's file; one that is damaged, or of another version, ends no command: other runs and the shipped files are there. */
function readOrPassOver(path: string, passedOver: string[]): { path: string; activity: StoredActivity }[] {
  try {
    return [{ path, activity: readActivity(path) }];
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind !== 'input') throw error;
    passedOver.push(`passed over: ${error.message}`);
    return [];
  }
}

const withWarnings = (found: FoundActivity, warnings: readonly string[]): FoundActivity =>
  warnings.length === 0 ? found : { ...found, warning: warnings.join('; ') };

function foundAt({ path, activity }: Candidate): FoundActivity {
  const shown = displayPath(path);
  return {
    activity,
    path: shown,
    source: `${shown}: onefet ${activity.command.join(' ')}`,
    sameDesign: false,
    sameMapping: true,
  };
}

/** The design that ran as this version reads it; undefined: one of another version, that this one does not take. */
export function designThatRan({ design: { resolved } }: StoredActivity): CommonDesign | undefined {
  // A gpu's schema fills in keys that nobody may say.
  const { tile: _tile, weights: _weights, mapping: _mapping, ...said } = resolved;
  try {
    for (const design of [resolved, said]) {
      const parsed = designSchema.safeParse(design);
      if (parsed.success) return parsed.data;
    }
    return undefined;
  } catch (error) {
    if (error instanceof OnefetError) return undefined;
    throw error;
  }
}

/** What decides the results of a chip: all but names, sources and money. */
function computedKey(design: CommonDesign): string {
  const { name: _name, description: _description, sources: _sources, costs: _costs, ...rest } = design;
  return JSON.stringify(rest);
}

/** Keys of a mapping that the run had otherwise, as in `mapping.method auto, not round`. */
function differencesOf(ran: CommonDesign['mapping'], asked: CommonDesign['mapping']): string[] {
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  return (Object.keys(asked) as (keyof typeof asked)[])
    .filter((key) => text(ran[key]) !== text(asked[key]))
    .map((key) => `mapping.${key} ${text(ran[key])}, not ${text(asked[key])}`);
}

/** What decides the counts of a run. */
const countedKey = (fabric: Fabric): string =>
  `${unmappedKey(fabric)} ${fabric.kind === 'gpu' ? '' : JSON.stringify(fabric.design.mapping)}`;

/** The same, whatever the mapping of the weights, as long as its budget of cells is the same, and where they go. */
function unmappedKey({ kind, design, nominalDesign }: Fabric): string {
  const {
    costs: _costs,
    kvBits: _kvBits,
    mapping: _mapping,
    ...nominal
  } = nominalDesign() as Partial<CommonDesign>;
  const { weights, tile } = design;
  const { input } = design as { input?: unknown };
  if (kind === 'gpu') return kind;
  const { cellsPerWeight, sensitivity } = design.mapping;
  return JSON.stringify({ kind, nominal, weights, cellsPerWeight, sensitivity, tile, input });
}

/** A design by name with its fabric. */
export function bindNamed(
  name: string,
  settings: readonly string[],
): { loaded: LoadedDesign; fabric: Fabric } {
  const loaded = loadDesign(name, settings);
  return { loaded, fabric: loadFabric(loaded.design) };
}
