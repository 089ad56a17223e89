/** The search attributes of a run, which must exist in the namespace before a worker takes tasks. */
export const searchAttributes = {
  ReverieStage: 'Keyword',
  ReverieState: 'Keyword',
  ReverieModel: 'Keyword',
  ReverieDataset: 'Keyword',
  ReverieStep: 'Int',
  ReverieAccuracy: 'Double',
} as const;

export const searchAttributeMeanings: Record<keyof typeof searchAttributes, string> = {
  ReverieStage:
    'The furthest stage that the run has come to, or the one that waits for a person; the training while the base model is evaluated beside it.',
  ReverieState: 'running, parked, done, unchanged, aborted, expired or failed.',
  ReverieModel: 'model.source of the run spec.',
  ReverieDataset: 'dataset.source of the run spec.',
  ReverieStep: 'The optimizer step that training has come to, as of the last note.',
  ReverieAccuracy: "The tuned model's accuracy, from 0 to 1.",
};

export type RunState = 'running' | 'parked' | 'done' | 'unchanged' | 'aborted' | 'expired' | 'failed';
