/** `reverie schedule …`: nightly retraining over Temporal's schedules. */
import type { Client } from '@temporalio/client';
import { type Command, Option } from 'commander';
import type { Timing } from './schedules.ts';
import { overlapPolicies } from './timing.ts';

const EXAMPLES = `
Examples:
  reverie schedule create nightly spec.json --cron '0 2 * * *' --time-zone Europe/Berlin
  reverie schedule update nightly --cron '30 3 * * 1-5'
  reverie schedule trigger nightly
  reverie schedule backfill nightly --from 2026-11-01T00:00:00Z --to 2026-11-03T00:00:00Z`;

export function addScheduleVerbs(program: Command): void {
  const schedule = program
    .command('schedule')
    .description('Nightly retraining: runs at the times of a cron expression.')
    .addHelpText('after', EXAMPLES);

  timingOptions(
    schedule.command('create').description('Create a schedule; each night resolves the newest data when it starts.'),
    { timeZone: 'UTC', overlap: 'buffer-one', catchUp: '6h', jitter: '0s' },
  )
    .argument('<id>', "its id; a night's workflow id is it and the time")
    .argument('[spec]', 'run spec, a JSON file (default: {})')
    .option('--paused', 'let nothing run before it is unpaused', false)
    .action((id: string, file: string | undefined, options: Timing & { paused: boolean }) =>
      say(async (client) => (await schedules()).createSchedule(client, id, { ...options, file: file ?? null })),
    );

  timingOptions(schedule.command('update').description('Change what is given, and nothing else.'), {})
    .argument('<id>')
    .argument('[spec]', 'another run spec')
    .action((id: string, file: string | undefined, options: Partial<Timing>) =>
      say(async (client) => (await schedules()).updateSchedule(client, id, { ...options, file: file ?? null })),
    );

  schedule
    .command('list')
    .description('All schedules of runs, with their next time and last run.')
    .option('--json', 'as JSON', false)
    .action(({ json }: { json: boolean }) => say(async (client) => (await schedules()).listSchedules(client, json)));

  schedule
    .command('pause')
    .description('Start no more nights until it is unpaused.')
    .argument('<id>')
    .option('--reason <text>', 'for whoever looks at it', 'Paused by reverie')
    .action((id: string, { reason }: { reason: string }) =>
      say(async (client) => (await schedules()).pauseSchedule(client, id, reason)),
    );

  schedule
    .command('unpause')
    .description('Let a paused schedule go on.')
    .argument('<id>')
    .action((id: string) => say(async (client) => (await schedules()).unpauseSchedule(client, id)));

  schedule
    .command('trigger')
    .description("Start a night now, under the schedule's overlap policy.")
    .argument('<id>')
    .action((id: string) => say(async (client) => (await schedules()).triggerSchedule(client, id)));

  schedule
    .command('backfill')
    .description('Run the nights of a span of time, one after the other.')
    .argument('<id>')
    .requiredOption('--from <time>', 'ISO 8601')
    .requiredOption('--to <time>', 'ISO 8601')
    .action((id: string, { from, to }: { from: string; to: string }) =>
      say(async (client) => (await schedules()).backfillSchedule(client, id, from, to)),
    );

  schedule
    .command('delete')
    .description('Delete it; runs that it started stay.')
    .argument('<id>')
    .action((id: string) => say(async (client) => (await schedules()).deleteSchedule(client, id)));
}

const schedules = () => import('./schedules.ts');

function timingOptions(command: Command, defaults: Partial<Record<keyof Timing, string>>): Command {
  const cron = new Option('--cron <expression>', "when, such as '0 2 * * *'");
  const overlap = new Option('--overlap <policy>', 'what a night does whose time comes while another is open');
  return command
    .addOption(defaults.overlap === undefined ? cron : cron.makeOptionMandatory())
    .option('--time-zone <name>', 'of the cron expression, as the IANA database names it', defaults.timeZone)
    .addOption(overlap.choices(Object.keys(overlapPolicies)).default(defaults.overlap))
    .option(
      '--catch-up <duration>',
      'a night missed by no more than this, as when the server was down, still runs',
      defaults.catchUp,
    )
    .option('--jitter <duration>', 'start up to this much later, by chance', defaults.jitter);
}

async function say(ask: (client: Client) => Promise<string>): Promise<void> {
  // Here, so that other verbs and --help do not wait for Temporal's client to load.
  const { connectClient } = await import('../../workers/connect.ts');
  const { client, connection } = await connectClient();
  try {
    process.stdout.write(await ask(client));
  } finally {
    await connection.close();
  }
}
