"""The asset of a service: the champion in service, and the next version on its way there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from pipelines import clock
from pipelines.errors import ModelError
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Declaration, GovernedRun, Written
from pipelines.lineage.events import Dataset
from pipelines.models import admission, promotion
from pipelines.models.decisions import GATE
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.service import ServiceSpec
from pipelines.rollout import control, state
from pipelines.settings import Settings


def service_asset(spec: ServiceSpec, *, freshness: timedelta = timedelta(days=30)) -> dg.AssetsDefinition:
    """The asset `serving/<domain>/<name>`: the champion behind the service.

    Where the model declares a plan, the newest version that passed its gate begins its rollout beside the champion.

    Args:
        spec: The service.
        freshness: The age of the deployment at which Dagster calls it stale.
    """
    model = spec.model

    def work(run: GovernedRun) -> Iterator[Written]:
        settings = run.platform.settings
        champion, folder = admission.champion(settings, model.registered_name)
        url = spec.runtime.load()(settings, spec, champion, folder)
        run.record_input(Dataset("/".join(model.key("models")), str(champion.version)))
        metadata = {"url": dg.MetadataValue.url(url), "model": str(champion), "digest": champion.digest}
        if model.rollout is not None:
            metadata["rollout"] = begun(settings, spec, champion)
        yield Written(Dataset(run.declaration.name, champion.digest, run.declaration.owner), metadata)

    declaration = Declaration(
        key=model.key("serving"),
        kind="serving",
        owner=model.domain.owner,
        tags=model.domain.cost.of("serving"),
        description=f"{model.question}\n\nThe champion behind the service at {spec.route}, named by version and digest."
        "\n\nGrain: one deployment.",
        kinds=("ray", "fastapi"),
        deps=(model.key("models"), *model.online_store),
        freshness=freshness,
    )
    return declare(declaration, work)


def begun(settings: Settings, spec: ServiceSpec, champion: RegisteredModel) -> str:
    """Begins the rollout of the newest version that passed its gate, if there is a newer one; says what is under way.

    A version that a rollout sent back, or that a person has to approve, stays where it is.
    """
    if (instant := clock.replay(settings)) is not None:
        return f"a replay is going on (the platform's clock shows {instant}): goldpath rollout start begins one"
    if (present := state.active(settings, spec.name)) is not None:
        spec.runtime.load_arms().watch(settings, spec)
        return str(present)
    versions = Registry(settings).versions(spec.name)
    newer = [each for each in versions if each.version > champion.version and each.digest != champion.digest]
    passed = [model for model in newer if model.passed and promotion.awaits(settings, spec.model.risk, model) is None]
    if not passed:
        return "no newer version passed its gate"
    try:
        started = control.start(settings, spec, passed[-1].version, because="it passed its gate", by=GATE)
    except ModelError as refused:
        return refused.observed
    spec.runtime.load_arms().watch(settings, spec)
    return str(started)
