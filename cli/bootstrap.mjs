/**
 * From a bare clone to a running command, with nothing but Node's built-ins: sets up what is missing, then hands over
 * in this same process, so that signals and exit codes need no passing on.
 *
 *     node cli/bootstrap.mjs demo [--keep] [--preempt] [--json]    the whole run on embedded data
 *     node cli/bootstrap.mjs test [--only lint|ts|py|chaos] [PATTERN …]  every check and test
 *     node cli/bootstrap.mjs chaos [--faults LIST] [--count N] …   faults injected into real runs, counted
 *     node cli/bootstrap.mjs bench [--runs N] …                    many runs at once, measured
 *     node cli/bootstrap.mjs setup [--tests]                       set-up alone, such as on a GPU host
 *     node cli/bootstrap.mjs run VERB …                            any verb of `reverie`
 */
import { SetupError } from './setup/say.mjs';
import { lockOrExplain, setUp } from './setup/set-up.mjs';

const USAGE = `usage: node cli/bootstrap.mjs demo|test|chaos|bench|setup|run …

  demo  [--keep] [--preempt] [--json]    the whole run on embedded data
  test  [--only lint|ts|py|chaos] [PATTERN …]  every check and test
  chaos [--faults LIST] [--count N] …    faults injected into real runs, counted; --help tells more
  bench [--runs N] …                     many runs at once, measured
  setup [--tests]                        set-up alone, such as on a GPU host
  run   VERB …                           any verb of \`reverie\`
`;

/**
 * @param {string | undefined} verb
 * @param {string[]} args
 */
async function main(verb, args) {
  // With --json, standard output is one line for a program to read.
  const out = args.includes('--json') || verb === 'run' ? process.stderr : process.stdout;
  switch (verb) {
    case 'demo':
      lockOrExplain('demo', 'Another demo');
      await setUp({ tests: false, out });
      return reverie(['demo', ...args]);
    case 'run':
      await setUp({ tests: false, out });
      return reverie(args);
    case 'setup':
      await setUp({ tests: args.includes('--tests'), out });
      out.write('Everything is set up.\n');
      return;
    case 'test':
      await setUp({ tests: true, out });
      process.exitCode = await (await import('../test/run.mjs')).runTests(args);
      return;
    case 'chaos':
      await setUp({ tests: true, out });
      process.argv.splice(2, Infinity, ...args);
      await import('../test/chaos/chaos.mjs');
      return;
    case 'bench':
      await setUp({ tests: true, out });
      process.argv.splice(2, Infinity, ...args);
      await import('../test/bench/bench.mjs');
      return;
    default:
      process.stderr.write(USAGE);
      process.exitCode = verb === undefined || !['-h', '--help'].includes(verb) ? 2 : 0;
  }
}

/** @param {string[]} args */
async function reverie(args) {
  process.argv.splice(2, Infinity, ...args);
  await import('./reverie.mjs');
}

try {
  await main(process.argv[2], process.argv.slice(3));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
