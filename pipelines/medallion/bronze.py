"""Bronze tables: what has landed, taken batch by batch, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.contracts.model import Contract
from pipelines.governed.declaration import GovernedRun, Written
from pipelines.lakehouse.staging import Append
from pipelines.landing import arrivals, ledger_recovery, reading
from pipelines.landing.edge import Edge
from pipelines.landing.zone import Delivery
from pipelines.lineage.events import Dataset, Field
from pipelines.medallion.judging import commit_metadata
from pipelines.tables import PARTITION

#: The app transaction under which a bronze table carries the number of its last batch.
INGEST = "ingest"


def bronze_work(contract: Contract) -> Callable[[GovernedRun], Iterator[Written]]:
    """The work of a bronze asset: takes what is new and complete, and leaves what is not, with its reason."""
    table = contract.table
    source = ("landing", table.domain, table.table)

    def work(run: GovernedRun) -> Iterator[Written]:
        platform, house, landing = run.platform, run.platform.lakehouse, run.platform.landing
        edge = Edge(landing, platform.ledger(table), contract)
        rows = files = 0
        with house.writing(table):
            if edge.ledger.last() < (committed := house.batch(table, INGEST)):
                ledger_recovery.recover(edge.ledger, landing, house, contract, committed=committed)
            edge.links(run.partitions)
            while (batch := edge.next_batch(run.partitions, committed=house.batch(table, INGEST))) is not None:
                size = sum(delivery.bytes for delivery in batch.deliveries)
                run.reads(Dataset("/".join(source), batch.ingest_id, contract.owner, bytes=size))
                parts = ((d, reading.read(landing, contract, batch, d, edge.drifted)) for d in batch.deliveries)
                left: list[Delivery] = []
                staged = house.stage_arrow(table, parts, edge.leaving(left), schema=reading.schema(contract))
                if len(left) < len(batch.deliveries):
                    house.commit(table, staged, Append(INGEST, batch.number), metadata=commit_metadata(run))
                rows, files = rows + staged.rows, files + len(batch.deliveries) - len(left)
            if house.version(table) is None:
                house.create(table, reading.schema(contract), partition_by=[PARTITION])
        at = house.current(table)
        platform.note(edge.findings, table=table, run_id=run.run_id)
        fields = tuple(Field(column.name, "string", column.description) for column in contract.columns)
        dataset = Dataset(
            str(table), str(at.version), contract.owner, fields, rows=rows, bytes=house.snapshot(at).bytes
        )
        metadata = {"files": files, "rows_in": rows, "rows_clean": rows, "rows_quarantined": 0}
        yield Written(dataset, metadata, arrivals.check_result(edge, files=files, rows=rows))

    return work
