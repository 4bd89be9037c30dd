"""Quarantine as a table that people look at: what is in it and why, and one record with its whole story.

A row is open until somebody corrects or discards it. What was decided takes effect when the table is materialized next;
until then the decision is pending, and is shown as made. Acts are in
`quarantine.corrections` and `orchestration.replays`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError
from pipelines.lakehouse.catalog import text
from pipelines.quarantine import decisions
from pipelines.quarantine.decisions import State
from pipelines.tables import BRONZE_COLUMNS, PARTITION, RECORD_ID, SOURCE_ROW, SOURCE_URI, TableId, TableVersion
from pipelines.verdict.row_rules import REASONS
from pipelines.verdict.verdict import DECIDED_AT, ROW

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.governed.platform import Platform

STATES: tuple[State, ...] = ("open", "corrected", "discarded")
#: What still wants somebody: never looked at, or corrected and rejected again.
WAITING: tuple[State, ...] = ("open", "corrected")
NAMED_AT_MOST = 5


def silver_table(platform: Platform, name: str) -> TableId:
    """The silver table of `domain/table`, or of the same with a zone in front.

    Raises:
        NotFoundError: if no contract declares it.
    """
    domain, _, table = name.removeprefix("silver/").removeprefix("quarantine/").partition("/")
    found = TableId("silver", domain, table)
    if found not in platform.contracts:
        known = ", ".join(f"{t.domain}/{t.table}" for t in sorted(platform.contracts) if t.zone == "silver")
        raise NotFoundError(
            object=f"table {name!r}",
            observed="no contract declares a silver table of this name",
            expected=f"one of {known}",
            next_step="name it as domain/table",
        )
    return found


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The quarantine of one silver table at one version, with the decisions that count now."""

    platform: Platform
    silver: TableId
    at: TableVersion
    decided: decisions.InEffect

    @classmethod
    def of(cls, platform: Platform, silver: TableId) -> Quarantine:
        """Opens the newest version.

        Raises:
            NotFoundError: if the table was never materialized.
        """
        at = platform.lakehouse.current(TableId("quarantine", silver.domain, silver.table))
        return cls(platform, silver, at, decisions.in_effect(platform.lakehouse, silver))

    @property
    def bronze(self) -> TableId:
        return TableId("bronze", self.silver.domain, self.silver.table)

    def states(self) -> dict[State, int]:
        """How many rejected rows are in each state."""
        found = self._columns(RECORD_ID)
        decided = Counter(self.decided.state(name) for name in self._among(found, self.decided.by_record))
        counts: dict[State, int] = {state: decided[state] for state in STATES}
        return counts | {"open": found.num_rows - decided["corrected"] - decided["discarded"]}

    def pending(self) -> dict[str, str]:
        """Record id to partition of the rejected rows that were judged before the latest decision about them."""
        import pyarrow.dataset as ds

        where = ds.field(DECIDED_AT).is_valid() | among(self.decided.by_record)
        found = {}
        for row in self._columns(RECORD_ID, PARTITION, DECIDED_AT, where=where).to_pylist():
            decision = self.decided.by_record.get(row[RECORD_ID])
            if row[DECIDED_AT] != (decision.decided_at if decision else None):
                found[row[RECORD_ID]] = row[PARTITION]
        return found

    def reasons(self) -> list[dict[str, Any]]:
        """Why rows wait here: `reason`, `column`, `rule`, `rows`, most rows first; a row may have several reasons."""
        found = self._waiting(self._columns(RECORD_ID, REASONS))
        reasons = found[REASONS].combine_chunks().flatten()
        return [
            {"reason": value["code"], "column": value["column"], "rule": value["rule"], "rows": rows}
            for value, rows in _counted(reasons, ("code", "column", "rule", "severity"))
            if value["severity"] == "error"
        ]

    def rows(
        self,
        *,
        reason: str | None = None,
        partition: str | None = None,
        states: Collection[State] = WAITING,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Rejected rows by partition, file and row; `reasons` are errors only, and `row` is what was judged.

        Raises:
            NotFoundError: for a reason or a partition that no row has.
        """

        names = [RECORD_ID, PARTITION, SOURCE_URI, SOURCE_ROW]
        where = text(PARTITION) == partition if partition is not None else None
        found = self._columns(*names, REASONS, where=where)
        if partition is not None and not found.num_rows:
            self._refuse("partition", partition, set(self._columns(PARTITION)[PARTITION].unique().to_pylist()))
        if reason is not None:
            found = self._with_reason(found, reason)
        found = found.select(names).sort_by(
            [(PARTITION, "ascending"), (SOURCE_URI, "ascending"), (SOURCE_ROW, "ascending")]
        )
        chosen = [row for row in found.to_pylist() if self.decided.state(row[RECORD_ID]) in states][:limit]
        ids = [row[RECORD_ID] for row in chosen]
        whole = {row[RECORD_ID]: row for row in self._rows_of(ids).to_pylist()}
        return [self._entry(whole[name]) for name in ids]

    def records(self, partition: str) -> dict[str, str]:
        """Record id to partition of every rejected row of one partition."""

        return dict.fromkeys(
            self._columns(RECORD_ID, where=text(PARTITION) == partition)[RECORD_ID].to_pylist(), partition
        )

    def places(self, records: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Record id to its partition and where it stands: `quarantined`, `clean`, or `unjudged` (not in this version).

        Raises:
            NotFoundError: for a record that bronze does not hold.
        """

        house = self.platform.lakehouse
        here = self._columns(RECORD_ID, PARTITION, where=among(records)).to_pylist()
        found = {row[RECORD_ID]: (row[PARTITION], "quarantined") for row in here}
        if missing := [name for name in records if name not in found]:
            where = among(missing)
            bronze = house.snapshot(self.bronze).arrow(columns=[RECORD_ID, PARTITION], where=where).to_pylist()
            silver = house.snapshot(self.silver).arrow(columns=[RECORD_ID], where=where)
            clean = set(silver[RECORD_ID].to_pylist())
            for row in bronze:
                found[row[RECORD_ID]] = (row[PARTITION], "clean" if row[RECORD_ID] in clean else "unjudged")
        if unknown := [name for name in records if name not in found]:
            raise NotFoundError(
                object=f"record {some(unknown)} of {self.silver}",
                observed=f"{len(unknown)} of {len(records)} ids are neither in {self.at.table} nor in {self.bronze}",
                expected="record ids as `goldpath quarantine list` shows them",
                next_step=f"goldpath quarantine list {self.silver.domain}/{self.silver.table}",
            )
        return {name: found[name] for name in records}

    def record(self, record_id: str) -> dict[str, Any]:
        """One record: where it stands and why, the row as it arrived, the file and line, and all that was decided.

        Raises:
            NotFoundError: if bronze does not hold it.
        """

        from pipelines.provenance import chain

        house = self.platform.lakehouse
        partition, place = self.places([record_id])[record_id]
        where = (text(PARTITION) == partition) & (text(RECORD_ID) == record_id)
        [arrived] = house.snapshot(self.bronze).arrow(where=where).to_pylist()
        rejected = [self._entry(row) for row in self._rows_of([record_id]).to_pylist()]
        history = decisions.recorded(house, self.silver, [record_id])
        return {
            "record_id": record_id,
            "table": str(self.silver),
            "partition": partition,
            "place": place,
            "state": self.decided.state(record_id),
            "pending": record_id in self.pending(),
            "version": str(self.at),
            "reasons": rejected[0]["reasons"] if rejected else [],
            "arrived": {name: value for name, value in arrived.items() if name not in BRONZE_COLUMNS},
            "judged": rejected[0]["row"] if rejected else None,
            "ingest_id": arrived["_ingest_id"],
            "ingested_at": arrived["_ingested_at"],
            "file": arrived[SOURCE_URI],
            "row": arrived[SOURCE_ROW],
            "source": chain.trace(self.platform, self.silver.domain, record_id),
            "decisions": [asdict(made) | {"table": str(made.table)} for made in history],
        }

    def _columns(self, *names: str, where: Any = None) -> pa.Table:
        return self.platform.lakehouse.snapshot(self.at).arrow(columns=names, where=where)

    def _rows_of(self, records: Sequence[str]) -> pa.Table:

        return self.platform.lakehouse.snapshot(self.at).arrow(where=among(records))

    def _among(self, rows: pa.Table, records: Collection[str]) -> list[str]:
        """The record ids of `rows` that are among `records`."""

        return rows.filter(among(records))[RECORD_ID].to_pylist()

    def _waiting(self, rows: pa.Table) -> pa.Table:

        return rows.filter(~among(self.decided.records("discarded")))

    def _with_reason(self, rows: pa.Table, reason: str) -> pa.Table:
        import pyarrow as pa
        import pyarrow.dataset as ds

        lists = rows[REASONS].combine_chunks()
        codes = pa.table({"row": lists.value_parent_indices(), "code": lists.flatten().field("code")})
        found = codes.filter(ds.field("code") == reason)["row"].unique()
        if not len(found):
            self._refuse("reason", reason, set(codes["code"].to_pylist()))
        return rows.take(found)

    def _refuse(self, what: str, name: str, known: Collection[str]) -> None:
        raise NotFoundError(
            object=f"{what} {name!r} in {self.at}",
            observed="no row has it" if known else "the quarantine is empty",
            expected=f"one of {some(sorted(known))}" if known else "rejected rows",
            next_step=f"goldpath quarantine list {self.silver.domain}/{self.silver.table}",
        )

    def _entry(self, row: Mapping[str, Any]) -> dict[str, Any]:
        decision = self.decided.by_record.get(row[RECORD_ID])
        return {
            "record_id": row[RECORD_ID],
            "partition": row[PARTITION],
            "state": self.decided.state(row[RECORD_ID]),
            "pending": row[DECIDED_AT] != (decision.decided_at if decision else None),
            "file": row[SOURCE_URI],
            "row_number": row[SOURCE_ROW],
            "reasons": [reason for reason in row[REASONS] if reason["severity"] == "error"],
            "row": json.loads(row[ROW]),
        }


def overview(platform: Platform) -> list[dict[str, Any]]:
    """Every quarantine that was materialized: how many of its rows are open, corrected, discarded, and pending."""
    found = []
    for table in sorted(platform.contracts):
        rejected = TableId("quarantine", table.domain, table.table)
        if table.zone == "silver" and platform.lakehouse.version(rejected) is not None:
            here = Quarantine.of(platform, table)
            found.append({"table": f"{table.domain}/{table.table}", **here.states(), "pending": len(here.pending())})
    return found


def among(records: Collection[str]) -> Any:
    """The filter that keeps these records, of which there may be none."""
    import pyarrow as pa

    return text(RECORD_ID).isin(pa.array(list(records), pa.string()))


def _counted(structs: Any, names: Sequence[str]) -> list[tuple[dict[str, Any], int]]:
    """How often each combination of the fields `names` occurs, most often first."""
    import pyarrow as pa

    table = pa.table({name: structs.field(name) for name in names})
    rows = table.group_by(list(names)).aggregate([([], "count_all")]).to_pylist()
    counted = [({name: row[name] for name in names}, row["count_all"]) for row in rows]
    return sorted(counted, key=lambda entry: (-entry[1], entry[0][names[0]]))


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    return ", ".join(names[:NAMED_AT_MOST]) + more
