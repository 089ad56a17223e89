"""Entry point: `python -m dream_trainer train|replay|precompile|eval|generate|grade|export|plan|bench|track|doctor …`.

Each command is imported only when it is called, so that `grade` starts without torch.
"""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "train": ("dream_trainer.train", "fine-tune a model by a spec: --spec FILE --run-dir DIR"),
    "replay": ("dream_trainer.replay", "do steps of a training once more: --spec FILE --run-dir DIR --until STEP"),
    "precompile": ("dream_trainer.precompile", "compile what a training will call, before its weights are here"),
    "eval": ("dream_trainer.evaluate", "generate answers to a data set in shards: --spec FILE --run-dir DIR"),
    "generate": ("dream_trainer.generate", "answer one prompt"),
    "grade": ("dream_trainer.grading", "grade JSON lines {reference, prediction} from standard input"),
    "export": ("dream_trainer.export", "write a model as a Hugging Face folder to hand on"),
    "plan": ("dream_trainer.plan", "tell whether training fits into GPUs: a JSON request on standard input"),
    "bench": ("dream_trainer.bench.__main__", "measure train, sample or checkpoint on the device there is"),
    "track": ("dream_trainer.track", "bring a training's events on standard input to TensorBoard or W&B: --dir DIR …"),
    "doctor": ("dream_trainer.doctor", "tell versions and devices, and check their arithmetic"),
}


def main(argv: list[str]) -> int:
    if argv and argv[0] in COMMANDS:
        return importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:])
    usage = "usage: python -m dream_trainer COMMAND …\n\ncommands:\n" + "".join(
        f"  {name:11}{told}\n" for name, (_, told) in COMMANDS.items()
    )
    if argv and argv[0] in ("-h", "--help"):
        print(usage, end="")
        return 0
    print(usage, end="", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
