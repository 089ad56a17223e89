"""One attempt at training, from top to bottom: load, resume, steps, validation, checkpoints, export.

All that the loop's course depends on is weights, optimizer, step and spec: killed anywhere and resumed, it gives the
same weights to the bit.
"""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from .ahead import Ahead
from .batches import TrainingBatches
from .cadence import Cadence
from .checkpoint import Checkpoint, open_checkpoint
from .compiled import compile_for, is_asked_for
from .config import DreamConfig
from .data import Row, load_rows
from .determinism import make_deterministic
from .distributed import Ranks, device_name, own_device
from .divergence import WINDOW, check_divergence
from .events import Events
from .failures import EXIT_PREEMPTED, Preempted, invalid
from .fit import fit, gpu_memory_bytes
from .gradients import accumulate_gradients, clear_gradients
from .kernels import keep_kernels, load_kernels
from .lora import exported_tensors
from .micro_batches import micro_batches, stand_ins
from .optimizer import Optimizer, build_optimizer, clip_factor, gradient_norm, gradients, learning_rate
from .pieces import Piece
from .preflight import check_alike, preflight
from .process import Termination
from .saver import Saver
from .sharding import gathered, is_sharded, reshard, shard
from .spec import TrainSpec
from .tokenizer import Tokenizer
from .trained_model import fill, outline, trained_pieces, trained_tensors
from .validation import validation_loss
from .weights import STORED_DTYPES, save_model, stored_dtype, weights_sha256

_LAST_SAVE_SECONDS = 30.0
"""How long a failing attempt waits for a save under way: it may be what the next attempt starts from."""


def train(
    spec: TrainSpec,
    run_dir: Path,
    events: Events,
    termination: Termination,
    where: dict[str, object],
    *,
    replay_until: int | None = None,
    kernels: Path | None = None,
) -> int:
    """Returns the exit status 0 or 75; anything else is raised. `where` always tells phase and step."""
    where["microBatchSize"] = spec.micro_batch_size
    make_deterministic(spec.threads)
    preflight(own_device())
    ranks = Ranks.join()
    try:
        attempt = Attempt(spec, run_dir, events, termination, where, ranks, smallest_gpu(ranks), kernels)
        return attempt.run() if replay_until is None else attempt.replay(replay_until)
    finally:
        ranks.leave()


def smallest_gpu(ranks: Ranks) -> int | None:
    """Bytes of memory by which all ranks plan, and so alike: two GPUs of one model may differ by a few MiB. Raises
    HardwareFault where they are not of one model."""
    told = ranks.all((device_name(ranks.device), gpu_memory_bytes(ranks.device)))
    check_alike([name for name, _ in told])
    return min((memory for _, memory in told if memory is not None), default=None)


class Attempt:
    """State of the loop. Everything that outlives a process is in the checkpoint; the rest is measured, not trained."""

    def __init__(
        self,
        spec: TrainSpec,
        run_dir: Path,
        events: Events,
        termination: Termination,
        where: dict[str, object],
        ranks: Ranks,
        memory_bytes: int | None,
        kernels: Path | None = None,
    ) -> None:
        self.spec, self.run_dir, self.events, self.termination = spec, run_dir, events, termination
        self.where, self.ranks, self.kernels = where, ranks, kernels
        self.started = time.monotonic()
        self._phase("load")
        resumed = self._open_checkpoint()
        self.step = resumed.step if resumed else 0
        where["step"] = self.step
        self.history: list[str] = resumed.history if resumed else []
        records = [json.loads(line) for line in self.history]
        self.losses = [record["loss"] for record in records if record["type"] == "step" and not record["leftOut"]]
        validated = [record for record in records if record["type"] == "validation"]
        self.validation: float | None = validated[-1]["loss"] if validated else None
        self.validated_step: int | None = validated[-1]["step"] if validated else None

        config = DreamConfig.load(spec.model)
        tokenizer = Tokenizer.load(spec.model, config)
        self._check_length(config)
        rows = load_rows(spec.train_data, tokenizer, spec.max_tokens, "error")
        self.validation_rows: list[Row] = []
        if spec.validation_data:
            self.validation_rows = load_rows(spec.validation_data, tokenizer, spec.max_tokens, "truncate")
        self.batches = TrainingBatches.of(spec, rows, config)
        self.ahead = Ahead(self.batches.batch)
        self.steps = spec.epochs * self.batches.steps_per_epoch
        if spec.max_steps:
            self.steps = min(self.steps, spec.max_steps)

        self.export_dtype = (resumed and STORED_DTYPES.get(resumed.stored_dtype)) or stored_dtype(spec.model)
        chosen = fit(spec, config, resumed, memory_bytes, ranks.count)
        self.recipe, self.autocast = chosen.recipe, chosen.recipe.autocast
        self.model = outline(config, self.recipe, spec)
        if chosen.is_sharded:
            shard(self.model, ranks)
        shapes = build_optimizer(self.model, spec.optimizer, self.recipe, spec.seed)
        pieces = self._pieces(shapes)
        dtype = str(self.export_dtype).removeprefix("torch.")
        self.saver = Saver(run_dir, spec.identity, self.recipe.name, ranks, events, self._state(shapes), pieces, dtype)
        self.saver.saved_step = resumed.step if resumed else None
        fill(self.model, self.recipe, spec, resumed, ranks.device)
        self.model.activation_checkpointing = spec.activation_checkpointing
        self.model.train()
        self.optimizer = build_optimizer(self.model, spec.optimizer, self.recipe, spec.seed)
        if resumed:
            self.optimizer.restore(resumed.optimizer_tensors(self.optimizer.pieces))
        self._compile(len(rows))
        self.cadence = Cadence(spec.checkpoint, time.monotonic())
        self._tell_plan(len(rows))

    def run(self) -> int:
        self.termination.defer()
        try:
            if self.step and self._validation_due():
                self._validate()
            self._phase("train")
            while self.step < self.steps:
                stop, save = self._train_step()
                self._keep_kernels()
                if stop:
                    raise Preempted
                if self._validation_due():
                    if self.validation is None:
                        self._save("final" if self.step == self.steps else "validation")
                    # Before a save that is due too, whose manifest then tells what its own weights do.
                    self._validate()
                    self._phase("train")
                if self.step == self.steps:
                    self._save("final")
                elif save:
                    self._save("cadence")
            self.saver.wait(required=True)
            if self.ranks.sum(float(self.termination.requested))[0]:
                raise Preempted
        except Preempted:
            if self.step:
                self._save("preempted")
                self.saver.wait(required=True)
            return EXIT_PREEMPTED
        except BaseException:
            self.saver.settle(_LAST_SAVE_SECONDS)
            raise
        self.termination.end_at_once()
        self._export()
        return 0

    def replay(self, until_step: int) -> int:
        """Steps of a training once more, to compare them. Keeps nothing, so that SIGTERM may end it at once."""
        if not self.step < until_step <= self.steps:
            raise invalid("--until", str(until_step), f"a step from {self.step + 1} to {self.steps}", "choose one")
        self._phase("train")
        while self.step < until_step:
            self._train_step()
        self._phase("export")
        hashes: dict[str, str] = {}
        for kind, tensors in self._state(self.optimizer).items():
            pieces = self._pieces(self.optimizer)[kind]
            whole = ((name, gathered(tensor, pieces.get(name)).cpu()) for name, tensor in tensors.items())
            hashes[f"{kind}Sha256"] = weights_sha256(self._on_rank_0(whole))
        exported = weights_sha256(self._on_rank_0(exported_tensors(self.model, self.export_dtype)))
        if self.ranks.rank == 0:
            self.events.emit("state", step=self.step, **hashes)
            self._tell_done(exported, self.run_dir)
        return 0

    def _train_step(self) -> tuple[bool, bool]:
        """One optimizer step. Returns what all ranks agree on: whether to stop, and whether a save is due."""
        spec, step = self.spec, self.step + 1
        self.where["step"] = step
        started = time.monotonic()
        batch = self.ahead.take(step, last=self.steps)
        data_seconds = time.monotonic() - started
        rate = learning_rate(spec.optimizer, step, self.steps)
        clear_gradients(self.model)
        left_out = step in spec.leave_out_steps
        share = 0.0
        if not left_out:
            shares = self._shares(len(batch.rows))
            how = {"micro_batches": sum(len(chunks) for chunks in shares), "autocast": self.autocast}
            own, normalisation = shares[self.ranks.rank], spec.objective.normalisation
            share = accumulate_gradients(self.model, batch, own, normalisation, **how)
            if is_sharded(self.model):
                others = stand_ins(batch, shares, self.ranks.rank)
                accumulate_gradients(self.model, batch.without_weight(), others, normalisation, **how)
        grads = gradients(self.model)
        if not left_out:
            self.ranks.sum_gradients([grad for grad in grads if not is_sharded(grad)])
        due = self.ranks.rank == 0 and self.cadence.due(step, time.monotonic(), self.saver.ready)
        loss, stop, save = self.ranks.sum(share, float(self.termination.requested), float(due))
        norm = gradient_norm(grads)
        grad_norm = norm.item()
        if not left_out:
            check_divergence(step, batch.rows, loss, grad_norm, self.losses, spec.spike_factor)
            self.optimizer.update(step, rate, clip_factor(norm, spec.optimizer.clip_norm))
            self.losses = [*self.losses[1 - WINDOW :], loss]
        self.step = step
        record = {
            "step": step,
            "epoch": self.batches.epoch_of(step),
            "loss": loss,
            "learningRate": rate,
            "gradNorm": grad_norm,
            "tokens": batch.clean_ids_BS.numel(),
            "maskedTokens": batch.masked_tokens,
            "seconds": time.monotonic() - started,
            "dataSeconds": data_seconds,
            "leftOut": left_out,
            "rows": batch.rows,
        }
        self.history.append(json.dumps({"type": "step", **record}))
        self.events.emit("step", **record)
        return bool(stop), bool(save)

    def _compile(self, rows: int) -> None:
        if not is_asked_for(self.spec, self.model, self.ranks.device):
            return
        self._phase("compile")
        self._were_loaded = self.kernels is not None and load_kernels(self.kernels)
        compile_for(self.model, self.spec, rows=rows, ranks=self.ranks.count, autocast=self.autocast)

    def _keep_kernels(self) -> None:
        """Once, behind the first step, which compiles the update."""
        if self.kernels is not None and self.model.is_compiled and self.ranks.rank == 0:
            keep_kernels(self.kernels, were_loaded=self._were_loaded)
        self.kernels = None

    def _shares(self, rows: int) -> list[list[list[int]]]:
        """Every rank's micro-batches of a batch of so many rows."""
        count = self.ranks.count
        return [micro_batches(rows, self.spec.micro_batch_size, rank, count) for rank in range(count)]

    def _state(self, optimizer: Optimizer) -> dict[str, dict[str, torch.Tensor]]:
        return {"weights": trained_tensors(self.model), "optimizer": optimizer.tensors}

    def _pieces(self, optimizer: Optimizer) -> dict[str, dict[str, Piece]]:
        return {"weights": trained_pieces(self.model), "optimizer": optimizer.pieces}

    def _validation_due(self) -> bool:
        if not self.validation_rows or self.validated_step == self.step:
            return False
        every = self.spec.validate_every_steps or self.batches.steps_per_epoch
        return self.step % every == 0 or self.step == self.steps

    def _validate(self) -> None:
        self._phase("validation")
        started = time.monotonic()
        try:
            loss = validation_loss(
                self.model,
                self.validation_rows,
                self.spec.objective,
                seed=self.spec.seed,
                batch_size=self.spec.micro_batch_size,
                ranks=self.ranks,
                autocast=self.autocast,
                preempted=lambda: self.termination.requested,
            )
        finally:  # Whatever is saved next is shards.
            reshard(self.model)
        self.validation, self.validated_step = loss, self.step
        self.history.append(json.dumps({"type": "validation", "step": self.step, "loss": loss}))
        seconds = time.monotonic() - started
        self.events.emit("validation", step=self.step, loss=loss, rows=len(self.validation_rows), seconds=seconds)

    def _save(self, reason: str) -> None:
        if self.saver.saved_step == self.step:
            return
        self._phase("save")
        stall = self.saver.save(self.step, self._state(self.optimizer), self.history, self.validation, reason)
        self.cadence.saved(time.monotonic(), stall)
        self._phase("train")

    def _export(self) -> None:
        """The model as a Hugging Face folder, `RUN_DIR/model`; and `RUN_DIR/history.jsonl`, the curve to its end."""
        self._phase("export")
        tensors = self._on_rank_0(exported_tensors(self.model, self.export_dtype))
        if self.ranks.rank:
            return
        folder, partial = self.run_dir / "model", self.run_dir / "model.partial"
        for stale in (folder, partial):
            shutil.rmtree(stale, ignore_errors=True)
        digest = save_model(tensors, self.spec.model, partial)
        partial.rename(folder)
        (self.run_dir / "history.jsonl").write_text("".join(line + "\n" for line in self.history), encoding="utf-8")
        self._tell_done(digest, folder)

    def _on_rank_0(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """All of them; the other ranks keep none, and only help to gather what is sharded."""
        if self.ranks.rank == 0:
            return dict(tensors)
        if is_sharded(self.model):
            deque(tensors, maxlen=0)
        return {}

    def _tell_done(self, digest: str, path: Path) -> None:
        self.events.emit(
            "done",
            step=self.step,
            weightsSha256=digest,
            path=str(path),
            peakMemoryBytes=peak_memory_bytes(self.ranks.device),
            seconds=time.monotonic() - self.started,
        )

    def _open_checkpoint(self) -> Checkpoint | None:
        folder = self.spec.checkpoint.resume_from
        return open_checkpoint(folder, self.spec.identity) if folder else None

    def _check_length(self, config: DreamConfig) -> None:
        if self.spec.max_tokens > config.max_position_embeddings:
            raise invalid(
                "spec, maxTokens",
                str(self.spec.max_tokens),
                f"at most {config.max_position_embeddings}, the model's max_position_embeddings",
                "lower it",
            )

    def _phase(self, phase: str) -> None:
        self.where["phase"] = phase
        self.events.phase(phase)

    def _tell_plan(self, rows: int) -> None:
        device = self.ranks.device
        plan: dict[str, Any] = {
            "rows": rows,
            "stepsPerEpoch": self.batches.steps_per_epoch,
            "steps": self.steps,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "ranks": self.ranks.count,
            "device": device_name(device),
            "torch": torch.__version__,
            "recipe": self.recipe.name,
            "threads": torch.get_num_threads(),
            "fromStep": self.step,
            "deviceMemoryBytes": gpu_memory_bytes(device),
            "sharded": is_sharded(self.model),
        }
        self.events.emit("plan", **plan)


def peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
