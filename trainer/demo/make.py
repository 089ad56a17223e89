"""Makes the demo's embedded inputs: `base/`, a pre-trained Dream (Hugging Face layout), and `data/`, s1K-1.1's columns.

    cd trainer && python -m demo.make --out ../infra/demo

takes CUDA where there is one, else the CPU. `--data-only` leaves the base alone.
"""

import argparse
import gzip
import json
import os
import random
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from dream_trainer.config import DreamConfig
from dream_trainer.model import DreamModel

from .corpus import text
from .dataset import questions_and_rows
from .pretrain import Pretraining, pretrain, tokenise_corpus
from .vocabulary import BEGIN_OF_TEXT, END_OF_TEXT, MASK, plain_parts, save_tokenizer, train_tokenizer

CONTEXT = 512
SHAPE = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
TOKENIZER_TEXTS = 20_000


def main() -> None:
    options = arguments()
    questions, rows = questions_and_rows(options.seed)
    write_data(options.out / "data" / "s1k-style.jsonl.gz", rows)
    if options.data_only:
        return
    rng = random.Random(f"tokenizer {options.seed}")
    samples = (text(rng, questions) for _ in range(TOKENIZER_TEXTS))
    tokenizer = train_tokenizer(chain.from_iterable(plain_parts(sample.prompt + sample.response) for sample in samples))
    fields = config_fields(tokenizer)
    config = DreamConfig.parse(fields)
    plan = Pretraining(options.texts, options.steps, options.batch, 104, options.learning_rate, options.seed)
    corpus = tokenise_corpus(plan, tokenizer, questions, config.eos_token_id, options.processes)
    print(f"{len(corpus[0])} texts, {int((corpus[0] != config.pad_token_id).sum())} tokens without padding", flush=True)

    def save(model: DreamModel, step: int) -> None:
        last = step == plan.steps
        save_base(options.out / ("base" if last else f"base-{step}"), model, tokenizer, fields)

    pretrain(config, plan, corpus, options.device, save, frozenset({*options.save_at, plan.steps}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets base/ and data/")
    parser.add_argument("--data-only", action="store_true", help="write the data set and stop")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--texts", type=int, default=600_000, help="texts of the corpus")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--batch", type=int, default=1024, help="texts a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that write the corpus")
    parser.add_argument("--save-at", type=int, nargs="*", default=[], help="also save base-<step>/ after these steps")
    return parser.parse_args()


def write_data(path: Path, rows: list[dict[str, str]]) -> None:
    """The same rows give the same bytes: no time of day and no file name in the gzip header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def config_fields(tokenizer: Tokenizer) -> dict[str, Any]:
    end = tokenizer.token_to_id(END_OF_TEXT)
    return {
        "architectures": ["DreamModel"],
        "model_type": "Dream",
        "vocab_size": tokenizer.get_vocab_size(),
        **SHAPE,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_dropout": 0.0,
        "use_cache": False,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": SHAPE["num_hidden_layers"],
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.token_to_id(BEGIN_OF_TEXT),
        "eos_token_id": end,
        "pad_token_id": end,
        "mask_token_id": tokenizer.token_to_id(MASK),
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.2",
    }


def save_base(folder: Path, model: DreamModel, tokenizer: Tokenizer, fields: dict[str, Any]) -> None:
    save_tokenizer(tokenizer, folder, CONTEXT)
    weights = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    generation = {
        "bos_token_id": fields["bos_token_id"],
        "eos_token_id": fields["eos_token_id"],
        "pad_token_id": fields["pad_token_id"],
        "transformers_version": fields["transformers_version"],
    }
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


if __name__ == "__main__":
    main()
