"""The figures of a language model's demo: the newest version, beside its base model, with answers side by side."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.demo import language
from pipelines.demo.results import DemoResults
from pipelines.governed.platform import Platform
from pipelines.machine import files
from pipelines.models.registry import Registry
from pipelines.models.run_record import RunRecord
from pipelines.orchestration.demo_story import LanguageDemo
from pipelines.settings import Settings
from tests.pipelines.models.trained import toy_spec, write_evidence

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")


def test_the_newest_version_is_shown_with_its_origin_and_beside_its_base_model(tmp_path: Path) -> None:
    platform = Platform(Settings(home=tmp_path / "home", profile="test"), dict)
    spec, registry = toy_spec("answers", tmp_path), Registry(platform.settings)
    for weights in (b"first", b"second"):
        model = tmp_path / weights.decode() / "model"
        files.replace(model / "model.safetensors", weights)
        evidence = write_evidence(model, spec.registered_name, "text")
        record = dataclasses.replace(RunRecord.read(evidence), hyperparameters={"num_workers": 2})
        record.write(evidence)
        run = registry.log_run(
            experiment="toys", model=model, record=record, metrics={}, history={}, evidence=evidence, tags={}
        )
        version = registry.register(spec.registered_name, run_id=run, tags={})
        if weights == b"first":
            registry.promote(version)
    demo = LanguageDemo(domain=spec.domain, title="t", model=spec, job="toys_language", duration="A minute.")
    figures = language.collect(platform, demo, DemoResults())
    assert (figures["version"], figures["is_champion"], figures["workers"]) == (2, False, 2)
    assert figures["trained_on"] == {"gold/toys/training_set": 3}
    assert figures["standings"]["challenger"]["held_out_loss"] < figures["standings"]["baseline"]["held_out_loss"]
    console = Console(record=True, width=200, file=io.StringIO())
    language.show(console, figures)
    printed = console.export_text()
    assert "toys.answers@2" in printed
    assert "held_out_loss      1.5000  base model     2.5000" in printed
    assert "registered, not the champion" in printed
    assert "Costs $5 and $x_1$?" in printed
