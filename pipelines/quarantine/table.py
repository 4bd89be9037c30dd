"""A quarantine table as people see it: the rejected rows with their reasons, and one record with its history.

A row is open until somebody corrects or discards it. A decision takes effect when the table is materialized next; until
then it is pending. The acts of people are in `quarantine.corrections` and `orchestration.replays`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.errors import NotFoundError
from pipelines.lakehouse.catalog import text
from pipelines.quarantine import decisions
from pipelines.quarantine.decisions import EffectiveDecisions, State
from pipelines.quarantine.traces import trace
from pipelines.tables import (
    BRONZE_COLUMNS,
    DECIDED_AT,
    PARTITION,
    REASONS,
    RECORD_ID,
    ROW,
    SOURCE_ROW,
    SOURCE_URI,
    TableId,
    TableVersion,
)
from pipelines.verdict import masking

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.governed.platform import Platform

STATES: tuple[State, ...] = ("open", "corrected", "discarded")
#: The states of rows that still need somebody: without a decision, or corrected and rejected again.
WAITING: tuple[State, ...] = ("open", "corrected")
#: How many names an error message lists.
NAMES_LISTED = 5


def silver_table(platform: Platform, name: str) -> TableId:
    """The silver table of `domain/table`, which may have `silver/` or `quarantine/` in front.

    Raises:
        NotFoundError: if no contract declares it.
        GoldpathError: the error of its domain, if that does not load.
    """
    domain, _, table = name.removeprefix("silver/").removeprefix("quarantine/").partition("/")
    silver = TableId("silver", domain, table)
    if silver not in platform.contracts:
        if error := platform.broken().get(domain):
            raise error
        known = ", ".join(f"{t.domain}/{t.table}" for t in sorted(platform.contracts) if t.zone == "silver")
        raise NotFoundError(
            object=f"table {name!r}",
            observed="no contract declares a silver table of this name",
            expected=f"one of {known}",
            next_step="name it as domain/table",
        )
    return silver


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The quarantine of one silver table at one version.

    Attributes:
        platform: Where the tables are.
        silver: The silver table.
        at: The version of the quarantine table.
        in_effect: The decisions that count now.
    """

    platform: Platform
    silver: TableId
    at: TableVersion
    in_effect: EffectiveDecisions

    @classmethod
    def of(cls, platform: Platform, silver: TableId) -> Quarantine:
        """Opens the newest version of the quarantine of a silver table.

        Raises:
            NotFoundError: if the table was never materialized.
        """
        at = platform.lakehouse.current(TableId("quarantine", silver.domain, silver.table))
        return cls(platform, silver, at, decisions.in_effect(platform.lakehouse, silver))

    @property
    def name(self) -> str:
        """`domain/table`, as `goldpath quarantine` names the table."""
        return f"{self.silver.domain}/{self.silver.table}"

    @property
    def bronze(self) -> TableId:
        """The bronze table that the silver table is derived from."""
        return TableId("bronze", self.silver.domain, self.silver.table)

    def states(self) -> dict[State, int]:
        """The number of rejected rows in each state."""
        ids = self._read(RECORD_ID)
        decided = ids.filter(_is_one_of(self.in_effect.by_record))[RECORD_ID].to_pylist()
        by_state = Counter(self.in_effect.state(record_id) for record_id in decided)
        counts: dict[State, int] = {state: by_state[state] for state in STATES}
        return counts | {"open": ids.num_rows - by_state["corrected"] - by_state["discarded"]}

    def pending(self) -> dict[str, str]:
        """Record id to partition of the rejected rows that were judged before the latest decision about them."""
        import pyarrow.dataset as ds

        where = ds.field(DECIDED_AT).is_valid() | _is_one_of(self.in_effect.by_record)
        rows = self._read(RECORD_ID, PARTITION, DECIDED_AT, where=where).to_pylist()
        return {row[RECORD_ID]: row[PARTITION] for row in rows if self._is_pending(row)}

    def reasons(self) -> list[dict[str, Any]]:
        """Why rows wait: `reason`, `column`, `rule`, `rows`. Grain: one entry per reason, the most frequent first.

        A row may have several reasons. Discarded rows are not counted.
        """
        waiting = self._read(RECORD_ID, REASONS).filter(~_is_one_of(self.in_effect.records("discarded")))
        reasons = waiting[REASONS].combine_chunks().flatten()
        return [
            {"reason": reason["code"], "column": reason["column"], "rule": reason["rule"], "rows": rows}
            for reason, rows in _count_distinct(reasons, ("code", "column", "rule", "severity"))
            if reason["severity"] == "error"
        ]

    def rows(
        self,
        *,
        reason: str | None = None,
        partition: str | None = None,
        states: Collection[State] = WAITING,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Rejected rows, ordered by partition, file and row number.

        Args:
            reason: Only rows with this reason.
            partition: Only rows of this partition.
            states: Only rows in one of these states.
            limit: At most this many rows; None for all.

        Returns:
            One entry per row; `reasons` are those of severity error only, and `row` is the row as it was judged.

        Raises:
            NotFoundError: for a reason or a partition that no row has.
        """
        order = [PARTITION, SOURCE_URI, SOURCE_ROW]
        where = text(PARTITION) == partition if partition is not None else None
        rejected = self._read(RECORD_ID, *order, REASONS, where=where)
        if partition is not None and not rejected.num_rows:
            self._refuse("partition", partition, set(self._read(PARTITION)[PARTITION].unique().to_pylist()))
        if reason is not None:
            rejected = self._with_reason(rejected, reason)
        ordered = rejected.select([RECORD_ID, *order]).sort_by([(name, "ascending") for name in order])
        ids = ordered[RECORD_ID].to_pylist()
        chosen = [record_id for record_id in ids if self.in_effect.state(record_id) in states][:limit]
        rows_by_id = {row[RECORD_ID]: row for row in self._read(where=_is_one_of(chosen)).to_pylist()}
        return [self._entry(rows_by_id[record_id]) for record_id in chosen]

    def records(self, partition: str) -> dict[str, str]:
        """Record id to partition of every rejected row of one partition."""
        ids = self._read(RECORD_ID, where=text(PARTITION) == partition)[RECORD_ID].to_pylist()
        return dict.fromkeys(ids, partition)

    def places(self, records: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Record id to its partition and its place: `quarantined`, `clean`, or `unjudged` (in neither table now).

        Raises:
            NotFoundError: for a record that bronze does not hold.
        """
        house = self.platform.lakehouse
        rejected = self._read(RECORD_ID, PARTITION, where=_is_one_of(records)).to_pylist()
        places = {row[RECORD_ID]: (row[PARTITION], "quarantined") for row in rejected}
        if elsewhere := [record_id for record_id in records if record_id not in places]:
            where = _is_one_of(elsewhere)
            arrived = house.snapshot(self.bronze).arrow(columns=[RECORD_ID, PARTITION], where=where).to_pylist()
            silver = house.snapshot(self.silver).arrow(columns=[RECORD_ID], where=where)
            clean = set(silver[RECORD_ID].to_pylist())
            for row in arrived:
                places[row[RECORD_ID]] = (row[PARTITION], "clean" if row[RECORD_ID] in clean else "unjudged")
        if unknown := [record_id for record_id in records if record_id not in places]:
            raise NotFoundError(
                object=f"record {first_names(unknown)} of {self.silver}",
                observed=f"{len(unknown)} of {len(records)} ids are neither in {self.at.table} nor in {self.bronze}",
                expected="record ids as `goldpath quarantine list` shows them",
                next_step=f"goldpath quarantine list {self.name}",
            )
        return {record_id: places[record_id] for record_id in records}

    def record(self, record_id: str) -> dict[str, Any]:
        """One record: its place and state, its reasons, the row as it arrived, its file and line, and all decisions.

        What the table masks is masked everywhere; bronze and the file have it.

        Raises:
            NotFoundError: if bronze does not hold it.
        """
        house = self.platform.lakehouse
        partition, place = self.places([record_id])[record_id]
        where = (text(PARTITION) == partition) & (text(RECORD_ID) == record_id)
        [arrived] = house.snapshot(self.bronze).arrow(where=where).to_pylist()
        rejected = [self._entry(row) for row in self._read(where=_is_one_of([record_id])).to_pylist()]
        history = decisions.recorded(house, self.silver, [record_id])
        record = {
            "record_id": record_id,
            "table": str(self.silver),
            "partition": partition,
            "place": place,
            "state": self.in_effect.state(record_id),
            "pending": record_id in self.pending(),
            "version": str(self.at),
            "reasons": rejected[0]["reasons"] if rejected else [],
            "arrived": {name: value for name, value in arrived.items() if name not in BRONZE_COLUMNS},
            "judged": rejected[0]["row"] if rejected else None,
            "ingest_id": arrived["_ingest_id"],
            "ingested_at": arrived["_ingested_at"],
            "file": arrived[SOURCE_URI],
            "row": arrived[SOURCE_ROW],
            "source": trace(self.platform, self.silver.domain, record_id),
            "decisions": [asdict(decision) | {"table": str(decision.table)} for decision in history],
        }
        return masking.masked_values(record, masking.kinds(self.platform.contracts[self.silver]))

    def _read(self, *columns: str, where: Any = None) -> pa.Table:
        """The rejected rows that a filter keeps, with all columns if none is named."""
        return self.platform.lakehouse.snapshot(self.at).arrow(columns=columns, where=where)

    def _with_reason(self, rows: pa.Table, reason: str) -> pa.Table:
        import pyarrow as pa
        import pyarrow.dataset as ds

        lists = rows[REASONS].combine_chunks()
        codes = pa.table({"row": lists.value_parent_indices(), "code": lists.flatten().field("code")})
        indices = codes.filter(ds.field("code") == reason)["row"].unique()
        if not len(indices):
            self._refuse("reason", reason, set(codes["code"].to_pylist()))
        return rows.take(indices)

    def _refuse(self, what: str, name: str, known: Collection[str]) -> NoReturn:
        """Raises NotFoundError for a reason or a partition; `known` are those that rows have."""
        raise NotFoundError(
            object=f"{what} {name!r} in {self.at}",
            observed="no row has it" if known else "the quarantine is empty",
            expected=f"one of {first_names(sorted(known))}" if known else "rejected rows",
            next_step=f"goldpath quarantine list {self.name}",
        )

    def _is_pending(self, row: Mapping[str, Any]) -> bool:
        """Whether the row was judged before the latest decision about it."""
        decision = self.in_effect.by_record.get(row[RECORD_ID])
        return row[DECIDED_AT] != (decision.decided_at if decision else None)

    def _entry(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "record_id": row[RECORD_ID],
            "partition": row[PARTITION],
            "state": self.in_effect.state(row[RECORD_ID]),
            "pending": self._is_pending(row),
            "file": row[SOURCE_URI],
            "row_number": row[SOURCE_ROW],
            "reasons": [reason for reason in row[REASONS] if reason["severity"] == "error"],
            "row": json.loads(row[ROW]),
        }


def overview(platform: Platform) -> list[dict[str, Any]]:
    """How many rows are open, corrected, discarded and pending. Grain: one entry per quarantine that has a version.

    Those of a domain that was removed or does not load are among them.
    """
    entries = []
    for rejected in sorted(table for table in platform.lakehouse.tables() if table.zone == "quarantine"):
        if platform.lakehouse.version(rejected) is not None:
            quarantine = Quarantine.of(platform, TableId("silver", rejected.domain, rejected.table))
            counts = {**quarantine.states(), "pending": len(quarantine.pending())}
            entries.append({"table": quarantine.name, **counts})
    return entries


def first_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    return ", ".join(names[:NAMES_LISTED]) + more


def _is_one_of(records: Collection[str]) -> Any:
    """The filter that keeps the rows of these record ids; of no ids, it keeps none."""
    import pyarrow as pa

    return text(RECORD_ID).isin(pa.array(list(records), pa.string()))


def _count_distinct(structs: Any, names: Sequence[str]) -> list[tuple[dict[str, Any], int]]:
    """Each combination of the fields `names` with the number of structs that have it, the most frequent first."""
    import pyarrow as pa

    table = pa.table({name: structs.field(name) for name in names})
    rows = table.group_by(list(names)).aggregate([([], "count_all")]).to_pylist()
    counts = [({name: row[name] for name in names}, row["count_all"]) for row in rows]
    return sorted(counts, key=lambda entry: (-entry[1], entry[0][names[0]]))
