"""Secrets, endpoints and the profile: read once from the environment into one frozen object.

Every variable begins with `GOLDPATH_` and stands in `.env.example`. A name that is not listed there raises.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as MalformedValue

from pipelines.errors import SettingsError

PREFIX = "GOLDPATH_"
#: The folder that holds the rooms, `infra/`, `workspace.yaml` and the lock file.
PROJECT = Path(__file__).resolve().parent.parent

#: Nothing here phones home, and without a network each attempt would cost seconds.
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
    """What differs between machines. What exists is Python and contracts; what differs per run is `dg.Config`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    profile: Literal["local", "test", "cluster"] = Field("local", description="named environment; also a cost tag")
    home: Path = Field(Path(".goldpath"), description="everything that Goldpath writes on this machine")
    engine: Literal["embedded", "spark"] = Field("embedded", description="who computes tables: Sail, or Apache Spark")
    engine_threads: int = Field(2, ge=1, description="threads of the local engine, and its shuffle partitions")
    spark_remote: str | None = Field(None, description="a Spark Connect address, sc://host:port; empty: one is started")
    spark_master: str | None = Field(
        None, description="cluster of the Spark that is started, spark://host:port; empty: threads of this machine"
    )
    jars_dir: Path | None = Field(
        None, description="folder that holds the Delta JARs, if not fetched by `goldpath jars`"
    )
    lakehouse_uri: str | None = Field(
        None, description="root of all tables, a folder that all share; empty: <home>/lakehouse"
    )
    landing_uri: str | None = Field(
        None, description="root of all landed files, a folder or s3://bucket/prefix; empty: <home>/landing"
    )
    landing_s3_endpoint: str | None = Field(None, description="http(s)://host:port of an S3 that is not Amazon's")
    landing_s3_region: str | None = Field(None, description="region of that bucket")
    landing_s3_access_key: str | None = Field(None, description="access key; empty: as Amazon's own tools find one")
    landing_s3_secret_key: SecretStr | None = Field(None, description="secret key that belongs to it")
    lineage_url: str | None = Field(
        None, description="an OpenLineage HTTP endpoint; empty: <home>/lineage/events.jsonl"
    )
    lineage_api_key: SecretStr | None = Field(None, description="bearer token of that endpoint")
    mlflow_uri: str | None = Field(None, description="MLflow tracking and registry; empty: SQLite below <home>")
    redis_url: SecretStr | None = Field(None, description="Feast's online store, host:port,password=…; empty: SQLite")
    ray_address: str | None = Field(None, description="a running Ray cluster; empty: one is started on this machine")
    serving_token: SecretStr | None = Field(
        None, description="bearer token of the prediction service; empty: generated"
    )
    serving_port: int = Field(8099, ge=1, le=65535, description="loopback port of the prediction service")
    sources: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='where sources are, a JSON object: {"shop": "postgresql://user:password@host/db"}',
    )
    prices: Path | None = Field(None, description="price sheet; empty: infra/prices.yaml")
    clock: str | None = Field(
        None, description="an ISO 8601 instant that stands for now; empty: <home>/clock, else now"
    )

    @property
    def root(self) -> Path:
        return self.home.resolve()

    @property
    def lakehouse(self) -> str:
        if "://" in (self.lakehouse_uri or ""):
            raise SettingsError(
                object="environment variable GOLDPATH_LAKEHOUSE_URI",
                observed=repr(self.lakehouse_uri),
                expected="a folder, on a volume that every process and executor mounts at the same path",
                next_step="name such a folder, or unset it; landing may be on S3 (GOLDPATH_LANDING_URI)",
            )
        return (self.lakehouse_uri or str(self.root / "lakehouse")).rstrip("/")

    @property
    def landing(self) -> Path:
        return Path(self.landing_uri) if self.landing_uri else self.root / "landing"

    def source(self, name: str) -> str:
        """The address of a source, secrets included; raises SettingsError where it is not set."""
        if name not in self.sources:
            raise SettingsError(
                object=f"connection {name!r}",
                observed=f"GOLDPATH_SOURCES names {', '.join(sorted(self.sources)) or 'no connection'}",
                expected=f'an address under that name, such as {{"{name}": "postgresql://user:password@host/db"}}',
                next_step="add it to GOLDPATH_SOURCES: in the environment of the process, in the .env file that it is "
                "loaded from, or on Kubernetes in the secret goldpath",
            )
        return self.sources[name].get_secret_value()

    @property
    def mlflow(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"


@functools.cache
def get() -> Settings:
    """The settings of this process, read on first use.

    Raises:
        SettingsError: for an unknown `GOLDPATH_` variable or a value that does not fit.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            raise SettingsError(
                object=f"environment variable {name}",
                observed="it is set, and no setting has this name",
                expected=f"one of {', '.join(sorted(known))}",
                next_step="correct or unset it; .env.example explains each",
            )
    try:
        settings = Settings()  # type: ignore[call-arg]
    except MalformedValue:  # its text and its cause hold the value
        raise SettingsError(
            object=f"environment variable {PREFIX}SOURCES",
            observed="its value is no JSON",
            expected='a JSON object of names and addresses, such as {"shop": "postgresql://user:password@host/db"}',
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
            next_step="correct or unset it; .env.example explains each",
        ) from None
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return settings
