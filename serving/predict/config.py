"""The configuration of a deployment: one model by its digest, and how much of the machine it may take."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ServedModel(BaseModel):
    """The model that answers. People name it by name and version; the digest identifies its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="pipelines.models.model_files.digest of the folder")
    folder: Path = Field(description="the model's files, with `evidence` beside it; admitted before they are loaded")
    metrics: dict[str, float] = Field(default_factory=dict, description="measured before it was registered")


class ServiceConfig(BaseModel):
    """One deployment. The defaults suit a laptop; `serve run serving.predict.app:build` takes the same fields.

    Attributes:
        service: `module:name` of the service's declaration, which a replica imports.
        replicas: Processes that answer; None: two in the profile `cluster`, so that others answer while a killed one is
            replaced, and one elsewhere.
        cpus_per_replica: CPU slots of the Ray cluster; not a limit. A fraction leaves slots for training.
        max_ongoing_requests: Requests inside one replica. Those that wait there are answered together, whereas Serve's
            router asks a full replica again only after a growing delay.
        max_queued_requests: Requests that wait for a replica; a further one is answered with 503 at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ServedModel
    service: str = Field(pattern=r"^[A-Za-z_][\w.]*:[\w.]+$")
    replicas: int | None = Field(None, ge=1)
    cpus_per_replica: float = Field(0.2, gt=0)
    max_ongoing_requests: int = Field(256, ge=1)
    max_queued_requests: int = Field(256, ge=1)

    @property
    def name(self) -> str:
        """The service's name, `domain.name`."""
        return self.service.partition(":")[2]

    @property
    def route(self) -> str:
        """The path that its addresses begin with."""
        return "/" + self.name.replace(".", "/")
