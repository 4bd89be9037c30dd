"""Bronze tables: every delivery that has landed, taken batch by batch, each once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from pipelines.contracts.model import Contract
from pipelines.errors import LandingError
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import Append, Replace
from pipelines.landing import findings, ledger_recovery, reading
from pipelines.landing.delivery import Delivery
from pipelines.landing.edge import Edge
from pipelines.landing.ledger import Batch
from pipelines.landing.parts import parts
from pipelines.lineage.events import Dataset, Field
from pipelines.medallion import deliveries_check, staleness
from pipelines.medallion.judging import commit_metadata, warned
from pipelines.tables import PARTITION, SOURCE_URI

#: The app transaction under which a bronze table carries the number of its last batch.
INGEST = "ingest"


def bronze_work(contract: Contract) -> Callable[[GovernedRun], Iterator[Written]]:
    """The work of a bronze asset: it takes the deliveries that are new and complete, and reports the others."""
    table = contract.table

    def work(run: GovernedRun) -> Iterator[Written]:
        platform, house = run.platform, run.platform.lakehouse
        by_day = run.partitions is not None
        edge = Edge(platform.landing, platform.ledger(table), contract, by_day=by_day, now=platform.now())
        rows = files = 0
        with house.writing(table):
            if edge.ledger.last() < (committed := house.batch(table, INGEST)):
                ledger_recovery.recover(edge, house, committed=committed)
            edge.report_misplaced(run.partitions, run.all_partitions)
            columns = reading.ColumnNames(contract, house.columns(table))
            while (batch := edge.next_batch(run.partitions, committed=house.batch(table, INGEST))) is not None:
                taken_rows, taken_files = _take(run, edge, batch, columns)
                rows, files = rows + taken_rows, files + taken_files
            if house.version(table) is None:
                house.create(table, reading.schema(contract), partition_by=[PARTITION])
        at = house.current(table)
        findings.record(house, edge.findings, table=table, run_id=run.run_id)
        fields = tuple(Field(column.name, "string", column.description) for column in contract.columns)
        dataset = Dataset(
            str(table), str(at.version), contract.owner, fields, rows=rows, bytes=house.snapshot(at).bytes
        )
        metadata = {"files": files, "rows_in": rows, "rows_clean": rows, "rows_quarantined": 0}
        written = Written(dataset, metadata, (deliveries_check.check_result(edge, files=files, rows=rows),))
        written.by_partition = _rows_by_day(run, house.snapshot(at).partition_rows(PARTITION))
        yield warned(written, staleness.not_written_since(platform, contract))

    return work


def _rows_by_day(run: GovernedRun, rows: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The rows of each day of the run, as Dagster shows them on its partition."""
    return {day: {"dagster/partition_row_count": rows.get(day, 0)} for day in run.partitions or ()}


def _take(run: GovernedRun, edge: Edge, batch: Batch, columns: reading.ColumnNames) -> tuple[int, int]:
    """Commits a batch without the deliveries that cannot be read; returns how many rows and files it took."""
    house, contract = run.platform.lakehouse, edge.contract
    table = contract.table
    size = sum(delivery.bytes for delivery in batch.deliveries)
    run.record_input(Dataset(f"landing/{table.domain}/{table.table}", batch.ingest_id, contract.owner, bytes=size))
    taken = list(batch.deliveries)
    planned = functools.cache(edge.ledger.batch)

    def marks(delivery: Delivery) -> Batch:
        return planned(edge.ledger.batch_of(delivery.uri)) if batch.retake else batch

    def leave_out(delivery: Delivery, error: LandingError) -> None:
        taken.remove(delivery)
        (edge.leave_out_retake if batch.retake else edge.leave_out)(delivery, error)

    rows = parts(
        edge.landing,
        contract,
        batch.deliveries,
        contents=edge.contents,
        marks=marks,
        drifted=edge.drifted,
        columns=columns,
        leave_out=leave_out,
    )
    staged = house.stage_arrow(table, rows, schema=reading.schema(contract))
    if taken:
        uris = tuple(delivery.uri for delivery in taken)
        write = Replace(SOURCE_URI, uris, INGEST, batch.number) if batch.retake else Append(INGEST, batch.number)
        house.commit(table, staged, write, metadata=commit_metadata(run))
    return staged.rows, len(taken)
