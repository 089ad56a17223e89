/** All scenarios, in the order of the table. */
import type { Scenario } from '../scenario.ts';
import { damagedCheckpoints } from './damaged-checkpoint.ts';
import { killBoth, killTrainer, killWorker } from './kills.ts';
import { lostHost } from './lost-host.ts';
import { changeRanks, killRank } from './ranks.ts';
import { restartedGateway, restartedServer } from './restarts.ts';
import { stopTrainer, stopWorker } from './stops.ts';

export const scenarios: readonly Scenario[] = [
  killTrainer,
  killWorker,
  killBoth,
  stopTrainer,
  stopWorker,
  ...damagedCheckpoints,
  restartedServer,
  restartedGateway,
  lostHost,
  killRank,
  changeRanks,
];
