/** The search attributes of a run, which must exist in the namespace before a worker takes tasks. */
export const searchAttributes = {
  ReverieStage: 'Keyword',
  ReverieState: 'Keyword',
  ReverieModel: 'Keyword',
  ReverieDataset: 'Keyword',
  ReverieStep: 'Int',
  ReverieAccuracy: 'Double',
} as const;

export type RunState = 'running' | 'parked' | 'done' | 'unchanged' | 'aborted' | 'expired' | 'failed';
