from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines import settings
from pipelines.commands import env_example
from pipelines.errors import SettingsError
from pipelines.settings import PREFIX, QUIET, Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    settings.get.cache_clear()
    yield
    settings.get.cache_clear()


def test_defaults_need_no_variable_and_lie_below_one_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings.get()
    home = tmp_path.resolve() / ".goldpath"
    assert (found.root, found.lakehouse, found.landing) == (home, str(home / "lakehouse"), home / "landing")
    assert found.mlflow == f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"


def test_variable_that_no_setting_has_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_HOEM", "/tmp/x")
    with pytest.raises(SettingsError, match="GOLDPATH_HOEM") as caught:
        settings.get()
    assert "GOLDPATH_HOME" in caught.value.expected


def test_value_that_does_not_fit_is_refused_with_the_variable_and_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_ENGINE", "duckdb")
    with pytest.raises(SettingsError) as caught:
        settings.get()
    assert caught.value.object == "environment variable GOLDPATH_ENGINE"
    assert caught.value.observed == "'duckdb'"
    assert "embedded" in caught.value.expected


def test_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_SERVING_PORT", "")
    assert settings.get().serving_port == 8099


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().home = Path("/tmp/elsewhere")  # ty: ignore[invalid-assignment]


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_SERVING_TOKEN", "do-not-show-me")
    monkeypatch.setenv("GOLDPATH_REDIS_URL", "localhost:6379,password=nor-me")
    shown = repr(settings.get()) + str(settings.get())
    assert "do-not-show-me" not in shown
    assert "nor-me" not in shown


def test_reading_the_settings_turns_telemetry_off_unless_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    settings.get()
    assert {name: os.environ[name] for name in QUIET} == QUIET | {"RAY_USAGE_STATS_ENABLED": "1"}


def test_example_file_lists_every_setting_with_its_meaning() -> None:
    env_example.check()
    text = env_example.FILE.read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"# {PREFIX}{name.upper()}=" in text
        assert field.description, f"{name} has no description"
        assert f"# {field.description}" in text


def test_the_address_of_a_source_is_found_by_its_name_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_SOURCES", '{"shop": "postgresql://u:s3cret@host/db"}')
    found = settings.get()
    assert found.source("shop") == "postgresql://u:s3cret@host/db"
    assert "s3cret" not in repr(found)
    with pytest.raises(SettingsError, match="connection 'bank': GOLDPATH_SOURCES names shop.*environment.*Kubernetes"):
        found.source("bank")


@pytest.mark.parametrize("value", ['{"shop": "s3cret"', '["s3cret"]', '{"shop": {"s3cret": 1}}', "s3cret"])
def test_sources_that_are_no_names_and_addresses_are_refused_unseen(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDPATH_SOURCES", value)
    with pytest.raises(SettingsError, match="environment variable GOLDPATH_SOURCES") as caught:
        settings.get()
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_tables_on_an_object_store_are_refused_and_not_written_elsewhere(tmp_path: Path) -> None:
    found = Settings(home=tmp_path, lakehouse_uri="s3://bucket/tables")
    with pytest.raises(SettingsError, match=r"GOLDPATH_LAKEHOUSE_URI: 's3://bucket/tables'\. Expected a folder"):
        print(found.lakehouse)
