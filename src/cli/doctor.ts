/** `doctor`: what is here, what is missing, and what to do about it. */
import type { Command } from 'commander';
import { jsonOption } from './options.ts';
import { printJson, printLines } from './print.ts';

export function addDoctorCommand(root: Command): void {
  root
    .command('doctor')
    .description('check Node, engine, memory, disk, simulator, calibrations and optional programs')
    .addOption(jsonOption())
    .action(async (flags: { json?: boolean }) => {
      const { diagnose, diagnosisLines, requireHealth } = await import('../doctor/doctor.ts');
      const diagnosis = await diagnose();
      if (flags.json) printJson(diagnosis);
      else printLines(diagnosisLines(diagnosis));
      requireHealth(diagnosis);
    });
}
