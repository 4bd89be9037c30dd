"""Settings are read once from the environment; an unknown variable or a value that does not fit is refused."""

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


def test_without_variables_all_paths_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    defaults = settings.get()
    home = tmp_path.resolve() / ".goldpath"
    assert (defaults.root, defaults.lakehouse, defaults.landing) == (home, str(home / "lakehouse"), home / "landing")
    assert defaults.mlflow == f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"


def test_an_unknown_variable_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_HOEM", "/tmp/x")
    with pytest.raises(SettingsError, match="GOLDPATH_HOEM") as caught:
        settings.get()
    assert "GOLDPATH_HOME" in caught.value.expected


def test_a_value_that_does_not_fit_is_refused_with_variable_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_ENGINE", "duckdb")
    with pytest.raises(SettingsError) as caught:
        settings.get()
    assert caught.value.object == "environment variable GOLDPATH_ENGINE"
    assert caught.value.observed == "'duckdb'"
    assert "embedded" in caught.value.expected


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_SERVING_PORT", "")
    assert settings.get().serving_port == 8099


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().home = Path("/tmp/elsewhere")  # ty: ignore[invalid-assignment]


def test_printed_settings_do_not_show_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_SERVING_TOKENS", '{"push": "secret-token"}')
    monkeypatch.setenv("GOLDPATH_REDIS_URL", "localhost:6379,password=secret-password")
    monkeypatch.setenv("GOLDPATH_MLFLOW_URI", "postgresql://mlflow:secret-password@host/mlflow")
    monkeypatch.setenv("GOLDPATH_SPARK_REMOTE", "sc://host:15002/;token=secret-token")
    shown = repr(settings.get()) + str(settings.get())
    assert "secret-token" not in shown
    assert "secret-password" not in shown


def test_reading_the_settings_turns_telemetry_off_where_it_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    settings.get()
    assert {name: os.environ[name] for name in QUIET} == QUIET | {"RAY_USAGE_STATS_ENABLED": "1"}


def test_the_example_file_lists_every_setting_with_its_description() -> None:
    env_example.check()
    text = env_example.FILE.read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"# {PREFIX}{name.upper()}=" in text
        assert field.description, f"{name} has no description"
        assert f"# {field.description}" in text


def test_a_source_has_its_address_by_name_and_printed_settings_do_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_SOURCES", '{"shop": "postgresql://u:s3cret@host/db"}')
    current = settings.get()
    assert current.source("shop") == "postgresql://u:s3cret@host/db"
    assert "s3cret" not in repr(current)
    with pytest.raises(SettingsError, match="connection 'bank': GOLDPATH_SOURCES names shop.*environment.*Kubernetes"):
        current.source("bank")


@pytest.mark.parametrize("value", ['{"shop": "s3cret"', '["s3cret"]', '{"shop": {"s3cret": 1}}', "s3cret"])
def test_malformed_sources_are_refused_without_showing_their_value(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDPATH_SOURCES", value)
    with pytest.raises(SettingsError, match="environment variable GOLDPATH_SOURCES") as caught:
        settings.get()
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_lakehouse_on_an_object_store_is_refused(tmp_path: Path) -> None:
    on_s3 = Settings(home=tmp_path, lakehouse_uri="s3://bucket/tables")
    with pytest.raises(SettingsError, match=r"GOLDPATH_LAKEHOUSE_URI: 's3://bucket/tables'\. Expected a folder"):
        print(on_s3.lakehouse)
