/** Threads that do stage jobs, each with a workspace for its own stages; or none, and the work is done here. */
import { Worker } from 'node:worker_threads';
import { fromPlainError, type PlainError } from '../error.ts';
import { sourceExtension } from '../files.ts';
import type { Stage } from '../model/architecture.ts';
import { momentsFactor } from './moments-factor.ts';
import { newWorkspace, type Workspace, type WorkspaceLimits } from './numerics/workspace.ts';
import { type CodedMatrix, runStageJob, type StageJob } from './stage-job.ts';

export interface StageResult {
  /** Loudness scales f [K] of the stage's inputs. */
  readonly factors: Float32Array | undefined;
  readonly coded: readonly CodedMatrix[];
  /** Of moments-factor.ts, where the job asks for it. */
  readonly moments: Float32Array | undefined;
}

export interface StageShare {
  readonly stages: readonly Stage[];
  readonly limits: WorkspaceLimits;
}

export interface Team {
  /** Jobs of one thread are done in the order in which they are given. */
  run(stage: Stage, job: StageJob): Promise<StageResult>;
  stop(): Promise<void>;
}

/** An answer to every job. */
export type TeamMessage = { readonly result: StageResult } | { readonly error: PlainError };

/** One thread per share, or with `threaded` false the first share's workspace in this thread. */
export async function newTeam(shares: readonly StageShare[], threaded: boolean): Promise<Team> {
  if (!threaded) {
    const workspace = await newWorkspace(shares[0].limits);
    return { run: async (_, job) => stageResult(workspace, job), stop: async () => undefined };
  }
  const members = shares.map(({ stages, limits }) => ({ stages, ...newMember(limits) }));
  return {
    run: (stage, job) => members.find(({ stages }) => stages.includes(stage))!.run(job),
    async stop() {
      await Promise.all(members.map(({ worker }) => worker.terminate()));
    },
  };
}

export function stageResult(workspace: Workspace, job: StageJob): StageResult {
  const { input, coded } = runStageJob(workspace, job);
  const moments = job.moments ? momentsFactor(workspace, input.moments) : undefined;
  return { factors: input.factors, coded, moments };
}

function newMember(limits: WorkspaceLimits): { worker: Worker; run(job: StageJob): Promise<StageResult> } {
  const worker = new Worker(new URL(`./worker${sourceExtension}`, import.meta.url), { workerData: limits });
  const waiting: { resolve(result: StageResult): void; reject(error: Error): void }[] = [];
  let dead: Error | undefined;
  const die = (error: Error): void => {
    dead ??= error;
    for (const job of waiting.splice(0)) job.reject(dead);
  };
  worker.on('message', (message: TeamMessage) => {
    const job = waiting.shift();
    if ('result' in message) job?.resolve(message.result);
    else job?.reject(fromPlainError(message.error));
  });
  worker.on('error', die);
  worker.on('exit', (code) => die(new Error(`a mapping thread ended with code ${code}`)));
  return {
    worker,
    run(job) {
      return new Promise((resolve, reject) => {
        if (dead) return reject(dead);
        waiting.push({ resolve, reject });
        // Statistics and weights move to the thread: they are large, and not needed here.
        const { statistics, drift } = job;
        const arrays = [
          ...(drift ? [drift.mean, drift.drift] : []),
          statistics.mean,
          statistics.moments,
          statistics.sample,
          ...job.matrices.map((m) => m.weights),
        ];
        worker.postMessage(job, [...new Set(arrays.map(({ buffer }) => buffer as ArrayBuffer))]);
      });
    },
  };
}
