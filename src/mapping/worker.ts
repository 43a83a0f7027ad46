/** A thread of a mapping: does the stage jobs that it is sent, one after another, on a workspace of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { toPlainError } from '../error.ts';
import { newWorkspace, type WorkspaceLimits } from './numerics/workspace.ts';
import type { StageJob } from './stage-job.ts';
import { stageResult, type TeamMessage } from './team.ts';

const workspace = newWorkspace(workerData as WorkspaceLimits);

parentPort?.on('message', async (job: StageJob) => {
  parentPort?.postMessage(await answer(job));
});

async function answer(job: StageJob): Promise<TeamMessage> {
  try {
    return { result: stageResult(await workspace, job) };
  } catch (error) {
    return { error: toPlainError(error) };
  }
}
