"""The note of the last deployment, and errors where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.errors import NotFoundError, SettingsError
from pipelines.settings import Settings
from serving.errors import ServiceUnavailable
from serving.predict import client, deploy
from tests.serving.conftest import QUESTION, SERVICE


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


def test_asking_where_no_service_runs_names_the_command_that_starts_one(make_settings: Callable[[], Settings]) -> None:
    with pytest.raises(ServiceUnavailable, match="goldpath dev"):
        client.ask(make_settings(), SERVICE, [QUESTION])
