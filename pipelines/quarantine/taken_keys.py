"""Which corrections give a row the key of another row, so that one of the two would take the place of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from pipelines.quarantine.decisions import Decision, EffectiveDecisions
from pipelines.tables import PARTITION, RECORD_ID, quoted
from pipelines.verdict import keys, verdict

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from pipelines.quarantine.table import Quarantine

#: A column that tells the row that has the key from the one that is corrected.
_HOLDER = "_holder"


def taken_keys(quarantine: Quarantine, corrections: Mapping[str, Decision]) -> dict[str, str]:
    """The corrected records whose key changes to that of another row, and the record id of that row.

    The other row is a clean row of the table (in a table by days, of the same day), or another corrected row. A key
    that the table's transform computes is not known before the rows are judged.

    Args:
        quarantine: The quarantine of the table.
        corrections: Record id to the correction, with all values that would count.
    """
    contract = quarantine.platform.contracts[quarantine.silver]
    sources = {contract.column(name).source for name in contract.key_columns}
    named = {record_id: d for record_id, d in corrections.items() if sources & {*d.values}}
    if not named or None in sources:
        return {}
    house = quarantine.platform.lakehouse
    version = house.version(quarantine.silver)
    by_day = version is not None and PARTITION in house.columns(quarantine.silver)
    before, after = (_keys(quarantine, [*named], decisions) for decisions in (quarantine.in_effect.by_record, named))
    same_key = keys.same(contract, contract.key_columns)
    changed = after.alias("new").join(before.alias("old"), _all(f"old.{RECORD_ID} = new.{RECORD_ID}", same_key), "anti")
    columns = [*map(quoted, contract.key_columns), RECORD_ID]
    holders = changed.select(*columns, PARTITION)
    if version is not None:
        clean = house.read(house.current(quarantine.silver)).select(*columns, *([PARTITION] if by_day else []))
        holders = holders.unionByName(clean, allowMissingColumns=True)
    conditions = [same_key, f"old.{RECORD_ID} <> new.{RECORD_ID}"]
    conditions += [f"old.{PARTITION} = new.{PARTITION}"] if by_day else []
    taken = changed.alias("new").join(holders.alias("old"), _all(*conditions))
    rows = taken.selectExpr(f"new.{RECORD_ID} AS {RECORD_ID}", f"old.{RECORD_ID} AS {_HOLDER}").toArrow().to_pylist()
    return {row[RECORD_ID]: row[_HOLDER] for row in sorted(rows, key=lambda row: (row[RECORD_ID], row[_HOLDER]))}


def _keys(quarantine: Quarantine, records: Sequence[str], decisions: Mapping[str, Decision]) -> DataFrame:
    """The keys of these records' rows as the decisions make them, with record id and partition."""
    from pyspark.sql import functions as F

    platform = quarantine.platform
    contract = platform.contracts[quarantine.silver]
    raw = platform.lakehouse.read(platform.lakehouse.current(quarantine.bronze))
    corrected = EffectiveDecisions(decisions).apply(raw.where(F.col(RECORD_ID).isin(*records)))
    typed = verdict.typed(corrected, contract, platform.settings.engine)
    return typed.select(*map(quoted, contract.key_columns), RECORD_ID, PARTITION)


def _all(*conditions: str) -> Column:
    from pyspark.sql import functions as F

    return reduce(lambda a, b: a & b, map(F.expr, conditions))
