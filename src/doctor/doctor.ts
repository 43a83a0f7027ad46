/** `onefet doctor`: is everything here that the commands need, and what to do where it is not. */
import { OnefetError } from '../error.ts';
import { packageVersion } from '../files.ts';
import type { Check, Diagnosis } from './check.ts';
import { checkDisk, checkMachine, checkMemory, checkNode, checkPrograms, checkThreads } from './machine.ts';
import { checkCalibrations, checkEngine, checkLlamaCpp, checkModels, checkSimulator } from './parts.ts';

/** Looks at everything; about a second, most of it the start of the simulator. */
export async function diagnose(): Promise<Diagnosis> {
  return {
    schema: 'onefet.doctor/1',
    version: packageVersion(),
    checks: [
      checkMachine(),
      checkNode(),
      await checkEngine(),
      checkThreads(),
      checkMemory(),
      checkDisk(),
      await checkSimulator(),
      ...checkCalibrations(),
      ...checkModels(),
      ...checkPrograms(),
      checkLlamaCpp(),
    ],
  };
}

/** Throws DOCTOR, of the kind of the first failure, when a check has failed. */
export function requireHealth({ checks }: Diagnosis): void {
  const failures = checks.filter(({ state }) => state === 'fail');
  if (failures.length === 0) return;
  const [{ kind, hint }] = failures;
  throw new OnefetError(
    kind ?? 'internal',
    'DOCTOR',
    `${failures.length} of ${checks.length} checks fail: ${failures.map(({ name }) => name).join(', ')}`,
    hint === undefined ? {} : { hint },
  );
}

const WORDS: Readonly<Record<Check['state'], string>> = { ok: 'ok', note: 'note', fail: 'FAIL' };

/** Lines for people. */
export function diagnosisLines({ version, checks }: Diagnosis): string[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, state, found, hint }) => [
    `${WORDS[state].padEnd(5)} ${name.padEnd(width)}  ${found}`,
    ...(state === 'ok' || hint === undefined ? [] : [`${' '.repeat(width + 8)}-> ${hint}`]),
  ]);
  const failures = checks.filter(({ state }) => state === 'fail').length;
  return [
    `onefet ${version}`,
    ...lines,
    failures === 0 ? 'nothing stands in the way' : `${failures} in the way`,
  ];
}
