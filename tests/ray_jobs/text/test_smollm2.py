"""The language model that the package carries: converted once, answers, and learns by adapters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import ModelError
from pipelines.upkeep import home_files
from ray_jobs.core.dataset import Rows
from ray_jobs.text import base_models
from ray_jobs.text.base_models import RECORD_FILE, SMOLLM2
from ray_jobs.text.causal_lm import CausalLm
from ray_jobs.text.recipe import LanguageRecipe

pytestmark = pytest.mark.slow


def test_smollm2_is_converted_once_answers_and_learns(colours: LanguageRecipe, own_home: Path) -> None:
    recipe = replace(colours, base=SMOLLM2, prompt="{question}")
    columns = {"question": ["What is the capital of France?"], "colour": ["Paris, which is blue at night."]}
    rows = Rows(
        {name: np.array(own, dtype=object) for name, own in columns.items()}, np.array(columns["colour"], object)
    )
    program = CausalLm.fitted(recipe, rows, None)
    (record,) = own_home.glob(f"base_models/*/{RECORD_FILE}")
    written = record.stat().st_mtime_ns

    network, batch = program.network(), program.batch(program.examples(rows))
    model = program.trained(network, rows)
    assert "Paris" in model.answer({"question": columns["question"]})[0].text
    optimizer = torch.optim.AdamW([own for own in network.parameters() if own.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = program.loss(network.train(), batch)
        losses.append((loss.total / loss.weight).item())
        (loss.total / loss.weight).backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2
    assert record.stat().st_mtime_ns == written

    with (record.parent / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ModelError, match="tokenizer.json was changed") as error:
        base_models.prepared(SMOLLM2, own_home)
    assert error.value.next_step.startswith(f"remove {record.parent}")
    kind = home_files.kind_of(record.relative_to(own_home).as_posix())
    assert kind is not None
    assert kind.check is not None
    assert kind.check(record) == "tokenizer.json beside it are not what was converted"
