/** An interpreter that REVERIE_PYTHON names need not have this clone's trainer installed. */
import { delimiter, join } from 'node:path';

const trainer = join(import.meta.dirname, '..', 'trainer');

/** For a trainer's environment. */
export const trainerPath = (): { PYTHONPATH: string } => ({
  PYTHONPATH: [trainer, process.env.PYTHONPATH].filter(Boolean).join(delimiter),
});
