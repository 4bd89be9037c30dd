"""One process of `bench.train_language`: the training loop, or a plain loop of transformers and peft, on the same rows.

`python -m bench.train_language_side FOLDER CASE` reads what `bench.train_language` wrote into the folder, and prints a
`Speed` as JSON; CASE is a `Case` as JSON.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, get_scheduler

from bench.watched import Watched
from ray_jobs.core.loop import Job, Loop, Worker
from ray_jobs.core.scale import Scale
from ray_jobs.core.shards import Shards
from ray_jobs.text.base_models import prepared
from ray_jobs.text.causal_lm import CausalLm
from ray_jobs.text.packing import pack
from ray_jobs.text.recipe import LanguageRecipe

#: Dense bf16 FLOPs a second, by the name of the card (data sheets of NVIDIA, without sparsity).
PEAK = {"NVIDIA H200": 989e12, "NVIDIA H100 80GB HBM3": 989e12, "NVIDIA A100-SXM4-80GB": 312e12}
#: Steps that are not measured: the first ones compile, and fill caches.
WARM = 5
SCALES = {
    "fp32": Scale(),
    "bf16": Scale(precision="bf16"),
    "bf16, compiled": Scale(precision="bf16", compile=True),
    "bf16, compiled, FSDP2": Scale(precision="bf16", compile=True, strategy="fsdp"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """What a process does.

    Attributes:
        side: "ours", or the plain loop on sequences that are "packed" as ours are, or "padded".
        adapter: "lora", or "whole" for all weights.
        scale: A key of `SCALES`.
        batch: Rows of a step.
        epochs: How often it trains on all rows.
        every: Steps between checkpoints of ours; None for one at the end.
    """

    side: str
    adapter: str
    scale: str
    batch: int
    epochs: int = 1
    every: int | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """What one process measured: of the steps after the first ones, tokens a second; peak memory in GB."""

    tokens_a_second: float
    mfu: float | None
    memory: float
    first_loss: float
    accelerator: str
    blocked: float = 0.0
    waited: float = 0.0


def measured(case: Case, folder: Path) -> Speed:
    """Trains, and counts the tokens of the steps after the first ones; padding is no token."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    recipe, home = pickle.loads((folder / "recipe.pickle").read_bytes())
    scale = SCALES[case.scale]
    recipe = replace(
        recipe, adapter=recipe.adapter if case.adapter == "lora" else None, scale=scale, batch_size=case.batch,
        num_workers=2 if scale.strategy == "fsdp" else 1, epochs=case.epochs, checkpoint_interval_steps=case.every,
    )  # fmt: skip
    watched: Any = Watched(CausalLm(recipe, home, None), folder / "steps")
    fit, holdout = Shards.open(folder / "fit"), Shards.open(folder / "holdout")
    tokens = [len(table["tokens"].combine_chunks().flatten()) for table in _batches(fit, recipe)][WARM:-1]
    blocked = waited = 0.0
    with tempfile.TemporaryDirectory(dir=folder) as run, _group(recipe, Path(run)):
        if case.side == "ours":
            loop = Loop(Job(watched, recipe, fit, holdout, Path(run)), Worker(0, 1, device))
            loop.run()
            blocked, waited = loop.waits.checkpoints, loop.waits.rows
        else:
            _plain(case.side, watched, recipe, fit, device)
    times = watched.times
    steps = fit.steps(case.batch)
    per_second = sum(tokens) / (times[steps - 1] - times[WARM])
    seconds = times[-1] - times[0]
    return Speed(
        per_second, _utilization(watched.program, per_second, device), _memory(device), watched.first_loss,
        torch.cuda.get_device_name() if device.type == "cuda" else "cpu", blocked / seconds, waited / seconds,
    )  # fmt: skip


@contextlib.contextmanager
def _group(recipe: LanguageRecipe, folder: Path) -> Iterator[None]:
    """A process group of one process, which FSDP2 needs."""
    if recipe.scale.strategy != "fsdp":
        yield
        return
    dist.init_process_group("nccl", init_method=f"file://{folder}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def _batches(fit: Any, recipe: LanguageRecipe) -> Iterator[Any]:
    return fit.batches(seed=recipe.seed, epoch=1, batch_size=recipe.batch_size)


def _plain(layout: str, watched: Watched, recipe: LanguageRecipe, fit: Any, device: Any) -> None:
    """What the documentation of transformers and peft shows: the model's own loss, AdamW, clipped gradients."""
    torch.manual_seed(recipe.seed)
    model = AutoModelForCausalLM.from_pretrained(prepared(recipe.base, watched.program.home), dtype=torch.float32)
    lora = recipe.adapter
    assert lora is not None
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.modules), task_type="CAUSAL_LM")
    model = get_peft_model(model, config).to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=fit.steps(recipe.batch_size))
    for table in _batches(fit, recipe):
        watched.step()
        inputs = {name: tensor.to(device) for name, tensor in _inputs(layout, table, recipe).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.scale.precision == "bf16"):
            loss = model(**inputs, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, recipe.maximum_gradient_norm or 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        watched.first_loss = watched.first_loss or loss.item()


def _inputs(layout: str, table: Any, recipe: LanguageRecipe) -> dict[str, Any]:
    """A batch as the model's own loss takes it: labels of -100 where no token of an answer is predicted."""
    tokens, prompts = table["tokens"].to_pylist(), table["prompt"].to_pylist()
    if layout == "packed":
        packed = pack(tokens, prompts, length=recipe.sequence_tokens, padding=0)
        labels = torch.full_like(packed.tokens, -100)
        labels.view(-1)[packed.places + 1] = packed.targets
        return {"input_ids": packed.tokens, "position_ids": packed.positions, "labels": labels}
    rows = [torch.tensor(row) for row in tokens]
    answers = [
        torch.cat([torch.full((prompt,), -100), row[prompt:]]) for row, prompt in zip(rows, prompts, strict=True)
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(rows, batch_first=True),
        "labels": pad(answers, batch_first=True, padding_value=-100),
        "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True),
    }


def _utilization(program: CausalLm, tokens_a_second: float, device: torch.device) -> float | None:
    """Model FLOPs utilization: 6 FLOPs for each weight of the blocks and token, 4 where their weights are frozen.

    Attention and the output layer are left out, as is what is computed again; None on a device without a known rate.
    """
    if device.type != "cuda" or (peak := PEAK.get(torch.cuda.get_device_name())) is None:
        return None
    recipe = program.recipe
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(prepared(recipe.base, program.home)))
    weights = model.num_parameters() - model.get_input_embeddings().weight.numel()
    return tokens_a_second * weights * (6 if recipe.adapter is None else 4) / peak


def _memory(device: torch.device) -> float:
    """The most memory that was in use, in GB: the GPU's, or that of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    print(json.dumps(asdict(measured(Case(**json.loads(sys.argv[2])), Path(sys.argv[1])))))
