/** Grades generated answers through the trainer's `grade` command, which bounds each comparison in time. */
import { execa } from 'execa';
import { ReverieFailure } from '../../contracts/failures.ts';
import { type Grade, gradeSchema, type Prediction } from '../../contracts/trainer.ts';

export interface GradingRequest {
  /** The interpreter whose environment holds `dream_trainer`. */
  python: string;
  predictions: readonly Pick<Prediction, 'id' | 'reference' | 'prediction'>[];
  /** Limit of one comparison; past it the answer is ungradable. */
  timeoutSeconds: number;
  signal?: AbortSignal;
  /** Called after each grade. */
  progress?: () => void;
}

/** Characters of the grader's last words that go into a failure. */
const LOG_CHARACTERS = 2000;

/**
 * One grade a prediction, in order. Throws ReverieFailure `TrainerCrashed` where the grader ends early or answers
 * what is not a grade, and the signal's reason when aborted.
 */
export async function gradePredictions(request: GradingRequest): Promise<Grade[]> {
  const { python, predictions, timeoutSeconds, signal, progress } = request;
  if (predictions.length === 0) return [];
  signal?.throwIfAborted();
  const grader = execa(python, ['-m', 'dream_trainer', 'grade', '--timeout-seconds', String(timeoutSeconds)], {
    input: predictions.map(toLine).join(''),
    env: { PYTHONUTF8: '1' },
    buffer: { stdout: false },
    reject: false,
    ...(signal ? { cancelSignal: signal } : {}),
  });
  const grades: Grade[] = [];
  let misfit: string | null = null;
  for await (const line of grader.iterable({ from: 'stdout' })) {
    const grade = misfit === null ? parseGrade(line) : null;
    if (grade) grades.push(grade);
    else misfit ??= line;
    progress?.();
  }
  const ended = await grader;
  signal?.throwIfAborted();
  const stopped = predictions[grades.length];
  if (misfit === null && !ended.failed && grades.length === predictions.length) return grades;
  const came =
    misfit !== null
      ? `answered ${JSON.stringify(misfit.slice(0, 200))}`
      : `ended with ${ended.exitCode !== undefined ? `exit code ${ended.exitCode}` : (ended.signal ?? ended.shortMessage)} with ${grades.length} given`;
  const log = ended.stderr.slice(-LOG_CHARACTERS);
  throw new ReverieFailure(
    'TrainerCrashed',
    `The grader ${came}; expected grades: ${predictions.length}, one a line; look at prediction ${stopped?.id ?? 'after the last'} and run \`${python} -m dream_trainer grade\` by hand.${log ? `\n${log}` : ''}`,
    { exitCode: ended.exitCode ?? null, signal: ended.signal ?? null, step: null, log },
  );
}

const toLine = ({ reference, prediction }: GradingRequest['predictions'][number]): string =>
  `${JSON.stringify({ reference: wellFormed(reference), prediction: wellFormed(prediction) })}\n`;

/** Lone surrogates, which UTF-8 cannot hold, become U+FFFD. */
const wellFormed = (text: string): string => Buffer.from(text).toString();

function parseGrade(line: string): Grade | null {
  try {
    return gradeSchema.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
