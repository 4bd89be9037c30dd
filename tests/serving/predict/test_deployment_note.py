"""The note of the last deployment, and errors where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import ModelError, NotFoundError, SettingsError
from pipelines.rollout import routes
from pipelines.rollout.routes import Route
from pipelines.settings import Settings
from ray_jobs.tabular.binary import Binary
from ray_jobs.tabular.calibration import Calibration
from ray_jobs.tabular.model import TabularModel
from serving.errors import NotANumber, ServiceUnavailable
from serving.predict import client, deploy
from serving.predict.deploy import Endpoint
from tests.serving.conftest import NOW, QUESTION, SERVICE, Fill, config_of


def test_redeploying_without_an_earlier_deployment_is_an_error(make_settings: Callable[[], Settings]) -> None:
    settings = make_settings()
    assert deploy.current(settings, SERVICE) is None
    with pytest.raises(NotFoundError, match="nothing was deployed"):
        deploy.redeploy(settings, SERVICE)


def test_a_damaged_note_is_an_error_that_names_it(make_settings: Callable[[], Settings]) -> None:
    settings = make_settings()
    note = settings.root / "serving" / "deployments" / f"{SERVICE}.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"url": "http://127.0.0.1:1"}', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"flights\.arrival_delay\.json"):
        deploy.current(settings, SERVICE)


def test_no_question_goes_to_a_candidate_before_its_service_is_brought_back(
    make_settings: Callable[[], Settings], models: tuple[Path, Path]
) -> None:
    settings = make_settings()
    note = settings.root / "serving" / "deployments" / f"{SERVICE}.json"
    note.parent.mkdir(parents=True)
    note.write_text(Endpoint(url="", config=config_of(models[0]), deployed_at=NOW).model_dump_json(), encoding="utf-8")
    routes.write(settings, SERVICE, Route("r1", "canary", 1, 0.5, "", 2.0, {"digest": "0" * 64}))
    with pytest.raises(ModelError):  # this home lacks the model's files
        deploy.redeploy(settings, SERVICE)
    assert routes.read(settings, SERVICE) is None


def test_asking_where_no_service_runs_names_the_command_that_starts_one(make_settings: Callable[[], Settings]) -> None:
    with pytest.raises(ServiceUnavailable, match="goldpath dev"):
        client.ask(make_settings(), SERVICE, [QUESTION])


def test_a_model_that_answers_no_number_is_not_deployed(
    make_settings: Callable[[], Settings], models: tuple[Path, Path], fill: Fill, tmp_path: Path
) -> None:
    settings, broken = make_settings(), tmp_path / "trained" / "model"
    fill(settings, NOW)
    model = TabularModel.load(models[0])
    model.objective = Binary(Calibration(1.0, float("nan")))
    model.save(broken)
    with pytest.raises(NotANumber, match=r"arrival_delay@1: Probability\(probability=nan\)"):
        deploy.deploy(settings, config_of(broken))
    assert deploy.current(settings, SERVICE) is None
