/** When, where and from what a program ran: for provenance. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from './files.ts';

export interface Origin {
  /** UTC, ISO 8601, to the second. */
  readonly date: string;
  /** As the operating system names it. */
  readonly cpu: string;
  /** Commit of the checkout, "+" behind it with changes; null where the program is no checkout. */
  readonly commit: string | null;
}

/** Of the program that runs, found once: two processes of git for every run of a sweep take longer than its plan. */
let ownCommit: string | null | undefined;

export function originNow(): Origin {
  ownCommit = ownCommit === undefined ? commitOf(packageRoot) : ownCommit;
  return {
    date: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
    cpu: cpus()[0]?.model.trim() || 'unknown',
    commit: ownCommit,
  };
}

/** A package below node_modules is not of the repository that it lies in. */
export function commitOf(folder: string): string | null {
  if (!existsSync(join(folder, '.git'))) return null;
  const git = (...words: string[]): string | null => {
    const { status, stdout } = spawnSync('git', ['-C', folder, ...words], {
      encoding: 'utf8',
      timeout: 5000,
    });
    return status === 0 ? stdout.trim() : null;
  };
  const head = git('rev-parse', 'HEAD');
  if (!head) return null;
  return git('status', '--porcelain', '--untracked-files=no') === '' ? head : `${head}+`;
}
