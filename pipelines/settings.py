"""Secrets, endpoints and the profile: read once from the environment into one frozen object.

The name of every variable begins with `GOLDPATH_`, and `.env.example` lists them all; any other name raises an error.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as MalformedValue

from pipelines.errors import SettingsError
from pipelines.plain_path import plain, require_plain

PREFIX = "GOLDPATH_"
#: The repository's root folder, which holds `pipelines/`, `assets/`, `infra/`, `workspace.yaml` and the lock file.
PROJECT = Path(__file__).resolve().parent.parent

#: Environment variables that switch off the telemetry, the downloads and the progress output of libraries; without a
#: network each attempt to send telemetry costs seconds. A variable that is set already keeps its value.
QUIET = {
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "FEAST_USAGE": "False",
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "HF_HUB_OFFLINE": "1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}


class Settings(BaseSettings):
    """What differs between machines. Python and contracts declare what exists; `dg.Config` holds the options of a run.

    Each field is the environment variable `GOLDPATH_<NAME>`; an empty variable means the default.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    profile: Literal["local", "test", "cluster"] = Field(
        "local", description="named environment; also the cost tag `environment`"
    )
    home: Path = Field(Path(".goldpath"), description="folder for everything that Goldpath writes on this machine")
    engine: Literal["embedded", "spark"] = Field(
        "embedded", description="engine that computes tables: embedded is Sail, spark is Apache Spark"
    )
    engine_threads: int = Field(2, ge=1, description="threads of the local engine, and number of shuffle partitions")
    engine_port: Literal["refuse", "allow"] = Field(
        "refuse",
        description="whether the embedded engine runs where the kernel cannot close its port to this machine's other "
        "accounts",
    )
    spark_remote: SecretStr | None = Field(
        None, description="address of a running Spark Connect server, sc://host:port; empty: a server is started"
    )
    spark_master: str | None = Field(
        None,
        description="cluster that the started Spark server uses, spark://host:port; empty: threads of this machine",
    )
    jars_dir: Path | None = Field(
        None, description="folder of the Delta Lake JARs; empty: <home>/jars, which `goldpath jars` fills"
    )
    lakehouse_uri: str | None = Field(
        None, description="root of all tables, a folder that all processes share; empty: <home>/lakehouse"
    )
    landing_uri: str | None = Field(
        None, description="root of all landed files, a folder or s3://bucket/prefix; empty: <home>/landing"
    )
    landing_s3_endpoint: str | None = Field(
        None, description="http(s)://host:port of an S3 service other than Amazon's"
    )
    landing_s3_region: str | None = Field(None, description="region of the landing bucket")
    landing_s3_access_key: str | None = Field(
        None, description="access key of the landing bucket; empty: the default credentials of the AWS SDK"
    )
    landing_s3_secret_key: SecretStr | None = Field(None, description="secret key that belongs to that access key")
    lineage_url: str | None = Field(None, description="OpenLineage HTTP endpoint; empty: <home>/lineage/events.jsonl")
    lineage_api_key: SecretStr | None = Field(None, description="bearer token of that endpoint")
    mlflow_uri: SecretStr | None = Field(
        None, description="URI of MLflow's tracking and model registry; empty: SQLite below <home>"
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis of Feast's online store, host:port,password=…; empty: SQLite"
    )
    ray_address: str | None = Field(
        None, description="address of a running Ray cluster; empty: one is started on this machine"
    )
    serving_tokens: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='bearer tokens by service, a JSON object: {"shop.returns": "…", "push": "…"}; of others: generated',
    )
    model_keys: Path | None = Field(
        None, description="folder of the keys that sign models and verify them; empty: <home>/keys"
    )
    serving_port: int = Field(8099, ge=1, le=65535, description="loopback port of the prediction services")
    sources: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='addresses of the sources by connection name, a JSON object: {"shop": "postgresql://user:password@host/db"}',
    )
    team_runs: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description='most runs of each team at once in the queue, a JSON object: {"shop-data": 2}; of others: no limit',
    )
    prices: Path | None = Field(None, description="path of the price sheet; empty: infra/prices.yaml")
    clock: str | None = Field(
        None, description="ISO 8601 instant that replaces the current time; empty: <home>/clock, else the wall clock"
    )

    @property
    def root(self) -> Path:
        """The home folder as a plain absolute path: that of a link to it where its own has odd characters.

        Raises:
            SettingsError: if no table can be written in a folder with its path.
        """
        return plain(self.home.resolve())

    @property
    def lakehouse(self) -> str:
        """The root folder of all tables, without a trailing slash.

        Raises:
            SettingsError: if GOLDPATH_LAKEHOUSE_URI is an address of an object store, or a folder that other machines
                reach has no plain path.
        """
        if "://" in (self.lakehouse_uri or ""):
            raise SettingsError(
                object="environment variable GOLDPATH_LAKEHOUSE_URI",
                observed=repr(self.lakehouse_uri),
                expected="a folder, on a volume that every process and executor mounts at the same path",
                next_step="set it to such a folder, or unset it; only landed files may be on S3 (GOLDPATH_LANDING_URI)",
            )
        if self.lakehouse_uri:
            return str(require_plain(Path(self.lakehouse_uri), variable="GOLDPATH_LAKEHOUSE_URI"))
        if self.spark_master or self.spark_remote:
            require_plain(self.home.resolve(), variable="GOLDPATH_HOME")
        return str(self.root / "lakehouse")

    @property
    def landing(self) -> Path:
        """The root folder of all landed files."""
        return Path(self.landing_uri) if self.landing_uri else self.root / "landing"

    def source(self, name: str) -> str:
        """The address of a source by its connection name, with its secrets.

        Raises:
            SettingsError: if GOLDPATH_SOURCES does not hold that name.
        """
        if name not in self.sources:
            raise SettingsError(
                object=f"connection {name!r}",
                observed=f"GOLDPATH_SOURCES names {', '.join(sorted(self.sources)) or 'no connection'}",
                expected=f'an address under that name, such as {{"{name}": "postgresql://user:password@host/db"}}',
                next_step="add it to GOLDPATH_SOURCES: in the environment of the process, in the .env file that the "
                "environment is loaded from, or on Kubernetes in the secret goldpath",
            )
        return self.sources[name].get_secret_value()

    @property
    def mlflow(self) -> str:
        """The URI of MLflow's tracking and model registry, with its password where it has one."""
        if self.mlflow_uri:
            return self.mlflow_uri.get_secret_value()
        return f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"


@functools.cache
def get() -> Settings:
    """The settings of this process, read on first use; also sets the variables of `QUIET` that are not set.

    Raises:
        SettingsError: if a `GOLDPATH_` variable is unknown, or its value does not fit.
    """
    variables = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in variables:
            raise SettingsError(
                object=f"environment variable {name}",
                observed="it is set, but there is no setting of this name",
                expected=f"one of {', '.join(sorted(variables))}",
                next_step="correct or unset it; .env.example explains every variable",
            )
    try:
        settings = Settings()  # type: ignore[call-arg]
    except MalformedValue as error:  # its message and its cause may contain the value, which may hold a password
        malformed = next((name for name in Settings.model_fields if f'"{name}"' in str(error).partition("from")[0]), "")
        raise SettingsError(
            object=f"environment variable {PREFIX}{malformed.upper()}",
            observed="its value is not JSON",
            expected=str(Settings.model_fields[malformed].description) if malformed else "a JSON object",
            next_step="correct or unset it; in a shell, put it in single quotes",
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        name = PREFIX + field.upper()
        secret = "SecretStr" in str(Settings.model_fields[field].annotation)
        raise SettingsError(
            object=f"environment variable {name}",
            observed="a value that is not shown" if secret else repr(first["input"]),
            expected=first["msg"].lower(),
            next_step="correct or unset it; .env.example explains every variable",
        ) from None
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return settings
