"""Decorators for tables: bronze takes deliveries, silver types and judges them, gold derives.

    @silver_asset(contract)
    def flights(flights: DataFrame) -> DataFrame: ...

A transform is a plain function of DataFrames; where a row comes from, how it is judged, how it is published and what is
recorded about it is the same for every table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Declaration
from pipelines.medallion import deliveries_check
from pipelines.medallion.bronze import bronze_work
from pipelines.medallion.gold import Derivation, derivations, gold_work
from pipelines.medallion.judging import Transform
from pipelines.medallion.silver import silver_work
from pipelines.medallion.silver_table import SilverTable
from pipelines.quality import contract_check
from pipelines.tables import TableId

Partitions = dg.PartitionsDefinition[str]
Automation = dg.AutomationCondition[Any]


def bronze_asset(
    contract: Contract, *, partitions: Partitions | None = None, automation: Automation | None = None
) -> dg.AssetsDefinition:
    """The table of what has landed from one source, every value as the text that arrived.

    Args:
        contract: The source's contract; its format says how files are read.
        partitions: Days to take deliveries of; None takes whatever has landed.
        automation: When it materializes by itself.
    """
    source = ("landing", contract.table.domain, contract.table.table)
    declaration = _declaration(contract, "bronze", {}, deps=(source,), kinds=("deltalake",))
    return declare(declaration, bronze_work(contract), partitions=partitions, automation=automation)


def silver_asset(
    contract: Contract,
    *,
    partitions: Partitions | None = None,
    automation: Automation | None = None,
    inputs: Mapping[str, str] | None = None,
) -> Callable[[Transform], dg.AssetsDefinition]:
    """The typed, deduplicated, checked table over the bronze table of the same name, with its quarantine beside it.

    The decorated function gets the typed bronze rows first and the tables named in `inputs` by parameter; it may add
    columns, and must keep every row. With partitions, a run replaces those of its days whose rows are derived from
    something else than before. Without, the bronze contract's `delivery` decides: the newest snapshot replaces the
    table, increments are merged into it by key.
    """
    table = contract.table
    named = {name: TableId.parse(text) for name, text in (inputs or {}).items()}

    def decorate(transform: Transform) -> dg.AssetsDefinition:
        silver = SilverTable(contract, transform, named, "days" if partitions else "whole")
        rejected = TableId("quarantine", table.domain, table.table)
        words = inspect.getdoc(transform)
        declaration = _declaration(contract, "silver", silver.inputs, also=(tuple(rejected.key),), description=words)
        return declare(declaration, silver_work(silver), partitions=partitions, automation=automation)

    return decorate


def gold_asset(
    contract: Contract,
    *,
    inputs: Mapping[str, str],
    automation: Automation | None = None,
    zone_kind: Literal["gold", "ops"] = "gold",
) -> Callable[[Transform], dg.AssetsDefinition]:
    """A table derived from published tables; every run replaces it whole, as a function of its inputs' versions.

    There is no quarantine: its rows were judged before, so one that breaks an `error` rule is a defect of the
    transform, and the version is not published.
    """
    table = contract.table
    named = {name: TableId.parse(text) for name, text in inputs.items()}

    def decorate(transform: Transform) -> dg.AssetsDefinition:
        derivations[table] = Derivation(contract, named, transform)
        declaration = _declaration(contract, zone_kind, named, description=inspect.getdoc(transform))
        return declare(declaration, gold_work(table), automation=automation)

    return decorate


def _declaration(
    contract: Contract,
    kind: Literal["bronze", "silver", "gold", "ops"],
    inputs: Mapping[str, TableId],
    *,
    deps: tuple[tuple[str, ...], ...] = (),
    also: tuple[tuple[str, ...], ...] = (),
    kinds: tuple[str, ...] = ("deltalake", "pyspark"),
    description: str | None = None,
) -> Declaration:
    words = "\n\n".join(filter(None, (description or contract.purpose, f"Grain: {contract.grain}")))
    return Declaration(
        key=tuple(contract.table.key),
        kind=kind,
        owner=contract.owner,
        tags=contract.tags,
        description=words,
        kinds=kinds,
        inputs=inputs,
        deps=deps,
        contract=contract,
        check=deliveries_check.CHECK if kind == "bronze" else contract_check.contract_check(contract),
        also=also,
        freshness=timedelta(seconds=contract.freshness_seconds),
    )
