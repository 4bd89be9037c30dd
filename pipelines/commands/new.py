"""`goldpath new`: the first form of a domain, a gold table, features, a model and its service: contracts and code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.invocation import errors_shown, say

if TYPE_CHECKING:
    from pipelines.scaffold.draft import Draft

app = typer.Typer(help="First forms: a domain, a gold table, features, a model, its service.", no_args_is_help=True)
Source = Annotated[str, typer.Option("--from", metavar="TABLE", help="The table it is derived from.")]
Keys = Annotated[list[str] | None, typer.Option("--key", help="A column of the key; repeat it for several.")]


@app.command("domain")
def new_domain(
    name: Annotated[str, typer.Argument(help="The name of the domain and of its folder below assets.")],
    owner: Annotated[str, typer.Option(help="The team that answers for it.")],
    cost_centre: Annotated[str, typer.Option(help="Who pays.")],
    business_unit: Annotated[str, typer.Option(help="For whom it is done.")],
    project: Annotated[str, typer.Option(help="In which project.")],
    application: Annotated[str, typer.Option(help="For which application.")],
    data_class: Annotated[
        str, typer.Option(help="How sensitive it is: public, internal, confidential, …")
    ] = "internal",
) -> None:
    """Writes a domain: its folder below assets, who answers and who pays for it.

    Example: `goldpath new domain shop --owner shop-data --cost-centre cc-7 --business-unit retail --project returns
    --application shop`
    """
    with errors_shown():
        from pipelines.scaffold import domain

        tags = {
            "cost_centre": cost_centre, "business_unit": business_unit, "project": project,
            "application": application, "data_class": data_class,
        }  # fmt: skip
        for path in domain.write(_assets(), name, owner, tags):
            say(f"wrote {path}")
        say(f"next: goldpath landing propose {name}/SOURCE --folder assets/{name}/contracts")


@app.command("table")
def new_table(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table: gold/shop/customer_orders.")],
    source: Source,
    key: Keys = None,
) -> None:
    """Writes a gold table that passes on the columns of another: its contract, and its function in gold.py.

    Example: `goldpath new table gold/shop/paid_orders --from silver/shop/orders`
    """
    with errors_shown():
        from pipelines.scaffold import declared
        from pipelines.scaffold import table as tables
        from pipelines.tables import TableId

        name = TableId.parse(table)
        domain = declared.domain(name.domain)
        _write(name.domain, tables.draft(domain, name, declared.source(source), key or []))


@app.command("feature")
def new_feature(
    table: Annotated[str, typer.Argument(metavar="DOMAIN/NAME", help="The features: shop/customer_orders.")],
    source: Source,
    at: Annotated[str, typer.Option(metavar="COLUMN", help="When a row of it happened.")],
    key: Keys = None,
) -> None:
    """Writes features of an entity: a gold table, a feature service NAME_v1, and the domain's online store.

    Example: `goldpath new feature shop/customer_orders --from silver/shop/orders --key customer --at ordered_at`
    """
    with errors_shown():
        from pipelines.scaffold import declared, feature
        from pipelines.tables import TableId

        name = TableId.parse(f"gold/{table}")
        domain = declared.domain(name.domain)
        folder = _assets() / name.domain
        _write(name.domain, feature.draft(domain, folder, name.table, declared.source(source), key or [], at))


@app.command("model")
def new_model(
    name: Annotated[str, typer.Argument(metavar="DOMAIN.NAME", help="The model: shop.returns.")],
    task: Annotated[str, typer.Option(help="binary, regression or multiclass.")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="What is predicted.")],
    source: Source,
    key: Annotated[str, typer.Option(metavar="COLUMN", help="What names a row.")],
    at: Annotated[str, typer.Option(metavar="COLUMN", help="When the question is asked.")],
    features: Annotated[str, typer.Option(metavar="SERVICE", help="What it reads: customer_orders_v1.")],
    train_start: Annotated[str, typer.Option(help="The first day to train on, or an instant.")],
    train_end: Annotated[str, typer.Option(help="The day after the last one, from which it is judged.")],
    gate_end: Annotated[str, typer.Option(help="The day after the last one that it is judged on.")],
    known_at: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="When the label is known. [default: --at]")
    ] = None,
    inputs: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="What the question tells. [default: every number and text]")
    ] = "",
    question: Annotated[str, typer.Option(help="What is asked, and when, in a sentence.")] = "",
) -> None:
    """Writes a model: its training set, its recipe in recipe.py, and its declaration in model.py.

    Example: `goldpath new model shop.returns --task binary --label returned --from silver/shop/orders --key order_id
    --at ordered_at --known-at closed_at --features customer_orders_v1 --train-start 2026-01-01 --train-end 2026-04-01
    --gate-end 2026-05-01`
    """
    with errors_shown():
        from pipelines.scaffold import declared, model

        of, plain = declared.model_name(name)
        domain = declared.domain(of)
        asked = model.Asked(
            domain=domain,
            name=plain,
            task=task,  # ty: ignore[invalid-argument-type]
            question=question or f"What will {label} be? Asked at {at}.",
            source=declared.source(source),
            key=key,
            at=at,
            label=label,
            known_at=known_at,
            inputs=[each.strip() for each in inputs.split(",") if each.strip()],
            train_start=train_start,
            train_end=train_end,
            gate_end=gate_end,
        )
        _write(of, model.draft(asked, declared.feature_service(features, domain)))


@app.command("service")
def new_service(
    name: Annotated[str, typer.Argument(metavar="DOMAIN.NAME", help="The model that answers: shop.returns.")],
) -> None:
    """Writes the service of a model: the class of its questions in service.py, and its predictions as tables.

    Example: `goldpath new service shop.returns`
    """
    with errors_shown():
        from pipelines.scaffold import declared, service

        found = declared.model(name)
        _write(found.value.domain.name, service.draft(found))


def _assets() -> Path:
    """The folder of the domains."""
    from pipelines.settings import PROJECT

    return PROJECT / "assets"


def _write(domain: str, draft: Draft) -> None:
    """Writes a draft into the domain's folder, and says what was written, what to know, and what comes next."""
    from pipelines.scaffold.draft import write

    for path in write(_assets() / domain, draft):
        say(f"wrote {path}")
    for note in draft.notes:
        say(f"- {note}")
    for command in draft.next:
        say(f"next: {command}")
