/**
 * Records a golden from a run on the real dev server:
 *
 *     node --import tsx test/replay/record.ts NAME
 *
 * NAME is a course in courses.ts: a behaviour and a version, such as undisturbed-v1.
 */
import { TemporalHouse } from '../fixtures/temporal-house.ts';
import { courses } from './courses.ts';
import { goldenNames, writeGolden } from './golden.ts';

const name = process.argv[2] ?? '(none)';
const course = courses[name];
if (course === undefined) {
  console.error(
    `Course ${name}; expected one of ${Object.keys(courses).join(', ')}; add it to test/replay/courses.ts.`,
  );
  process.exit(2);
}
if ((await goldenNames()).includes(name)) {
  console.error(
    `Golden ${name} is there, for runs that may be open somewhere; record a changed course under a new version.`,
  );
  process.exit(2);
}
const house = await TemporalHouse.open();
try {
  const run = await course(house);
  const history = await run.history();
  console.log(`${await writeGolden(name, history)}: ${history.events?.length} events`);
} finally {
  await house.close();
}
