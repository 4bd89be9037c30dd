"""A tiny language model as a program: sequences of different lengths, padded or packed, through attention blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from deltalake import write_deltalake
from torch import Tensor, nn

from pipelines.models.program import Holds, Unit, Window
from ray_jobs.core.contest import Contender
from ray_jobs.core.dataset import DatasetVersion, Rows
from ray_jobs.core.program import Batch, Loss, Model
from ray_jobs.core.recipe import TrainingRecipe

START = datetime(2026, 1, 1, tzinfo=UTC)
TOKENS, WIDTH, BLOCKS = 16, 12, 2
#: No target: the token after the last one of a sequence.
NOTHING = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyRecipe(TrainingRecipe):
    """`layout` says how sequences of different lengths become a batch."""

    layout: str = "padded"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("text",)

    @property
    def columns(self) -> Mapping[str, Holds]:
        return {**self.selects_by, "text": "text", self.label: "number"}


RECIPE = ToyRecipe(
    model_name="toy", task="regression", label="label", row_key="row", time_column="at", known_at_column="at",
    train_window=Window(START, START + timedelta(days=10)),
    gate_window=Window(START + timedelta(days=10), START + timedelta(days=11)),
    holdout_every_days=5, epochs=2, batch_size=16, learning_rate=3e-3, seed=7,
)  # fmt: skip


def toy_table(folder: Path) -> DatasetVersion:
    """10 days of 8 rows; a text of 2 to 9 letters counts up from its first one. Of row 5, a letter is no token."""
    random = np.random.default_rng(3)
    texts = ["".join(chr(97 + (first + i) % TOKENS) for i in range(n)) for first, n in random.integers(2, 10, (80, 2))]
    at = [START + timedelta(days=i // 8, hours=1) for i in range(80)]
    table = pa.table({"row": [f"r{i:02d}" for i in range(80)], "at": at, "label": [1.0] * 80, "text": texts})
    write_deltalake(str(folder), table.set_column(1, "at", table["at"].cast(pa.timestamp("us", tz="UTC"))))
    return DatasetVersion(str(folder), 0)


class Block(nn.Module):
    """Attention to the tokens before, in the same sequence alone, and a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH, bias=False)  # a key's bias changes nothing
        self.deep = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        x = x + nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return x + self.deep(x)


class ToyNetwork(nn.Module):
    """Logits of the next token, [rows, tokens, TOKENS]; the embedding is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH).requires_grad_(False)
        self.blocks = nn.ModuleList([Block() for _ in range(BLOCKS)])
        self.head = nn.Linear(WIDTH, TOKENS)

    def forward(self, tokens: Tensor, sequence: Tensor) -> Tensor:
        causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
        allowed = (sequence[:, :, None] == sequence[:, None, :]) & causal
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, allowed)
        return self.head(x)


@dataclass(frozen=True)
class Toy:
    """A `Program`; a factor for the loss of each row that is no number stops a run."""

    recipe: ToyRecipe
    unit: ClassVar[Unit] = "tokens"
    factors: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fitted(cls, recipe: ToyRecipe, rows: Rows, base: Path | None) -> Toy:
        return cls(recipe)

    def examples(self, rows: Rows) -> pa.Table:
        tokens = [[ord(letter) - 97 for letter in text] for text in rows.columns["text"]]
        return pa.table({"tokens": tokens, "factor": [self.factors.get(text, 1.0) for text in rows.columns["text"]]})

    def network(self) -> nn.Module:
        return ToyNetwork()

    def batch(self, examples: pa.Table) -> Batch:
        rows = [torch.tensor(tokens) for tokens in examples["tokens"].to_pylist()]
        parts = {
            "tokens": rows,
            "targets": [torch.cat([row[1:], torch.tensor([NOTHING])]) for row in rows],
            "sequence": [torch.full_like(row, place) for place, row in enumerate(rows)],
            "factors": [torch.full(row.shape, f) for row, f in zip(rows, examples["factor"].to_pylist(), strict=True)],
        }
        fill = {"tokens": 0, "targets": NOTHING, "sequence": -1, "factors": 1.0}
        if self.recipe.layout == "packed":
            return {name: torch.cat(tensors)[None] for name, tensors in parts.items()}
        return {
            name: nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill[name])
            for name, tensors in parts.items()
        }

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        logits = network(batch["tokens"], batch["sequence"]).float()
        targets = batch["targets"]
        each = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return Loss((each * batch["factors"].flatten()).sum(), (targets != NOTHING).sum())

    def trained(self, network: nn.Module, holdout: Rows) -> Model:
        raise NotImplementedError

    def baselines(self, rows: Rows) -> Mapping[str, Contender]:
        raise NotImplementedError
