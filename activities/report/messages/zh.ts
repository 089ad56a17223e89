/** The report in Chinese. */
import { code, strong, text } from '../document.ts';
import type { Messages } from './catalogue.ts';

export const zh: Messages = {
  title: (model, dataset) => `用 ${dataset} 微调 ${model}`,
  subtitle: (run, started) => text`运行 ${run}，开始于 ${started}（UTC）`,
  words: {
    contents: '目录',
    question: '问题',
    reference: '参考答案',
    more: (characters) => `……其余 ${characters} 个字符见 predictions.jsonl`,
    base: '微调前',
    tuned: '微调后',
    none: '无',
    setting: '设置',
    value: '取值',
  },
  nights: {
    heading: '最近几夜',
    intro: '对同一数据源使用同一配方的各次运行，由旧到新；最后一行是本次运行。',
    unchanged: (report) =>
      text`${strong('与先前的一次运行相比没有任何变化')}：数据、模型、配方和代码都相同，因此全部结果取自存储，没有使用 GPU。那次运行的报告：${report}。`,
    headers: {
      started: '开始时间（UTC）',
      state: '状态',
      data: '数据',
      base: '微调前',
      tuned: '微调后',
      interval: '95 % 区间',
      loss: '损失',
      gpuHours: 'GPU 小时',
      goodput: '有效时间占比',
      report: '报告',
    },
    states: { done: '完成', unchanged: '无变化' },
    thisOne: '本次',
  },
  duration: (seconds) => {
    if (seconds < 60) return `${Number(seconds.toFixed(1))} 秒`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} 分钟` : `${Math.floor(minutes / 60)} 小时 ${minutes % 60} 分钟`;
  },

  summary: {
    label: {
      better: '优于基座模型',
      'no-clear-difference': '无明显差异',
      worse: '不如基座模型',
      unmeasured: '未能测量',
    },
    headline: (base, tuned, gain, low, high) =>
      `准确率：微调前 ${base}，微调后 ${tuned}，相差 ${gain} 个百分点（95 % 区间 ${low} 至 ${high}）。`,
    unmeasured: '没有一道题能对两个模型同时评分，因此无法比较准确率。',
    meaning: {
      better: (questions) =>
        `微调后的模型优于基座模型：在两个模型都能评分的 ${questions} 道题上，配对差的区间全部大于零。`,
      'no-clear-difference': (questions) =>
        `两者没有明显差异：在两个模型都能评分的 ${questions} 道题上，配对差的区间包含零。`,
      worse: (questions) =>
        `微调后的模型不如基座模型：在两个模型都能评分的 ${questions} 道题上，配对差的区间全部小于零。`,
      unmeasured: () => '第 3 节列出了每个模型有多少答案能够评分。',
    },
    tiles: {
      base: '微调前',
      tuned: '微调后',
      gain: '提升（百分点）',
      loss: '验证损失',
      time: '训练用时',
      interval: (low, high) => `95 %：${low} 至 ${high}`,
      lossBefore: (before) => `训练前 ${before}`,
      finalLoss: '最终训练损失',
      steps: (steps) => `${steps} 步`,
    },
  },

  overview: {
    heading: '1 · 概述',
    goal: (model, dataset) =>
      text`目标：用 ${dataset} 微调扩散语言模型 ${model}，使它在作答时给出推理过程，并在留出的题目上检验效果是否变好。`,
    data: (rows, train, validation) =>
      text`数据集共 ${rows} 行：${train} 行用于训练，${validation} 行留作验证，训练时从不使用。`,
    settings: {
      model: '模型',
      dataset: '数据集',
      split: '划分（训练 / 验证，种子）',
      response: '学习的回答所在列',
      trace: '推理轨迹',
      systemPrompt: '系统提示',
      maxTokens: '最长行（token）',
      epochs: '训练轮数',
      learningRate: '学习率与调度',
      globalBatch: '全局批大小（行）',
      objective: '训练目标',
      sampler: '采样器',
    },
    trace: { none: '不使用', 'think-tags': '放在回答之前，以 think 标签包裹', plain: '放在回答之前' },
    schedule: (rate, schedule, warmup) => `${rate}，${schedule}，预热 ${warmup}`,
    sampler: (algorithm, tokens, steps, temperature, mode) =>
      `${algorithm}，${steps} 步生成 ${tokens} 个新 token，温度 ${temperature}，${mode}`,
    samplerMode: { exact: '精确', cached: '缓存' },
    lengths: '各行长度',
    lengthsCaption: (over) => text`提示、回答与结束符合计的 token 数，统计过滤前的全部行。${over}`,
    over: (rows, threshold) => `${rows} 行超过 ${threshold} 个 token。`,
    describe: {
      count: '行数',
      mean: '均值',
      std: '标准差',
      min: '最小',
      p25: '25 %',
      p50: '中位数',
      p75: '75 %',
      max: '最大',
    },
  },

  training: {
    heading: '2 · 训练',
    reused: '本次运行直接复用了已训练好的模型：先前的一次运行用相同的输入训练过它。以下数字来自那次训练。',
    facts: {
      device: '设备',
      ranks: 'GPU 数或进程数',
      recipe: '数值精度',
      parameters: '参数量',
      steps: '优化步数',
      samples: '样本',
      micro: '微批大小（行）',
      time: '训练步合计用时',
      throughput: '吞吐量',
      memory: '显存或内存峰值',
      gpuHours: '本次运行的 GPU 小时',
      cost: '本次运行的费用',
      attempts: 'GPU 队列上的执行次数',
      finalLoss: '最终训练损失（nat）',
      validation: '验证损失（nat）',
      leftOut: '因发散而跳过的步',
    },
    perEpoch: (steps, perEpoch) => `${steps}（每轮 ${perEpoch}）`,
    samplesSeen: (seen, epochs, twice, dropped) =>
      `${epochs} 轮共 ${seen} 个：同一轮内重复 ${twice} 个，遗漏 ${dropped} 个`,
    goodput: {
      heading: '时间用在哪里',
      said: (share, wall, attempts) => `总用时 ${wall}，其中 ${share} 在推进训练，共执行 ${attempts} 次。`,
      caption: '训练的总用时，含所有执行。',
      what: '用途',
      share: '占比',
      replays: (steps, compared, differing) =>
        `有 ${steps} 步需要重做；其中 ${compared} 步与第一次的损失逐位比较，${differing} 步不同。`,
      rounded: (compared, largest) =>
        `另有 ${compared} 步在不同设置下重做，只能在舍入误差内相等：最大相对差为 ${largest}。`,
      advice: {
        data: text`训练曾等待数据。批次由 CPU 生成：请检查主机的 CPU 是否被其他任务占用。`,
        'full-precision': text`GPU 以 float32 计算：${code('train.recipe')} 设为 ${code('full-fp32')} 可快数倍。`,
        memory: text`GPU 显存空闲过半：${code('train.microBatchSize')} 很可能可以加倍，全局批次与结果不变。`,
        saves: text`保存检查点用时较长：可提高 ${code('policy.minCheckpointSeconds')}，或为执行机配备更快的本地磁盘。`,
        starts: text`启动用时较长：请在重启之间保留执行机的缓存目录，并放在靠近 GPU 的磁盘上。`,
        replays: text`重做的步较多：请把 ${code('policy.expectedSecondsBetweenPreemptions')} 设为主机的实际情况，使检查点更密。`,
        host: text`训练曾等待主机：可在该队列上再运行一个执行机，一台离开时另一台接上。`,
      },
    },
    tokensPerSecond: (rate) => `${rate} token/秒`,
    fromTo: (first, last) => `${first} → ${last}`,
    curveCaption: (stepsPerPoint) =>
      `${stepsPerPoint === 1 ? '每一步的损失' : `每 ${stepsPerPoint} 步的平均损失`}（浅色）、其滑动平均，以及验证损失。单步损失还会随该步抽取的噪声而波动。三角形标出后一次执行继续的位置。`,
    rateCaption: '学习率。',
    stages: '本次运行的各阶段',
    stage: '阶段',
    state: '状态',
    time: '用时',
  },

  results: {
    heading: '3 · 结果',
    headers: {
      model: '模型',
      accuracy: '准确率',
      interval: '95 % 区间',
      correct: '正确',
      incorrect: '错误',
      ungradable: '无法评分',
      coverage: '覆盖率',
    },
    coverage:
      '准确率只计能够评分的答案：正确 ÷（正确 + 错误）。参考答案中没有程序可核对的内容，或评分超时，记为“无法评分”，不算错误；没有给出结果的回答记为错误。覆盖率是能够评分的比例。',
    lowCoverage: (base, tuned) =>
      text`${strong('覆盖率偏低')}（微调前 ${base}，微调后 ${tuned}）：准确率不能说明未评分的题目。`,
    agreement: (model, samples, sameVerdict, sameText, cached, exact) =>
      text`${model}：回答由缓存采样器生成。前 ${samples} 题另由精确采样器作答：判定相同 ${sameVerdict} 题，文本相同 ${sameText} 题；答对数，缓存 ${cached} 题，精确 ${exact} 题。`,
    paired: (gain, low, high, p) =>
      text`配对差（微调后减微调前）：${strong(`${gain} 个百分点`)}，95 % 区间 ${low} 至 ${high}（Newcombe 配对比例法，方法 10）；精确 McNemar 检验 p ${p}。`,
    figureCaption: '上：两个模型的准确率及 95 % Wilson 区间。下：配对差及其 95 % 区间，以零为参照。',
    outcomes: '谁答对了',
    correctWas: '答对情况',
    questions: '题数',
    outcome: {
      'only-tuned': '仅微调后答对',
      'only-base': '仅微调前答对',
      'both-correct': '都答对',
      neither: '都答错',
      ungradable: '未能对两者同时评分',
    },
    cases: '微调前后对照',
    casesNote: '按规则而非人工挑选：先按结果类别（微调后变好、变差、没有变化），同类之中按题目编号的 SHA-256 排序。',
    noCases: '没有两个模型都回答过的题目。',
    caseTitle: (id) => `题目 ${id}`,
    verdict: { correct: '正确', incorrect: '错误', ungradable: '无法评分' },
    extracted: (answer) => `提取的答案：${answer}`,
    nothingFound: '未找到答案',
    empty: '（空）',
    qualitative: '没有参考答案的提示',
    qualitativeTitle: (number) => `提示 ${number}`,
  },

  challenges: {
    heading: '4 · 遇到的问题与解决办法',
    incidents: '出了哪些问题',
    noIncidents: '本次运行没有出现故障。',
    replays:
      '训练若被中断，会从最新的、通过校验的检查点继续；数据顺序、噪声和学习率都只由种子和步数决定，因此没有一行被重复或遗漏。',
    headers: { when: '时间', stage: '阶段', what: '事件', verdict: '处置', action: '采取的措施' },
    rejected: '被剔除的行',
    noneRejected: '没有剔除任何行。',
    rejectedHeaders: { reason: '原因', train: '训练集', validation: '验证集' },
    kept: '保留',
    reason: { 'over-long': '过长', empty: '回答为空', unlabelled: '没有参考答案' },
    rejectedNote: '每一个被剔除的行及其原因都记录在 filter 产物的 rejects.jsonl 中。',
    failure: {
      Preempted: '被抢占',
      OutOfMemory: '内存不足',
      Diverged: '训练发散',
      TrainerHung: '训练进程无响应',
      HardwareFault: '硬件故障',
      StoreUnavailable: '存储不可用',
      DiskFull: '磁盘已满',
      TrainerCrashed: '训练进程崩溃',
      NoProgress: '没有进展',
      CapReached: '达到费用上限',
      CheckpointLost: '检查点丢失',
      InvalidSpec: '运行配置无效',
      DatasetRejected: '数据集被拒绝',
      ModelRejected: '模型被拒绝',
      ArtifactMissing: '产物缺失',
      CheckpointPassedOver: '跳过检查点',
      ReplayDiffers: '重做结果不同',
      TrackerDown: '跟踪工具不可用',
      NotificationGivenUp: '通知未送达',
    },
    verdict: {
      retry: '重试',
      'retry-elsewhere': '换机器重试',
      shrink: '减小微批',
      'roll-back': '回退',
      park: '暂停，等待人工处理',
      fail: '失败',
      'go-on': '继续训练',
    },
  },

  architecture: {
    heading: '5 · 架构',
    autoregression:
      '自回归模型从左到右书写：每个 token 依据前文抽取一次，此后不再改动。生成 n 个 token 需要 n 次前向计算，后文无法影响前文。',
    diffusion:
      'Dream 这样的扩散语言模型从全部为掩码的序列出发，双向看到整个序列。每个去噪步同时预测所有被掩盖的位置，揭示其中最有把握的若干个，其余留到下一步。生成所需的前向次数等于步数，与文本长度无关；一步可以出现多个 token，结尾也可以先于中间确定。',
    training: (weighting, meaning) =>
      text`训练时随机掩盖回答中比例为 t 的 token，让模型学会还原。本次运行的损失权重为 ${code(weighting)}。${meaning}`,
    weighting: {
      none: '每个被掩盖的 token 权重相同。',
      original: '被掩盖的 token 权重为 1/t，即掩码扩散的似然下界。',
      linear: '被掩盖的 token 权重为 1 − t，掩盖较少的文本占比更大。',
      cart: 'CART 按未掩盖上下文的远近给被掩盖的 token 加权：能由邻近内容确定的位置，比远离已知内容的位置权重更大。',
    },
    strategies: '重掩码策略',
    strategyHeaders: { name: '策略', rule: '先揭示的位置', used: '本次运行' },
    strategy: {
      origin: '随机抽取的位置：原始过程，不考虑置信度',
      maskgit_plus: '首选 token 概率最高的位置',
      topk_margin: '首选与次选 token 概率差最大的位置',
      entropy: '分布的熵最低的位置',
    },
    measured: '实测的揭示顺序',
    orderHeaders: {
      what: '统计验证集上的回答',
      order: '从左到右的程度（Spearman）',
      tokens: '每步揭示的 token 数',
      length: '回答的平均 token 数',
      ended: '自行结束的回答',
    },
    orderCaption:
      '在揭示顺序中的平均名次（0 最先，1 最后）与在回答中位置的关系。落在虚线上表示从左到右书写；平坦的 0.5 表示没有方向。',
    order: (rho) => {
      if (rho > 0.6) return '微调后的模型基本上从左到右揭示回答，与自回归模型相近。';
      if (rho > 0.2) return '微调后的模型偏向从左到右，但许多位置并不按此顺序揭示。';
      if (rho < -0.2) return '微调后的模型先揭示回答的结尾，后揭示开头。';
      return '微调后的模型揭示回答时没有固定的方向。';
    },
    orderLimit: text`这是一种策略下的顺序，不能说明哪种策略答得最好。若要比较，可换用另一个 ${code('eval.sampler.algorithm')} 再次运行：只有评估会重新计算。`,
  },

  next: {
    heading: '6 · 后续工作',
    worse: text`微调后准确率下降。建议先降低 ${code('train.optimizer.learningRate')} 或减少 ${code('train.epochs')}；仅用一千行数据做监督微调往往收益不大，在这类模型上，之后的强化学习收益更多。`,
    moreQuestions: (needed) =>
      text`以现有题量无法确认这一差异。如果它真实存在，大约需要 ${needed} 道可评分的题目才能看清；可以留出更多行，或在更大的题集上评估。`,
    noGain: text`微调前后答对的题数相同。调整之前先看第 3 节的回答：答题形式的变化可能掩盖能力的变化。`,
    overfit: (lowest, last) => text`验证损失在后期由 ${lowest} 升至 ${last}：可减少轮数、降低学习率或增加数据。`,
    overLong: (rows, limit) =>
      text`有 ${rows} 行训练数据超过 ${limit} 个 token，未参与训练：内存允许时可提高 ${code('filter.maxTokens')}，或学习更短的回答。`,
    unfinished: (share) =>
      text`微调后只有 ${share} 的回答自行结束：可提高 ${code('eval.sampler.maxNewTokens')}（步数随之增加）。`,
    coverage: (share) => text`微调后只有 ${share} 的回答能够评分：参考答案若能给出可核对的结果，测量会更准确。`,
    hyperparameters: text`超参数：扫描 ${code('train.optimizer.learningRate')} 与 ${code('train.epochs')}；每个取值重新训练，数据与基座模型的评估则直接复用。`,
    augmentation: text`数据增强：加入改写的题目，或同类能力的其他来源；近似重复的题目应放在划分的同一侧。`,
    sampler: text`采样器：比较不同的重掩码策略和更多的步数；只需重新评估。`,
  },

  checklist: {
    heading: '教程检查清单',
    items: {
      environment: '环境已安装',
      explain: '能够解释 Dream 的工作原理',
      converted: '已转换 s1K（或本次运行的数据）',
      trained: '已训练 1–3 轮并保存检查点',
      compared: '已比较微调前后的模型',
      written: '已记录问题、解决办法与思考',
      demo: '微调前后的演示',
    },
    environment: (torch, device) => text`PyTorch ${torch}，${device}`,
    explain: text`这一项由您自己勾选：第 5 节有说明，并附本次运行的实测。`,
    converted: (rows, kept) => text`转换 ${rows} 行，保留 ${kept} 行用于训练`,
    trained: (epochs, steps, hash) => text`${epochs} 轮，${steps} 步；已保存权重 ${code(hash)}`,
    compared: (questions, cases) => text`${questions} 道题对两者都已评分；第 3 节列出 ${cases} 组对照`,
    written: (incidents, rejected) => text`见第 4 节：${incidents} 起事件，剔除 ${rejected} 行`,
    demo: (command) => text`第 3 节有对照；现场演示：${code(command)}`,
  },

  departures: {
    heading: '与教程字面做法的不同之处',
    intro: '本次运行遵循教程的本意。凡是照原文无法运行之处，或本次配置另有设定之处，列在这里。',
    changed: '本次运行另行设定的值',
    headers: { field: '字段', guide: '教程', ours: '本次运行' },
    texts: {
      'own-trainer': text`${strong('训练器。')}公开的训练器固定要求 PyTorch 2.5.1，而且教程中的三个参数无法启动（${code('data.enable_perbatch_cutoff')}、${code('+data.perbatch_cutoff')}、${code('trainer.save_freq')}）。本次运行使用目标函数相同、不要求这些版本的训练器。`,
      'response-column': text`${strong('回答。')}教程读取 ${code('answer')} 列，而 s1K-1.1 没有这一列：所有回答都会是空的。本次运行读取映射中指定的列；若映射得到的回答全为空，则报错。`,
      'filtered-rows': text`${strong('过滤。')}教程写出了过滤后的文件，却用未过滤的文件训练。本次运行用过滤后的行训练。`,
      'global-batch': text`${strong('全局批大小。')}教程沿用 256，整个 s1K 只有 9 步。本次运行在配置中设定（见第 1 节）；默认值 16 与 s1 本身一致。`,
      'kept-eos': text`${strong('结束符。')}在公开的训练器中，填充符与结束符是同一个 token，其截断会把真正的结束符一并去掉，模型因而学不会停止。本次运行保留结束符。`,
      'global-normalisation': text`${strong('损失。')}公开的训练器对各微批的均值再取平均，损失因而取决于微批大小和 GPU 数。本次运行除以全局批中被掩盖的 token 数。`,
      seeded: text`${strong('随机种子。')}公开的训练器没有为噪声和截断设定种子。这里的数据顺序、噪声、截断和采样都由配置中的种子决定，因而可以重现。`,
      checkpoints: text`${strong('检查点。')}教程每 500 步保存一次，而总共 9 步永远到不了；公开的训练器恢复时也不会恢复权重。本次运行在训练期间和结束时保存，逐一校验，并从最新的、通过校验的检查点恢复。`,
      'exported-model': text`${strong('结果。')}教程评估的 ${code('checkpoint-final')} 目录从未被写出。本次运行导出 Hugging Face 格式的目录并对其评估。`,
      'prompt-as-trained': text`${strong('评估提示。')}教程训练时带系统提示，评估时却不带。本次运行按训练时的提示评估；将 ${code('eval.promptStyle')} 设为 ${code('last-user-message')} 即为教程的做法。`,
      'no-top-k': text`${strong('Top-k。')}教程没有指定，此时库的默认值 50 会悄然生效。本次运行按配置中的 ${code('eval.sampler.topK')} 采样。`,
      ungradable: text`${strong('评分。')}教程把 ${code('evaluate_answer')} 留给读者。本次运行按数学意义比较，程序无法核对的记为“无法评分”，不算错误。`,
    },
  },

  provenance: {
    heading: '来源与可重现性',
    model: '模型及其修订版本',
    dataset: '数据集及其修订版本',
    weights: '微调后权重的 SHA-256',
    seeds: '种子（划分、训练、评估）',
    seedValues: (split, train, evaluation) => `${split}、${train}、${evaluation}`,
    torch: 'PyTorch',
    versions: '各阶段版本',
    run: '工作流与运行',
    ui: 'Temporal 中的运行页面',
    promotion: '晋升',
    artifacts: '产物的键与摘要',
    artifact: '产物',
    key: '键',
    digest: '摘要',
    spec: '完整的运行配置（已填入默认值）',
  },

  stageNames: {
    resolve: '解析配置',
    'download dataset': '下载数据集',
    'download model': '下载模型',
    convert: '转换',
    filter: '过滤',
    train: '训练',
    'eval base': '评估微调前',
    'eval tuned': '评估微调后',
    promote: '晋升',
    report: '报告',
  },
  stageStates: {
    waiting: '等待',
    running: '进行中',
    done: '完成',
    cached: '复用',
    skipped: '跳过',
    failed: '失败',
  },

  plots: {
    step: '步',
    loss: '损失（nat）',
    eachStep: '单步',
    movingMean: '滑动平均',
    validation: '验证',
    learningRate: '学习率',
    spending: {
      productive: '训练步',
      validation: '验证',
      replayed: '重做的步',
      lost: '丢失的工作',
      saving: '保存',
      starting: '启动',
      waitingForData: '等待数据',
      finishing: '导出',
      waitingForHost: '等待主机',
    },
    tokens: 'token 数',
    rows: '行数',
    limit: (tokens) => `上限 ${tokens}`,
    accuracy: '准确率（%）',
    gain: '微调后减微调前（百分点）',
    base: '微调前',
    tuned: '微调后',
    difference: '差',
    position: '在回答中的位置',
    order: '揭示顺序',
    descriptions: {
      curve: (first, last) => `各步训练损失，由 ${first} 到 ${last}。`,
      lengths: '各行 token 数的直方图及阈值。',
      accuracy: (base, tuned) => `微调前准确率 ${base}，微调后 ${tuned}，附 95 % 区间。`,
      order: '微调前后，揭示顺序随回答位置的变化。',
    },
  },
};
