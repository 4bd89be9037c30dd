"""Two small tables on disk, and versions of them in which one column is changed.

They show whether a lineage is right: a column that it does not name can be changed without changing the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from pipelines.lineage.column_lineage import ColumnLineage, Transformation, Unknown, column_lineage

FLIGHTS, PLANES = "silver/flights/flights", "silver/flights/planes"
TABLES: dict[str, dict[str, list[Any]]] = {
    FLIGHTS: {
        "tail": ["N1", "N2", "N2", "N3", None, "N4", "N1", "N9"],
        "carrier": ["UA", "UA", "DL", "DL", "AA", "AA", "UA", "WN"],
        "delay": [3.0, -1.0, 12.5, None, 40.0, 8.0, 3.0, 0.5],
        "miles": [200, 1400, 760, 760, 90, None, 2475, 1096],
    },
    PLANES: {
        "tail": ["N1", "N2", "N3", "N5", "N9"],
        "seats": [178, 55, None, 20, 142],
        "maker": ["Boeing", "Embraer", "Airbus", "Boeing", None],
    },
}
READ = Callable[[str], DataFrame]
PLAN = Callable[[READ], DataFrame]
ID: Transformation = "identity"
TR: Transformation = "transformation"
AG: Transformation = "aggregation"


def changed(values: Sequence[Any]) -> list[Any]:
    """Returns other values of the same type: moved to other rows, new, or missing."""
    rotated = [*values[1:], values[0]]
    new = [v if v is None or i % 3 else f"{v}'" if isinstance(v, str) else v * 3 + 1 for i, v in enumerate(rotated)]
    return [*new[:-1], None]


COLUMNS = [(dataset, column) for dataset, table in TABLES.items() for column in table]


def write_versions(folder: Path) -> None:
    """Writes the tables as they are, and once more for each column, with only that column changed."""
    for changed_column in (None, *COLUMNS):
        for dataset, table in TABLES.items():
            path = table_path(folder, changed_column, dataset)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = {n: changed(v) if (dataset, n) == changed_column else v for n, v in table.items()}
            types = {name: pa.array(values).type for name, values in table.items()}
            pq.write_table(pa.table({n: pa.array(v, types[n]) for n, v in rows.items()}), path)


def table_path(folder: Path, changed_column: tuple[str, str] | None, dataset: str) -> Path:
    return folder / "-".join(changed_column or ("all",)).replace("/", "_") / f"{dataset}.parquet"


class Versions:
    """The versions of the tables in a folder, as one engine reads them."""

    def __init__(self, session: SparkSession, folder: Path) -> None:
        self.session, self.folder = session, folder

    def build(self, plan: PLAN, changed_column: tuple[str, str] | None = None) -> DataFrame:
        return plan(lambda dataset: self.session.read.parquet(str(table_path(self.folder, changed_column, dataset))))

    def lineage(self, plan: PLAN) -> ColumnLineage:
        inputs = {str(table_path(self.folder, None, dataset)): dataset for dataset in TABLES}
        return column_lineage(self.build(plan), inputs)

    def values(self, plan: PLAN, changed_column: tuple[str, str] | None = None) -> dict[str, list[Any]]:
        """The values of each column, sorted column by column: rows come in any order."""
        df = self.build(plan, changed_column)
        rows = [[round(v, 6) if isinstance(v, float) else v for v in row] for row in df.collect()]
        return {name: sorted((row[at] for row in rows), key=repr) for at, name in enumerate(df.columns)}


def assert_complete(tables: Versions, plan: PLAN) -> None:
    """Asserts that changing a source column changes no column that the lineage does not derive from it."""
    lineage, before = tables.lineage(plan), tables.values(plan)
    assert not lineage.indirect_unknown
    deciding = {(column.dataset, column.column) for column in lineage.indirect}
    for source in set(COLUMNS) - deciding:
        untouched = {
            name
            for name, sources in lineage.columns.items()
            if not isinstance(sources, Unknown) and source not in {(s.dataset, s.column) for s in sources}
        }
        after = tables.values(plan, source) if untouched else {}
        for name in untouched:
            assert after[name] == before[name], f"{name} depends on {source}, the lineage says {lineage.columns[name]}"


def assert_identities(tables: Versions, plan: PLAN) -> None:
    """Asserts that a column whose sources are all identities holds no value that the sources do not hold."""
    values = tables.values(plan)
    for name, sources in tables.lineage(plan).columns.items():
        if not isinstance(sources, Unknown) and sources and all(s.transformation == "identity" for s in sources):
            held = {v for s in sources for v in TABLES[s.dataset][s.column]} | {None}
            assert set(values[name]) <= held, f"{name} is not a copy of {sources}"


def direct(lineage: ColumnLineage) -> dict[str, set[tuple[str, str]] | str]:
    """Returns `f.delay` and the transformation for each source of a column, or the reason if it is unknown."""
    short = {FLIGHTS: "f", PLANES: "p"}
    return {
        name: sources.reason
        if isinstance(sources, Unknown)
        else {(f"{short[source.dataset]}.{source.column}", source.transformation) for source in sources}
        for name, sources in lineage.columns.items()
    }


def indirect(lineage: ColumnLineage) -> set[tuple[str, str]]:
    short = {FLIGHTS: "f", PLANES: "p"}
    return {(f"{short[column.dataset]}.{column.column}", column.effect) for column in lineage.indirect}
