/** The tasks that there are: one line each. */
import { perplexityTask } from './perplexity.ts';
import type { TaskModule, TaskName } from './task.ts';

const MODULES: Readonly<Record<TaskName, TaskModule>> = { perplexity: perplexityTask };

export const taskModule = (name: TaskName): TaskModule => MODULES[name];
