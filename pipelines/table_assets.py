"""Decorators for tables: bronze takes deliveries, silver types and judges them, gold derives.

    @silver_asset(contract)
    def flights(flights: DataFrame) -> DataFrame: ...

A transform is a plain function of DataFrames; where a row comes from, how it is judged, how it is published and what is
recorded about it is the same for every table and lives here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from pipelines import quality, verdict
from pipelines.contracts import Contract
from pipelines.errors import DefinitionError, VerdictError
from pipelines.governed import Declaration, GovernedRun, Written, declare
from pipelines.lakehouse import Append, Overwrite
from pipelines.lineage import Dataset, Field
from pipelines.tables import PARTITION, RECORD_ID, TableId, TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.lakehouse import Lakehouse, Staged

Transform = Callable[..., "DataFrame"]
Partitions = dg.PartitionsDefinition[str]
Automation = dg.AutomationCondition[Any]
INGEST = "ingest"


def bronze_asset(
    contract: Contract, *, partitions: Partitions | None = None, automation: Automation | None = None
) -> dg.AssetsDefinition:
    """The table of what has landed from one source, every value as the text that arrived.

    Args:
        contract: The source's contract; its format says how files are read.
        partitions: Days to take deliveries of; None takes whatever has landed.
        automation: When it materializes by itself.
    """
    from pipelines import ingestion

    table = contract.table
    source = ("landing", table.domain, table.table)

    def work(run: GovernedRun) -> Iterator[Written]:
        platform, house = run.platform, run.platform.lakehouse
        ledger, landing = platform.ledger(table), platform.landing
        rows = files = 0
        with house.writing(table):
            while True:
                found = landing.deliveries(table.domain, table.table, run.partitions)
                batch = ledger.plan(landing, found, committed=house.batch(table, INGEST))
                if batch is None:
                    break
                size = sum(delivery.bytes for delivery in batch.deliveries)
                run.reads(Dataset("/".join(source), batch.ingest_id, contract.owner, bytes=size))
                parts = (
                    (delivery.interval, ingestion.read(landing, contract, batch, delivery))
                    for delivery in batch.deliveries
                )
                staged = house.stage_arrow(table, parts, schema=ingestion.schema(contract))
                house.commit(table, staged, Append(INGEST, batch.number), metadata=_metadata(run))
                rows, files = rows + staged.rows, files + len(batch.deliveries)
            if house.version(table) is None:
                house.create(table, ingestion.schema(contract), partition_by=[PARTITION])
        at = house.current(table)
        fields = tuple(Field(column.name, "string", column.description) for column in contract.columns)
        dataset = Dataset(str(table), str(at.version), contract.owner, fields, rows=rows, bytes=house.bytes(at))
        yield Written(dataset, {"files": files, "rows_in": rows, "rows_clean": rows, "rows_quarantined": 0})

    declaration = _declaration(contract, "bronze", {}, deps=(source,), kinds=("deltalake",))
    return declare(declaration, work, partitions=partitions, automation=automation)


def silver_asset(
    contract: Contract,
    *,
    partitions: Partitions | None = None,
    automation: Automation | None = None,
    inputs: Mapping[str, str] | None = None,
    delivery: Literal["snapshot", "increment"] = "snapshot",
) -> Callable[[Transform], dg.AssetsDefinition]:
    """The typed, deduplicated, checked table over the bronze table of the same name, with its quarantine beside it.

    The decorated function gets the typed bronze rows first and the tables named in `inputs` by parameter; it may add
    columns, and must keep every row. With partitions, a run replaces the days that it covers; without, the table is
    replaced by the newest snapshot, or by all deliveries where each is an increment.
    """
    table = contract.table
    bronze = TableId("bronze", table.domain, table.table)
    rejected = TableId("quarantine", table.domain, table.table)
    named = {name: TableId.parse(text) for name, text in (inputs or {}).items()}
    references = {rule.argument[0] for rule in contract.row_rules if rule.kind == "reference"}

    def decorate(transform: Transform) -> dg.AssetsDefinition:
        def work(run: GovernedRun) -> Iterator[Written]:
            from pyspark.sql import functions as F

            house = run.platform.lakehouse
            physical = [PARTITION] if partitions else []
            with house.writing(table), house.writing(rejected):
                raw = run.input("bronze")
                if run.partitions is not None:
                    raw = raw.where(F.col(PARTITION).between(min(run.partitions), max(run.partitions)))
                elif delivery == "snapshot":
                    newest = max(house.partition_values(run.versions["bronze"], PARTITION), default="")
                    raw = raw.where(F.col(PARTITION) == newest)
                rows = transform(verdict.typed(raw, contract), **{name: run.input(name) for name in named})
                columns = [column.name for column in contract.columns] + [RECORD_ID]
                judged, staged, result = _judged(
                    house,
                    contract,
                    _shaped(contract, rows, (RECORD_ID,)),
                    {t: run.input(f"in {t}") for t in references},
                    columns=[*columns, *physical],
                    partition_by=[verdict.VERDICT, *physical],
                    rows_in=raw.count(),
                )
                written, replace = _written(run, contract, judged, staged, result), Overwrite(run.partitions)
                if not result.passed:
                    yield written
                    raise result.refuse()
                good = staged.where(verdict.VERDICT, verdict.CLEAN).select([*columns, *physical])
                bad = _rejects(house, rejected, judged, result, physical)
                at_bad = house.commit(rejected, bad, replace, metadata=_metadata(run))
                at = house.commit(table, good, replace, metadata=_metadata(run))
            written.dataset = _at(written.dataset, at, good)
            yield written
            yield _rejected(contract, at_bad, bad, result)

        all_inputs = {"bronze": bronze} | named | {f"in {t}": t for t in references}
        declaration = _declaration(
            contract, "silver", all_inputs, also=(tuple(rejected.key),), description=inspect.getdoc(transform)
        )
        return declare(declaration, work, partitions=partitions, automation=automation)

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
        def work(run: GovernedRun) -> Iterator[Written]:
            house = run.platform.lakehouse
            with house.writing(table):
                rows = transform(**{name: run.input(name) for name in named})
                rows = _shaped(contract, rows, ())
                columns = [column.name for column in contract.columns]
                columns += [RECORD_ID] if RECORD_ID in rows.columns else []
                judged, staged, result = _judged(house, contract, rows, {}, columns=columns)
                written = _written(run, contract, judged, staged, result)
                if not result.passed or result.rows_quarantined:
                    yield written
                    raise result.refuse()
                good = staged.select(columns)
                at = house.commit(table, good, Overwrite(), metadata=_metadata(run))
            written.dataset = _at(written.dataset, at, good)
            yield written

        declaration = _declaration(contract, zone_kind, named, description=inspect.getdoc(transform))
        return declare(declaration, work, automation=automation)

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
        check=None if kind == "bronze" else quality.contract_check(contract),
        also=also,
        freshness=timedelta(seconds=contract.freshness_seconds),
    )


def _shaped(contract: Contract, rows: DataFrame, also: Sequence[str]) -> DataFrame:
    """The rows with each contract column in the contract's type.

    Raises:
        DefinitionError: if the transform left a column out.
    """
    from pyspark.sql import functions as F

    types = dict(rows.dtypes)
    missing = [c for c in (*(column.name for column in contract.columns), *also) if c not in types]
    if missing:
        raise DefinitionError(
            object=f"transform of {contract.table}",
            observed=f"it returns no column {', '.join(missing)}",
            expected=f"every column of {contract.path.name}" + (f" and {', '.join(also)}" if also else ""),
            next_step="add the column in the transform, or take it out of the contract",
        )
    casts = {c.name: F.col(c.name).cast(c.type) for c in contract.columns if types[c.name] != c.type}
    return rows.withColumns(casts) if casts else rows


def _judged(
    house: Lakehouse,
    contract: Contract,
    rows: DataFrame,
    references: Mapping[TableId, DataFrame],
    *,
    columns: Sequence[str],
    partition_by: Sequence[str] = (),
    rows_in: int | None = None,
) -> tuple[DataFrame, Staged, verdict.Verdict]:
    """Judges the rows, stages them with their broken rules as bits, and sums up what was staged.

    Duplicates are rare, and to seek them sorts every row. So they are taken to be absent until the summary of the
    staged rows says that keys repeat; only then is everything judged and staged again.

    Args:
        rows_in: How many rows there have to be; None where the transform decides that.
    """
    kept = dict.fromkeys([*columns, *verdict.broken_columns(contract), verdict.VERDICT])

    def attempt(duplicates: Literal["sought", "excluded"]) -> tuple[DataFrame, Staged, verdict.Verdict]:
        judged = verdict.judge(rows, contract, references, duplicates=duplicates)
        staged = house.stage(contract.table, judged.select(*kept), partition_by=partition_by)
        expected = staged.rows if rows_in is None else rows_in
        return judged, staged, verdict.summarize(house.read_staged(staged), contract, rows_in=expected)

    first = attempt("excluded")
    return attempt("sought") if first[2].keys_repeat else first


def _rejects(
    house: Lakehouse, table: TableId, judged: DataFrame, result: verdict.Verdict, physical: Sequence[str]
) -> Staged:
    """Stages what quarantine keeps of the rejected rows, which are computed once more, now with their reasons in words.

    Raises:
        VerdictError: if not as many rows are rejected as before.
    """
    from pyspark.sql import functions as F

    rows = judged.where(F.col(verdict.VERDICT) == verdict.QUARANTINE).select(*verdict.QUARANTINE_COLUMNS)
    staged = house.stage(table, rows if result.rows_quarantined else rows.limit(0), partition_by=physical)
    if staged.rows != result.rows_quarantined:
        raise VerdictError(
            object=f"table {table}",
            observed=f"{staged.rows} rows rejected where {result.rows_quarantined} were before",
            expected="a transform that gives the same rows each time",
            next_step="take what differs from run to run (a random number, the clock) out of the transform",
        )
    return staged


def _written(
    run: GovernedRun, contract: Contract, judged: DataFrame, staged: Staged, result: verdict.Verdict
) -> Written:
    from pipelines.column_lineage import column_lineage

    fields = tuple(Field(column.name, column.type, column.description) for column in contract.columns)
    names = [column.name for column in contract.columns]
    house = run.platform.lakehouse
    sources = {str(house.path(at.table)): str(at.table) for at in run.versions.values()}
    columns = column_lineage(judged.select(*names), sources)
    dataset = Dataset(str(contract.table), None, contract.owner, fields, columns, result.rows_clean, staged.bytes)
    metadata = {
        "rows_in": result.rows_in,
        "rows_clean": result.rows_clean,
        "rows_quarantined": result.rows_quarantined,
    }
    return Written(dataset, metadata, quality.check_result(result, folder=run.platform.settings.root / "quality"))


def _rejected(contract: Contract, at: TableVersion, bad: Staged, result: verdict.Verdict) -> Written:
    fields = tuple(Field(name, "string") for name in verdict.QUARANTINE_COLUMNS)
    dataset = Dataset(str(at.table), str(at.version), contract.owner, fields, rows=bad.rows, bytes=bad.bytes)
    reasons = {r.rule.name: r.rows for r in result.rules if r.rows and r.rule.severity == "error"}
    return Written(dataset, {"reasons": dg.MetadataValue.json(reasons)})


def _at(dataset: Dataset, at: TableVersion, good: Staged) -> Dataset:
    return Dataset(dataset.name, str(at.version), dataset.owner, dataset.fields, dataset.columns, good.rows, good.bytes)


def _metadata(run: GovernedRun) -> dict[str, str]:
    inputs = {name: at.version for name, at in run.versions.items()}
    return {"run_id": run.run_id, "asset": run.declaration.name, "inputs": str(inputs)}
