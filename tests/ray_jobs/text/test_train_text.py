"""Language models through the fabric on a cluster: trained by two workers, compared with the base model, loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.models import gate
from pipelines.models.judgement import Gate
from pipelines.models.program import CHALLENGER, Challenge, Epoch, Progress, SearchProgress
from ray_jobs.programs import CAUSAL_LM
from ray_jobs.text.language_model import Said, chat_of
from ray_jobs.text.recipe import LanguageRecipe, Lora
from tests.ray_jobs.text.conftest import COLOURS

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("cluster"),
    # Ray Train touches options of Ray Data that Ray Data calls deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]


def table_of(folder: Path) -> str:
    """Things in three folds, each with its colour."""
    things = [(f"{thing} {number}", colour) for number in range(6) for thing, colour in COLOURS.items()]
    rows = [
        {
            "thing": thing,
            "colour": colour,
            "fold": ("train", "train", "train", "train", "calibrate", "gate")[number // 4],
        }
        for number, (thing, colour) in enumerate(things)
    ]
    write_deltalake(str(folder / "training_set"), pa.Table.from_pylist(rows))
    return str(folder / "training_set")


def test_two_workers_tune_adapters_that_beat_the_base_model(colours: LanguageRecipe, tmp_path: Path) -> None:
    recipe = replace(
        colours, adapter=Lora(rank=4, modules=("q_proj", "v_proj", "down_proj")), num_workers=2, epochs=12,
        learning_rate=3e-2,
    )  # fmt: skip
    seen: list[Epoch | Progress | SearchProgress] = []
    challenge: Challenge = CAUSAL_LM.load()(
        recipe, place="process", table_uri=table_of(tmp_path), table_version=0, storage_path=str(tmp_path / "storage"), run_name="run",
        model_dir=tmp_path / "model", window=recipe.gate_window, base_model_dir=None, champion_dir=None,
        gate=gate.named("text", Gate()), on_progress=seen.append,
    )  # fmt: skip
    losses = [epoch.train_loss for epoch in challenge.run.history]
    assert losses[-1] < losses[0] / 3
    chat = chat_of(recipe.base, Said.of(recipe), tmp_path)
    tokens = sum(len(chat.answer(colour)) for colour in COLOURS.values()) * 4
    assert [epoch.amount for epoch in challenge.run.history] == [tokens] * 12
    assert (challenge.run.workers, challenge.run.unit) == (2, "tokens")
    challenger, base = (challenge.evaluations[name].metrics for name in (CHALLENGER, "baseline"))
    assert challenger["held_out_loss"] < base["held_out_loss"] / 2
    assert challenger["rouge_l"] > base["rouge_l"]
    assert {d.metric for d in challenge.judgement.differences} == {"held_out_loss", "rouge_l"}
    assert len(CAUSAL_LM.predictor(tmp_path / "model").answer({"thing": ["the sky 9", "coal 9"]})) == 2
