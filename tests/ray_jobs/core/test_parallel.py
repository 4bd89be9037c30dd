"""However a run is spread and made to fit, it learns what one process learns: losses and weights agree.

Single precision agrees to rounding: losses to 1e-5 of their value, weights to 1e-4. Each worker rounds bf16 by itself:
losses to 1e-2 of their value, weights to 2e-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.models.program import Epoch
from ray_jobs.core import checkpoint_folder, parallel, shard_writer
from ray_jobs.core.loop import Job, Worker, run
from ray_jobs.core.progress import Journal
from ray_jobs.core.scale import Scale
from ray_jobs.core.shards import Shards
from tests.ray_jobs import process_group
from tests.ray_jobs.toy_program import RECIPE, Toy, ToyNetwork, ToyRecipe, toy_table

CLIPPED = replace(RECIPE, maximum_gradient_norm=0.5)


def _scaled(recipe: ToyRecipe = RECIPE, **scale: Any) -> ToyRecipe:
    workers = 2 if scale.get("strategy") == "fsdp" else 1
    return replace(recipe, scale=Scale(**scale), num_workers=workers)


#: Recipes by name, each with the recipe of the single process that it must agree with.
CASES: dict[str, tuple[ToyRecipe, ToyRecipe]] = {
    "ddp": (RECIPE, RECIPE),
    "fsdp": (_scaled(strategy="fsdp"), RECIPE),
    "accumulate": (_scaled(accumulate=2), RECIPE),
    "clip": (CLIPPED, CLIPPED),
    "checkpointing": (_scaled(activation_checkpointing=True), RECIPE),
    "packed": (replace(RECIPE, layout="packed"), RECIPE),
    "bf16": (_scaled(precision="bf16"), _scaled(precision="bf16")),
    "fsdp_clip_accumulate_checkpointing_packed": (
        replace(_scaled(CLIPPED, strategy="fsdp", accumulate=4, activation_checkpointing=True), layout="packed"),
        CLIPPED,
    ),
    "fsdp_bf16_checkpointing": (
        _scaled(strategy="fsdp", precision="bf16", activation_checkpointing=True),
        _scaled(precision="bf16"),
    ),
}
#: Of them those that this machine can train: a processor or GPU may lack bf16.
TRAINED = {
    name: recipes for name, recipes in CASES.items() if parallel.has_bf16(process_group.device()) or "bf16" not in name
}
SHORT = replace(CLIPPED, epochs=1)
#: Each network is compiled for about 10 seconds.
COMPILED = {
    "ddp": _scaled(SHORT, compile=True),
    "fsdp": _scaled(SHORT, strategy="fsdp", compile=True),
}


@dataclass(frozen=True)
class Outcome:
    """What a run has learned."""

    epochs: tuple[Epoch, ...]
    weights: Mapping[str, Tensor]

    @classmethod
    def of(cls, folder: Path) -> Outcome:
        journal = Journal.read(folder)
        assert journal is not None
        assert journal.stopped is None, journal.stopped
        network = ToyNetwork()
        checkpoint_folder.complete(folder)[-1].load_weights(network)
        trained = {name: weight for name, weight in network.state_dict().items() if name != "embedding.weight"}
        return cls(tuple(journal.epochs), trained)


def _train(rank: int, of: int, recipes: Mapping[str, ToyRecipe], examples: Path, folder: Path) -> None:
    for name, recipe in recipes.items():
        job = Job(Toy(recipe), recipe, Shards.open(examples / "fit"), Shards.open(examples / "holdout"), folder / name)
        run(job, Worker(rank, of, process_group.device(rank)))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    table = toy_table(folder / "table")
    for part in ("fit", "holdout"):
        shard_writer.write(Toy(RECIPE), table, RECIPE, part, folder / part)
    return folder


def _outcomes(recipes: Mapping[str, ToyRecipe], examples: Path, folder: Path, *, workers: int) -> dict[str, Outcome]:
    """What each recipe's run learned, by name."""
    for name in recipes:
        (folder / name).mkdir(parents=True)
    if workers == 1:
        _train(0, 1, recipes, examples, folder)
    else:
        process_group.run(_train, workers, recipes, examples, folder, workers=workers)
    return {name: Outcome.of(folder / name) for name in recipes}


@pytest.fixture(scope="module")
def alone(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """What one process learns, by the name of the case that is to agree with it."""
    recipes = {name: single for name, (_, single) in TRAINED.items()}
    return _outcomes(recipes, examples, tmp_path_factory.mktemp("alone"), workers=1)


@pytest.fixture(scope="module", params=[2, 4])
def together(
    request: pytest.FixtureRequest, examples: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Outcome]:
    """What several processes learn, by case."""
    recipes = {name: recipe for name, (recipe, _) in TRAINED.items()}
    return _outcomes(recipes, examples, tmp_path_factory.mktemp("together"), workers=request.param)


def _require_equal(several: Outcome, one: Outcome, *, losses: float, weights: float) -> None:
    """Losses agree relatively, weights absolutely."""
    for expected, observed in zip(one.epochs, several.epochs, strict=True):
        assert observed.train_loss == pytest.approx(expected.train_loss, rel=losses)
        assert observed.validation_loss == pytest.approx(expected.validation_loss, rel=losses)
        assert observed.amount == expected.amount
    for name, weight in one.weights.items():
        assert torch.allclose(several.weights[name], weight, rtol=0, atol=weights), name


@pytest.mark.parametrize("name", TRAINED)
def test_several_workers_learn_what_one_process_learns(
    alone: Mapping[str, Outcome], together: Mapping[str, Outcome], name: str
) -> None:
    losses, weights = (1e-2, 2e-2) if "bf16" in name else (1e-5, 1e-4)
    _require_equal(together[name], alone[name], losses=losses, weights=weights)


def test_compiled_networks_learn_what_others_learn(examples: Path, tmp_path: Path) -> None:
    one = _outcomes({"alone": SHORT}, examples, tmp_path, workers=1)["alone"]
    for several in _outcomes(COMPILED, examples, tmp_path, workers=2).values():
        _require_equal(several, one, losses=1e-5, weights=1e-4)
