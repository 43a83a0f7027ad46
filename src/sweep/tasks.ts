/** The tasks that there are: one line each. */
import { choicesTask } from './choices.ts';
import { perplexityTask } from './perplexity.ts';
import type { TaskModule, TaskName } from './task.ts';

const MODULES: Readonly<Record<TaskName, TaskModule>> = {
  perplexity: perplexityTask,
  choices: choicesTask,
};

export const taskModule = (name: TaskName): TaskModule => MODULES[name];
