"""Decorators for tables: bronze takes deliveries, silver types and judges them, gold derives.

    @silver_asset(contract)
    def orders(orders: DataFrame) -> DataFrame: ...

A transform is a plain function of DataFrames. How rows are read, judged, published and recorded is the same for every
table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import dagster as dg

from pipelines.contracts.model import Contract
from pipelines.governed.asset import declare
from pipelines.governed.declaration import Declaration, InputChoice
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
    """The table of everything that landed from one source, every value as the text that arrived.

    Args:
        contract: The source's contract; its format says how files are read.
        partitions: The days whose deliveries a run takes; None takes every delivery that has landed.
        automation: When it is materialized without a person's request; None for never.
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
    """A decorator for the typed, deduplicated, checked table over the bronze table of the same name.

    Its quarantine is an asset of the same run. The decorated function receives the typed bronze rows as its first
    argument and the tables of `inputs` by parameter name; it may add columns and must keep every row.

    With partitions, a run replaces the days that would be derived from something else now: other deliveries, versions,
    code or decisions. Without partitions, the bronze contract's `delivery` decides: the newest snapshot replaces the
    table, increments are merged into it by key.

    Args:
        contract: The contract of the silver table.
        partitions: The days of the table; None for a table without days.
        automation: When it is materialized without a person's request; None for never.
        inputs: Parameter name of the transform to table, `zone/domain/table`.
    """
    side_inputs = {name: TableId.parse(text) for name, text in (inputs or {}).items()}

    def decorate(transform: Transform) -> dg.AssetsDefinition:
        silver = SilverTable(contract, transform, side_inputs, "days" if partitions else "whole")
        declaration = _declaration(contract, "silver", silver.inputs, description=inspect.getdoc(transform))
        quarantine = Declaration(
            key=tuple(silver.quarantine.key),
            kind="silver",
            owner=contract.owner,
            tags=contract.tags,
            description=f"Rows of {declaration.name} that broke a rule of its contract, as they arrived, each with its "
            "reasons.\n\nGrain: one row per rejected source row.",
            kinds=("deltalake",),
            inputs=silver.inputs,
        )
        declaration = replace(declaration, further=(quarantine,))
        return declare(declaration, silver_work(silver), partitions=partitions, automation=automation)

    return decorate


def gold_asset(
    contract: Contract,
    *,
    inputs: Mapping[str, str],
    automation: Automation | None = None,
    zone_kind: Literal["gold", "ops"] = "gold",
    choice: InputChoice | None = None,
) -> Callable[[Transform], dg.AssetsDefinition]:
    """A decorator for a table that is a function of published tables; a run replaces it whole.

    A gold table has no quarantine: its input rows were judged before, so a row that breaks an `error` rule is a defect
    of the transform, and the version is not published.

    Args:
        contract: The contract of the gold table.
        inputs: Parameter name of the transform to table, `zone/domain/table`.
        automation: When it is materialized without a person's request; None for never.
        zone_kind: The asset's kind: `ops` for a table of the platform's own.
        choice: Which inputs a run leaves out; the transform is called without them. None for none.
    """
    table = contract.table
    tables = {name: TableId.parse(text) for name, text in inputs.items()}

    def decorate(transform: Transform) -> dg.AssetsDefinition:
        derivations[table] = Derivation(contract, tables, transform, choice.among if choice else frozenset())
        declaration = _declaration(contract, zone_kind, tables, description=inspect.getdoc(transform), choice=choice)
        return declare(declaration, gold_work(table), automation=automation)

    return decorate


def _declaration(
    contract: Contract,
    kind: Literal["bronze", "silver", "gold", "ops"],
    inputs: Mapping[str, TableId],
    *,
    deps: tuple[tuple[str, ...], ...] = (),
    kinds: tuple[str, ...] = ("deltalake", "pyspark"),
    description: str | None = None,
    choice: InputChoice | None = None,
) -> Declaration:
    return Declaration(
        key=tuple(contract.table.key),
        kind=kind,
        owner=contract.owner,
        tags=contract.tags,
        description="\n\n".join(filter(None, (description or contract.purpose, f"Grain: {contract.grain}"))),
        kinds=kinds,
        inputs=inputs,
        choice=choice,
        deps=deps,
        contract=contract,
        checks=(deliveries_check.CHECK if kind == "bronze" else contract_check.contract_check(contract),),
        freshness=timedelta(seconds=contract.freshness_seconds),
    )
