"""`goldpath model`: the versions of models, what they are judged by, and who made which one the champion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.invocation import AsJson, errors_shown, opened_platform, plain_table, print_json, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.governed.platform import Platform
    from pipelines.models.decisions import Decision
    from pipelines.models.registry import RegisteredModel, Registry
    from pipelines.models.spec import ModelSpec

#: How many versions fit beside each other.
SHOWN = 5

app = typer.Typer(
    name="model",
    help="The versions of models, what they are judged by, and who made which one the champion.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="MODEL", help="A model, as domain.name.")]
Version = Annotated[int, typer.Argument(metavar="VERSION", help="One of its versions.")]
Because = Annotated[str, typer.Option("--because", metavar="TEXT", help="Why, for people who read it later.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Lists the models with the version that serves, who decided that, and the versions that wait for a person.

    Example: `goldpath model list`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.definitions import domains

        specs = [spec for members in domains().values() for spec in members.models]
        rows = [_overview(platform, spec) for spec in sorted(specs, key=lambda spec: spec.registered_name)]
        if as_json:
            print_json(rows)
            return
        table = plain_table("model", "task", "risk", "champion", "versions", "to approve", no_wrap=["model"])
        for row in rows:
            waiting = ", ".join(map(str, row["awaits_approval"])) or "-"
            facts = (row["task"], row["risk"], str(row["champion"] or "-"), str(row["versions"]), waiting)
            table.add_row(row["model"], *facts)
        _print(table)
        for row in rows:
            if row["last_decision"]:
                say(f"{row['model']}, {row['last_decision']}")


@app.command("show")
def show(
    name: Name,
    version: Annotated[int | None, typer.Option(help="One version; without it, all with their decisions.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows the versions of a model and the decisions about them; or what is known of one version.

    Example: `goldpath model show shop.returns --version 3`
    """
    with errors_shown(), opened_platform() as platform:
        spec = _spec(name)
        found = _versions(platform, spec) if version is None else _version(platform, spec, version)
        if as_json:
            print_json(found)
        elif version is None:
            _show_versions(found)
        else:
            _show_version(found)


@app.command("compare")
def compare(name: Name, one: Version, other: Version, as_json: AsJson = False) -> None:
    """Compares two versions: the figures of their own gate windows, and their answers to the same rows.

    The rows are the newest labelled ones of the training set that neither version was trained on.

    Example: `goldpath model compare shop.returns 2 3`
    """
    with errors_shown(), opened_platform() as platform:
        from dataclasses import asdict

        from pipelines.provenance.version_contest import contest

        spec = _spec(name)
        sides = [_version(platform, spec, number) for number in (one, other)]
        found = contest(platform, spec, (one, other))
        if as_json:
            print_json({"versions": sides, "same_rows": asdict(found) if found else None})
            return
        table = plain_table("fact", f"version {one}", f"version {other}", no_wrap=["fact"])
        for fact in ("gate", "compared on", "trained on", "base model", "code"):
            table.add_row(fact, *(str(side[fact]) for side in sides))
        for metric in dict.fromkeys(metric for side in sides for metric in side["metrics"]):
            table.add_row(metric, *(_number(side["metrics"].get(metric)) for side in sides))
        _print(table)
        if sides[0]["compared on"] != sides[1]["compared on"]:
            say("the figures above are of different gate windows, and cannot be compared with each other")
        if found is None:
            say("there is no labelled row that neither version was trained on")
            return
        first, second = found.figures
        say(
            f"on the {found.rows:,} newest labelled rows that neither was trained on: {found.metric} {first:.4f} of "
            f"version {one}, {second:.4f} of version {other} (smaller is better)"
            + (f"; {found.changed:.1%} of the decisions differ" if spec.task != "regression" else "")
        )


@app.command("card")
def card(
    name: Name,
    version: Annotated[int | None, typer.Option(help="One version; without it, the champion.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it into this file.")] = None,
) -> None:
    """Prints the card of a version, Markdown: data, figures, limits, risk and origin.

    Example: `goldpath model card shop.returns --output card.md`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.models.evidence import CARD_FILE

        registry, model = _registered(platform, _spec(name), version)
        text = (_evidence(registry, model) / CARD_FILE).read_text(encoding="utf-8")
        if output is None:
            print(text)  # noqa: T201
        else:
            output.write_text(text, encoding="utf-8")
            say(f"the card of {model} is in {output}")


@app.command("approve")
def approve(name: Name, version: Version, because: Because) -> None:
    """Notes that you looked at a version and let it serve. Models of the risk tier `high` need it before a promotion.

    Example: `goldpath model approve shop.returns 3 --because "read the card and 50 answers"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.models import promotion

        _said(promotion.approve(platform.settings, _spec(name), version, because=because))
        say(f'next: goldpath model promote {name} {version} --because "…"')


@app.command("promote")
def promote(name: Name, version: Version, because: Because) -> None:
    """Makes a version the champion. It has to be signed, and to have passed the gate, with a complete card.

    Example: `goldpath model promote shop.returns 3 --because "approved by the shop"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.models import promotion

        _decided(_spec(name), promotion.promote(platform.settings, _spec(name), version, because=because))


@app.command("rollback")
def rollback(name: Name, because: Because) -> None:
    """Makes the version the champion that was it before. No later run undoes that; only a person does.

    Example: `goldpath model rollback shop.returns --because "too many false alarms since Monday"`
    """
    with errors_shown(), opened_platform() as platform:
        from pipelines.models import promotion

        _decided(_spec(name), promotion.rollback(platform.settings, _spec(name), because=because))


def _decided(spec: ModelSpec, decision: Decision) -> None:
    _said(decision)
    say(f"next, if it serves: goldpath materialize {'/'.join(spec.key('serving'))}")


def _said(decision: Decision) -> None:
    from pipelines.models.decisions import words

    say(words(decision))


def _spec(name: str) -> ModelSpec:
    """The declaration of a model; raises NotFoundError."""
    from pipelines.definitions import domains
    from pipelines.errors import NotFoundError

    specs = {spec.registered_name: spec for members in domains().values() for spec in members.models}
    if name not in specs:
        raise NotFoundError(
            object=f"model {name}",
            observed="no domain declares it",
            expected=f"one of {', '.join(sorted(specs)) or 'none: no model is declared'}",
            next_step="goldpath model list",
        )
    return specs[name]


def _registered(platform: Platform, spec: ModelSpec, version: int | None) -> tuple[Registry, RegisteredModel]:
    """A version of a model, or its champion; raises NotFoundError."""
    from pipelines.errors import NotFoundError
    from pipelines.models.registry import Registry

    registry = Registry(platform.settings)
    model = registry.version(spec.registered_name, version) if version else registry.champion(spec.registered_name)
    if model is None:
        raise NotFoundError(
            object=f"model {spec.registered_name}",
            observed="it has no champion",
            expected="a version that passed the gate, or --version",
            next_step=f"goldpath model show {spec.registered_name} lists the versions",
        )
    return registry, model


def _evidence(registry: Registry, model: RegisteredModel) -> Path:
    from pipelines.models.registry import EVIDENCE_FOLDER

    return registry.download(model).parent / EVIDENCE_FOLDER


def _overview(platform: Platform, spec: ModelSpec) -> dict[str, Any]:
    from pipelines.models import decisions, promotion
    from pipelines.models.registry import Registry

    registry, settings = Registry(platform.settings), platform.settings
    champion, versions = registry.champion(spec.registered_name), registry.versions(spec.registered_name)
    record = decisions.read(settings, spec.registered_name)
    newest = champion.version if champion else 0
    awaits = [
        model
        for model in versions
        if model.version > newest and model.passed and promotion.awaits(settings, spec.risk, model)
    ]
    return {
        "model": spec.registered_name,
        "task": spec.task,
        "risk": spec.risk,
        "champion": champion.version if champion else None,
        "versions": len(versions),
        "awaits_approval": [model.version for model in awaits],
        "last_decision": decisions.words(record[-1]) if record else None,
    }


def _versions(platform: Platform, spec: ModelSpec) -> dict[str, Any]:
    from dataclasses import asdict

    from pipelines.models import decisions
    from pipelines.models.registry import Registry

    registry = Registry(platform.settings)
    champion = registry.champion(spec.registered_name)
    return {
        "model": spec.registered_name,
        "question": spec.question,
        "versions": [
            {
                "version": model.version,
                "champion": champion is not None and champion.version == model.version,
                "digest": model.digest,
                "metrics": {name.removeprefix("gate_"): value for name, value in model.metrics.items()},
            }
            for model in registry.versions(spec.registered_name)
        ],
        "decisions": [
            asdict(each) | {"words": decisions.words(each)}
            for each in decisions.read(platform.settings, spec.registered_name)
        ],
    }


def _version(platform: Platform, spec: ModelSpec, version: int) -> dict[str, Any]:
    from pipelines.models import admission, decisions, windows
    from pipelines.models.evidence import read_gate
    from pipelines.models.run_record import RunRecord

    registry, model = _registered(platform, spec, version)
    folder = _evidence(registry, model)
    gate, record = read_gate(folder), RunRecord.read(folder)
    noted = decisions.read(platform.settings, model.name)
    approval = decisions.approved(noted, model.digest)
    return {
        "model": model.name,
        "version": model.version,
        "digest": model.digest,
        "may serve": admission.objection(platform.settings, model) or "yes",
        "gate": f"{'passed' if gate['passed'] else 'not passed'}: {gate['reason']}",
        "compared on": gate["window"],
        "trained on": str(windows.trained_on(record.hyperparameters)),
        "data": ", ".join(f"{table}@{at}" for table, at in record.dataset_versions.items()),
        "feature service": record.feature_service,
        "base model": record.base_model or "none, from scratch",
        "code": f"{record.code_version}{', changed since' if record.code_dirty else ''}",
        "risk": spec.risk,
        "approved": decisions.words(approval) if approval else "no",
        "mlflow run": model.run_id,
        "metrics": {name.removeprefix("gate_"): value for name, value in model.metrics.items()},
        "decisions": [decisions.words(each) for each in noted if each.version == model.version],
    }


def _show_versions(found: Mapping[str, Any]) -> None:
    say(f"{found['model']}: {found['question']}")
    shown = found["versions"][-SHOWN:]
    names = [f"{each['version']}{', champion' if each['champion'] else ''}" for each in shown]
    table = plain_table("version", *names, right=names)
    table.add_row("digest", *(each["digest"][:8] for each in shown))
    for metric in dict.fromkeys(metric for each in shown for metric in each["metrics"]):
        table.add_row(metric, *(_number(each["metrics"].get(metric)) for each in shown))
    _print(table)
    if len(found["versions"]) > SHOWN:
        say(f"the newest {SHOWN} of {len(found['versions'])} versions; --json has all")
    for each in found["decisions"]:
        say(each["words"])


def _show_version(found: Mapping[str, Any]) -> None:
    width = max(map(len, (*found, *found["metrics"])))
    for fact, value in found.items():
        if fact == "metrics":
            for name, each in value.items():
                say(f"{name:{width}s}  {_number(each)}")
        elif fact == "decisions":
            for each in value:
                say(each)
        else:
            say(f"{fact:{width}s}  {value}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


def _print(table: Any) -> None:
    from pipelines.machine.terminal import Terminal

    Terminal().print(table)
