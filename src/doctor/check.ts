/** What `onefet doctor` finds: one line a check, with a remedy where something is missing. */
import type { ErrorKind } from '../error.ts';

/** `ok`; `note`: works, something optional or slow is missing; `fail`: a command of the README will not work. */
export type CheckState = 'ok' | 'note' | 'fail';

export interface Check {
  readonly name: string;
  readonly state: CheckState;
  readonly found: string;
  /** What to do where the state is not ok. */
  readonly hint?: string;
  /** Of a failure: decides the exit code. */
  readonly kind?: ErrorKind;
}

export interface Diagnosis {
  readonly schema: 'onefet.doctor/1';
  readonly version: string;
  readonly checks: readonly Check[];
}
