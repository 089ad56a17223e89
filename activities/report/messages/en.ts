/** The report in English; its type is that of every other language. */
import type { FailureType } from '../../../contracts/failures.ts';
import type { Spending } from '../../../contracts/ledger.ts';
import type { RejectReason, StageName } from '../../../contracts/stages.ts';
import type { GainVerdict } from '../../../contracts/statistics.ts';
import type { Grade, TrainerEvalSpec } from '../../../contracts/trainer.ts';
import type { Incident, NoticeType, StageStatus } from '../../../contracts/workflow-api.ts';
import type { PairOutcome } from '../../eval/compare.ts';
import type { DepartureId } from '../departures.ts';
import { code, type Inline, strong, text } from '../document.ts';
import type { AdviceId } from '../goodput.ts';
import type { Night } from '../nights.ts';

const plural = (count: string, one: string, many = `${one}s`): string => `${count} ${count === '1' ? one : many}`;

export const en = {
  title: (model: string, dataset: string) => `${model}, tuned on ${dataset}`,
  subtitle: (run: Inline, started: string) => text`Run ${run}, started ${started} UTC`,
  words: {
    contents: 'Contents',
    question: 'Question',
    reference: 'Reference',
    more: (characters: number) => `… ${plural(String(characters), 'more character')} in predictions.jsonl`,
    base: 'Base',
    tuned: 'Tuned',
    none: 'none',
    setting: 'Setting',
    value: 'Value',
  },
  nights: {
    heading: 'The last nights',
    intro: 'Runs of the same recipe over the same source, oldest first; this one is the last line.',
    unchanged: (report: Inline) =>
      text`${strong('Nothing has changed since an earlier run')}: data, model, recipe and code are the same, so all of it was served from the store and no GPU was used. The report of that run: ${report}.`,
    headers: {
      started: 'Started, UTC',
      state: 'State',
      data: 'Data',
      base: 'Base',
      tuned: 'Tuned',
      interval: '95 % interval',
      loss: 'Loss',
      gpuHours: 'GPU hours',
      goodput: 'Goodput',
      report: 'Report',
    },
    states: { done: 'done', unchanged: 'unchanged' } satisfies Record<Night['state'], string>,
    thisOne: 'this one',
  },
  duration: (seconds: number): string => {
    if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  },

  summary: {
    label: {
      better: 'Better than base',
      'no-clear-difference': 'No clear difference',
      worse: 'Worse than base',
      unmeasured: 'Not measured',
    } satisfies Record<GainVerdict | 'unmeasured', string>,
    headline: (base: string, tuned: string, gain: string, low: string, high: string) =>
      `Accuracy ${base} before, ${tuned} after fine-tuning: ${gain} points (95 % interval ${low} to ${high}).`,
    unmeasured: 'No question could be graded for both models, so no accuracy can be compared.',
    meaning: {
      better: (questions: string) =>
        `The tuned model is better than base: over ${plural(questions, 'question')} graded for both, the interval of the paired difference lies above zero.`,
      'no-clear-difference': (questions: string) =>
        `There is no clear difference: over ${plural(questions, 'question')} graded for both, the interval of the paired difference includes zero.`,
      worse: (questions: string) =>
        `The tuned model is worse than base: over ${plural(questions, 'question')} graded for both, the interval of the paired difference lies below zero.`,
      unmeasured: () => 'Section 3 says how many answers could be graded for each model.',
    } satisfies Record<GainVerdict | 'unmeasured', (questions: string) => string>,
    tiles: {
      base: 'Base',
      tuned: 'Tuned',
      gain: 'Gain, points',
      loss: 'Validation loss',
      time: 'Training time',
      interval: (low: string, high: string) => `95 %: ${low} to ${high}`,
      lossBefore: (before: string) => `${before} before`,
      finalLoss: 'Final training loss',
      steps: (steps: string) => plural(steps, 'step'),
    },
  },

  overview: {
    heading: '1 · Overview',
    goal: (model: Inline, dataset: Inline) =>
      text`The goal: to fine-tune the diffusion language model ${model} on ${dataset} so that it answers with its reasoning, and to measure on held-out questions whether that made it better.`,
    data: (rows: string, train: string, validation: string) =>
      text`The data set has ${plural(rows, 'row')}: ${train} to learn from and ${validation} held out, which training never sees.`,
    settings: {
      model: 'Model',
      dataset: 'Data set',
      split: 'Split (training / validation, seed)',
      response: 'Response learned from column',
      trace: 'Reasoning trace',
      systemPrompt: 'System prompt',
      maxTokens: 'Longest row, tokens',
      epochs: 'Epochs',
      learningRate: 'Learning rate, schedule',
      globalBatch: 'Global batch, rows',
      objective: 'Objective',
      sampler: 'Sampler',
    },
    trace: { none: 'left out', 'think-tags': 'before the response, in think tags', plain: 'before the response' },
    schedule: (rate: string, schedule: string, warmup: string) => `${rate}, ${schedule}, warm-up ${warmup}`,
    sampler: (algorithm: string, tokens: string, steps: string, temperature: number, mode: string) =>
      `${algorithm}, ${tokens} new tokens in ${steps} steps, temperature ${temperature}, ${mode}`,
    samplerMode: { exact: 'exact', cached: 'cached' } satisfies Record<TrainerEvalSpec['sampler']['mode'], string>,
    lengths: 'Lengths of the rows',
    lengthsCaption: (over: string) =>
      text`Tokens of prompt, response and end together, over all rows before filtering. ${over}`,
    over: (rows: string, threshold: string) => `${rows} exceed ${threshold} tokens.`,
    describe: {
      count: 'count',
      mean: 'mean',
      std: 'std',
      min: 'min',
      p25: '25 %',
      p50: '50 %',
      p75: '75 %',
      max: 'max',
    },
  },

  training: {
    heading: '2 · Training',
    reused:
      'The trained model was reused: an earlier run had trained it from the same inputs. The figures below are of that training.',
    facts: {
      device: 'Device',
      ranks: 'GPUs or processes',
      recipe: 'Numerics',
      parameters: 'Parameters',
      steps: 'Optimizer steps',
      samples: 'Samples',
      micro: 'Micro-batch, rows',
      time: 'Time in steps',
      throughput: 'Throughput',
      memory: 'Peak memory',
      gpuHours: 'GPU hours of this run',
      cost: 'Cost of this run',
      attempts: 'Attempts on the GPU queue',
      finalLoss: 'Final training loss, nats',
      validation: 'Validation loss, nats',
      leftOut: 'Steps left out after a divergence',
    },
    perEpoch: (steps: string, perEpoch: string) => `${steps} (${perEpoch} an epoch)`,
    samplesSeen: (seen: string, epochs: string, twice: string, dropped: string) =>
      `${seen} in ${plural(epochs, 'epoch')}: ${twice} seen twice in an epoch, ${dropped} dropped`,
    goodput: {
      heading: 'Where the time went',
      said: (share: string, wall: string, attempts: string) =>
        `In ${share} of its ${wall} the training came forward, over ${plural(attempts, 'attempt')}.`,
      caption: 'Wall time of the training over all its attempts.',
      what: 'Spent on',
      share: 'Share',
      replays: (steps: string, compared: string, differing: string) =>
        `${plural(steps, 'step')} had to be done again; ${compared} of them were compared with the first time, and the losses of ${differing} differed in any bit.`,
      rounded: (compared: string, largest: string) =>
        `${compared} were done under another setting, where equality to rounding is all that can be had: the largest relative difference is ${largest}.`,
      advice: {
        data: text`Training waited for its data. Look whether the host's CPUs are busy with other work: batches are made on them.`,
        'full-precision': text`The GPU computed in float32: ${code('train.recipe')} ${code('full-fp32')} is several times faster.`,
        memory: text`More than half of the GPU's memory stayed free: twice ${code('train.microBatchSize')} would likely fit, with the same global batch and result.`,
        saves: text`Checkpoints took long: raise ${code('policy.minCheckpointSeconds')}, or give the worker a faster local disk.`,
        starts: text`Starting took long: keep the worker's cache folder over restarts, on a disk near its GPUs.`,
        replays: text`Many steps were done again: set ${code('policy.expectedSecondsBetweenPreemptions')} to what the hosts show, so that checkpoints come more often.`,
        host: text`Training waited for a host: run a second worker on its queue, so that one is there when another goes.`,
      } satisfies Record<AdviceId, Inline[]>,
    },
    tokensPerSecond: (rate: string) => `${rate} tokens/s`,
    fromTo: (first: string, last: string) => `${first} → ${last}`,
    curveCaption: (stepsPerPoint: number) =>
      stepsPerPoint === 1
        ? 'Loss of each step (faint), its moving mean, and the validation loss. The loss of a step also varies with the noise drawn for it. A triangle marks where a later attempt went on.'
        : `Loss as a mean over ${stepsPerPoint} steps (faint), its moving mean, and the validation loss. The loss of a step also varies with the noise drawn for it.`,
    rateCaption: 'The learning rate.',
    stages: 'Stages of this run',
    stage: 'Stage',
    state: 'State',
    time: 'Time',
  },

  results: {
    heading: '3 · Results',
    headers: {
      model: 'Model',
      accuracy: 'Accuracy',
      interval: '95 % interval',
      correct: 'Correct',
      incorrect: 'Incorrect',
      ungradable: 'Ungradable',
      coverage: 'Coverage',
    },
    coverage:
      'Accuracy is over the answers that could be graded: correct ÷ (correct + incorrect). Where the reference states nothing that a program can check, or grading ran out of time, an answer is ungradable, never wrong; an answer without a result is incorrect. Coverage is the share that could be graded.',
    lowCoverage: (base: string, tuned: string) =>
      text`${strong('Coverage is low')} (base ${base}, tuned ${tuned}): the accuracies say nothing about the questions left out.`,
    agreement: (model: string, samples: string, sameVerdict: string, sameText: string, cached: string, exact: string) =>
      text`${model}: the answers are the cached sampler's. The exact one answered the first ${samples} questions as well: ${sameVerdict} with the same verdict, ${sameText} with the same text; correct ${cached} by the cached and ${exact} by the exact one.`,
    paired: (gain: string, low: string, high: string, p: string) =>
      text`Paired difference, tuned less base: ${strong(`${gain} points`)}, 95 % interval ${low} to ${high} (Newcombe's method 10 for paired proportions); exact McNemar p ${p}.`,
    figureCaption:
      'Above: accuracy of each model with its 95 % Wilson interval. Below: the paired difference with its 95 % interval, against no difference.',
    outcomes: 'Who was right',
    correctWas: 'Correct',
    questions: 'Questions',
    outcome: {
      'only-tuned': 'only tuned',
      'only-base': 'only base',
      'both-correct': 'both',
      neither: 'neither',
      ungradable: 'not graded for both',
    } satisfies Record<PairOutcome, string>,
    cases: 'Base and tuned, side by side',
    casesNote:
      'Chosen by rule and not by hand: by outcome first (where tuning helped, where it hurt, where it changed nothing), then by the SHA-256 of the question’s id.',
    noCases: 'No question was answered by both models.',
    caseTitle: (id: string) => `Question ${id}`,
    verdict: { correct: 'correct', incorrect: 'incorrect', ungradable: 'ungradable' } satisfies Record<
      Grade['verdict'],
      string
    >,
    extracted: (answer: string) => `Answer found: ${answer}`,
    nothingFound: 'No answer found',
    empty: '(empty)',
    qualitative: 'Prompts without a reference',
    qualitativeTitle: (number: number) => `Prompt ${number}`,
  },

  challenges: {
    heading: '4 · Challenges and how they were solved',
    incidents: 'What went wrong',
    noIncidents: 'Nothing failed in this run.',
    replays:
      'Where training was interrupted it went on from the newest checkpoint that verified; data order, noise and learning rate are functions of seed and step, so no row was seen twice or skipped.',
    headers: { when: 'When', stage: 'Stage', what: 'What', verdict: 'Verdict', action: 'What was done' },
    rejected: 'Rows that were rejected',
    noneRejected: 'No row was rejected.',
    rejectedHeaders: { reason: 'Reason', train: 'Training', validation: 'Validation' },
    kept: 'kept',
    reason: {
      'over-long': 'over-long',
      empty: 'empty response',
      unlabelled: 'without a reference',
    } satisfies Record<RejectReason, string>,
    rejectedNote: 'Each rejected row is named with its reason in rejects.jsonl of the filter artifact.',
    failure: {
      Preempted: 'preempted',
      OutOfMemory: 'out of memory',
      Diverged: 'diverged',
      TrainerHung: 'trainer hung',
      HardwareFault: 'hardware fault',
      StoreUnavailable: 'store unavailable',
      DiskFull: 'disk full',
      TrainerCrashed: 'trainer crashed',
      NoProgress: 'no progress',
      CapReached: 'cap reached',
      CheckpointLost: 'checkpoint lost',
      InvalidSpec: 'invalid spec',
      DatasetRejected: 'data set rejected',
      ModelRejected: 'model rejected',
      ArtifactMissing: 'artifact missing',
      CheckpointPassedOver: 'checkpoint passed over',
      ReplayDiffers: 'replay differs',
      TrackerDown: 'tracker down',
      NotificationGivenUp: 'notification not delivered',
    } satisfies Record<FailureType | NoticeType, string>,
    verdict: {
      retry: 'tried again',
      'retry-elsewhere': 'tried again elsewhere',
      shrink: 'smaller micro-batch',
      'roll-back': 'rolled back',
      park: 'parked for a person',
      fail: 'failed',
      'go-on': 'went on',
    } satisfies Record<Incident['verdict'], string>,
  },

  architecture: {
    heading: '5 · Architecture',
    autoregression:
      'An autoregressive model writes from left to right: each token is drawn once, given all before it, and never looked at again. A text of n tokens takes n forward passes, and what comes later cannot shape what came before.',
    diffusion:
      'A diffusion language model such as Dream starts from masks only and sees the whole sequence in both directions. Each denoising step predicts every masked place at once and reveals the places it is surest of; the rest stays masked for the next step. A text takes as many passes as there are steps, whatever its length, several tokens can appear at once, and an end can be fixed before its middle.',
    training: (weighting: string, meaning: string) =>
      text`Training masks a random share t of the response and learns to restore it. This run weights the loss by ${code(weighting)}. ${meaning}`,
    weighting: {
      none: 'Every masked token weighs the same.',
      original: 'A masked token weighs 1/t, which is the likelihood bound of masked diffusion.',
      linear: 'A masked token weighs 1 − t, so that lightly masked texts count more.',
      cart: 'CART weighs a masked token by the nearness of unmasked context: places that their neighbours determine count more than places far from anything known.',
    },
    strategies: 'Remasking strategies',
    strategyHeaders: { name: 'Strategy', rule: 'Revealed first', used: 'This run' },
    strategy: {
      origin: 'places drawn at random: the original process, without regard to confidence',
      maskgit_plus: 'places whose most probable token has the highest probability',
      topk_margin: 'places where the most probable token leads the second by the widest margin',
      entropy: 'places whose distribution has the lowest entropy',
    } satisfies Record<TrainerEvalSpec['sampler']['algorithm'], string>,
    measured: 'The order of revealing, measured',
    orderHeaders: {
      what: 'Over the validation answers',
      order: 'Left-to-right order (Spearman)',
      tokens: 'Tokens revealed a step',
      length: 'Tokens of an answer, mean',
      ended: 'Answers that ended by themselves',
    },
    orderCaption:
      'Mean place in the order of revealing (0 is first, 1 last) against the position in the answer. On the dotted line a model writes from left to right; a flat line at 0.5 has no order.',
    order: (rho: number): string => {
      if (rho > 0.6)
        return 'The tuned model reveals its answers mostly from left to right, much as an autoregressive model would.';
      if (rho > 0.2) return 'The tuned model leans from left to right, but reveals many places out of order.';
      if (rho < -0.2) return 'The tuned model reveals the ends of its answers before their beginnings.';
      return 'The tuned model reveals its answers in no particular direction.';
    },
    orderLimit: text`This is the order under one strategy; it does not say which strategy answers best. To compare them, run the spec again with another ${code('eval.sampler.algorithm')}: only the evaluation is computed anew.`,
  },

  next: {
    heading: '6 · What next',
    worse: text`The tuned model lost accuracy. Try a lower ${code('train.optimizer.learningRate')} or fewer ${code('train.epochs')} first; supervised fine-tuning on a thousand rows often gains little, and reinforcement learning after it has gained more on models of this kind.`,
    moreQuestions: (needed: string) =>
      text`The gain is too small for this many questions. If it is real, some ${needed} graded questions would show it; hold out more rows or evaluate on a larger set.`,
    noGain: text`Base and tuned were right equally often. Look at the answers in section 3 before changing anything: a change of form can hide a change of skill.`,
    overfit: (lowest: string, last: string) =>
      text`The validation loss rose from ${lowest} to ${last} towards the end: fewer epochs, a lower learning rate or more data.`,
    overLong: (rows: string, limit: string) =>
      text`${rows} training rows were longer than ${limit} tokens and were not learned from: raise ${code('filter.maxTokens')} where memory allows, or learn a shorter response.`,
    unfinished: (share: string) =>
      text`Only ${share} of the tuned answers ended by themselves: raise ${code('eval.sampler.maxNewTokens')} (and steps with it).`,
    coverage: (share: string) =>
      text`Only ${share} of the tuned answers could be graded: references that state a checkable answer would make the measurement sharper.`,
    hyperparameters: text`Hyperparameters: sweep ${code('train.optimizer.learningRate')} and ${code('train.epochs')}; each value trains anew, while data and base evaluation are reused.`,
    augmentation: text`Data: add rephrased questions or more sources of the same skill; keep near duplicates on one side of the split.`,
    sampler: text`Sampler: compare remasking strategies and more steps; only the evaluation runs again.`,
  },

  checklist: {
    heading: 'Checklist of the walkthrough',
    items: {
      environment: 'Environment installed',
      explain: 'Can explain how Dream works',
      converted: 's1K (or the data of this run) converted',
      trained: 'Trained 1–3 epochs with a checkpoint saved',
      compared: 'Base and tuned compared',
      written: 'Problems, solutions and reasoning written down',
      demo: 'A demo of before and after',
    },
    environment: (torch: string, device: string) => text`PyTorch ${torch} on ${device}`,
    explain: text`Yours to tick: section 5 explains it, with measurements of this run.`,
    converted: (rows: string, kept: string) => text`${rows} rows converted; ${kept} kept for training`,
    trained: (epochs: string, steps: string, hash: string) =>
      text`${plural(epochs, 'epoch')}, ${plural(steps, 'step')}; weights ${code(hash)} saved`,
    compared: (questions: string, cases: number) =>
      text`${plural(questions, 'question')} graded for both; ${plural(String(cases), 'pair')} shown in section 3`,
    written: (incidents: number, rejected: string) =>
      text`Section 4: ${plural(String(incidents), 'incident')}, ${plural(rejected, 'rejected row')}`,
    demo: (command: string) => text`Prompts side by side in section 3; live: ${code(command)}`,
  },

  departures: {
    heading: "Where this run departs from the walkthrough's letter",
    intro:
      'The walkthrough is followed in what it means. Where it does not work as written, or where this spec says otherwise, this is what differs.',
    changed: 'Values that this run sets otherwise',
    headers: { field: 'Field', guide: 'Walkthrough', ours: 'This run' },
    texts: {
      'own-trainer': text`${strong('Trainer.')} The public trainer pins PyTorch 2.5.1, and three of the walkthrough's overrides do not launch (${code('data.enable_perbatch_cutoff')}, ${code('+data.perbatch_cutoff')}, ${code('trainer.save_freq')}). This run uses a trainer of the same objective that needs none of the pins.`,
      'response-column': text`${strong('Response.')} The walkthrough reads a column ${code('answer')}, which s1K-1.1 does not have: every response would be empty. This run reads the columns that its mapping names; a mapping that yields only empty responses is an error.`,
      'filtered-rows': text`${strong('Filter.')} The walkthrough writes a filtered file and then trains on the unfiltered one. This run trains on the filtered rows.`,
      'global-batch': text`${strong('Global batch.')} The walkthrough leaves it at 256, which makes 9 steps of s1K in all. This run sets it in the spec (section 1); the default, 16, is that of s1 itself.`,
      'kept-eos': text`${strong('End of text.')} In the public trainer padding and end of text are one token, and its cut-off strips the real end as well, so that a model does not learn to stop. This run keeps it.`,
      'global-normalisation': text`${strong('Loss.')} The public trainer averages the means of micro-batches, so that the loss depends on their size and on the number of GPUs. This run divides by the masked tokens of the global batch.`,
      seeded: text`${strong('Seeds.')} The public trainer seeds neither noise nor cut-offs. Here data order, noise, cut-offs and sampling are functions of the seeds in the spec, so that the run can be repeated.`,
      checkpoints: text`${strong('Checkpoints.')} The walkthrough saves every 500 steps, which its 9 steps never reach, and resuming in the public trainer does not restore the weights. This run saves during training and at its end, verifies each checkpoint and resumes from the newest that verifies.`,
      'exported-model': text`${strong('Result.')} The folder ${code('checkpoint-final')} that the walkthrough evaluates is never written. This run exports a Hugging Face folder and evaluates that.`,
      'prompt-as-trained': text`${strong('Prompt of the evaluation.')} The walkthrough trains with a system prompt and evaluates without. This run evaluates with the prompt as trained; ${code('eval.promptStyle')} ${code('last-user-message')} does it the walkthrough's way.`,
      'no-top-k': text`${strong('Top-k.')} The walkthrough names none, and then the library's default of 50 applies unseen. This run samples from ${code('eval.sampler.topK')} as the spec states it.`,
      ungradable: text`${strong('Grading.')} The walkthrough leaves ${code('evaluate_answer')} to its reader. This run compares mathematically, and counts what no program can check as ungradable instead of wrong.`,
    } satisfies Record<DepartureId, Inline[]>,
  },

  provenance: {
    heading: 'Provenance',
    model: 'Model, revision',
    dataset: 'Data set, revision',
    weights: 'SHA-256 of the tuned weights',
    seeds: 'Seeds (split, training, evaluation)',
    seedValues: (split: number, train: number, evaluation: number) => `${split}, ${train}, ${evaluation}`,
    torch: 'PyTorch',
    versions: 'Stage versions',
    run: 'Workflow, run',
    ui: 'Run in Temporal',
    promotion: 'Promotion',
    artifacts: 'Artifacts: keys and digests',
    artifact: 'Artifact',
    key: 'Key',
    digest: 'Digest',
    spec: 'The run spec, with defaults filled in',
  },

  stageNames: {
    resolve: 'resolve',
    'download dataset': 'download data set',
    'download model': 'download model',
    convert: 'convert',
    filter: 'filter',
    train: 'train',
    'eval base': 'evaluate base',
    'eval tuned': 'evaluate tuned',
    promote: 'promote',
    report: 'report',
  } satisfies Record<StageName, string>,
  stageStates: {
    waiting: 'waiting',
    running: 'running',
    done: 'done',
    cached: 'reused',
    skipped: 'skipped',
    failed: 'failed',
  } satisfies Record<StageStatus['state'], string>,

  plots: {
    step: 'Step',
    loss: 'Loss, nats',
    eachStep: 'step',
    movingMean: 'moving mean',
    validation: 'validation',
    learningRate: 'Learning rate',
    spending: {
      productive: 'training steps',
      validation: 'validation',
      replayed: 'steps done again',
      lost: 'lost work',
      saving: 'saving',
      starting: 'starting',
      waitingForData: 'waiting for data',
      finishing: 'export',
      waitingForHost: 'waiting for a host',
    } satisfies Record<Spending, string>,
    tokens: 'Tokens',
    rows: 'Rows',
    limit: (tokens: string) => `limit ${tokens}`,
    accuracy: 'Accuracy, %',
    gain: 'Tuned less base, points',
    base: 'base',
    tuned: 'tuned',
    difference: 'difference',
    position: 'Position in the answer',
    order: 'Order of revealing',
    descriptions: {
      curve: (first: string, last: string) => `Training loss by step, from ${first} to ${last}.`,
      lengths: 'Histogram of row lengths in tokens, with the thresholds.',
      accuracy: (base: string, tuned: string) => `Accuracy of base ${base} and tuned ${tuned} with 95 % intervals.`,
      order: 'Mean order of revealing by position in the answer, for base and tuned.',
    },
  },
};
