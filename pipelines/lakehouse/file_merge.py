"""A merge by key that writes anew only the files in which a row is replaced.

The keys of the row groups whose statistics can hold a new key are read, Arrow leaves out the rows that cannot match,
and the conditions of the merge decide about the others. A row that is replaced stays in its file, so rows that lie
together stay together. New keys join the smallest file, or begin one if no file is small. A large file that is written
anew becomes several, so that later merges write less.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.lakehouse.staging import Merge, Staged, StagedFile
from pipelines.tables import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from deltalake import CommitProperties, DeltaTable

#: A merge of at most this many rows holds them in memory.
HELD_ROWS = 1_000_000
#: A file that is written anew becomes several of about this size.
FILE_BYTES = 16 * 2**20
#: A file of fewer bytes is small: it takes new keys, so that many merges leave few files.
SMALL_BYTES = FILE_BYTES // 2
#: The rows of a row group, which are held in memory at once.
GROUP_ROWS = 64 * 1024
#: Files that are read or written at once.
THREADS = 2
#: What texts are trimmed by to compare them roughly; more than any condition trims.
_SPACE = "".join(map(chr, range(33)))
#: The columns of rows that may match: the number of the file, the place in it, the place among the new rows.
_FILE, _ROW, _NEW = "_set_0", "_set_1", "_set_2"


@dataclass(frozen=True, slots=True)
class Merged:
    """The files of a table that a merge replaces, and those that replace them."""

    removed: tuple[Path, ...]
    added: tuple[StagedFile, ...]


def merge(files: Sequence[Path], schema: pa.Schema, staged: Staged, write: Merge) -> Merged:
    """Merges staged rows, which are held in memory; writes files beside them.

    Args:
        files: The files of the table.
        schema: The columns of the table.
        staged: The new rows.
        write: How they are merged.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    paths = [str(file.path) for file in staged.files]
    new = _conformed(ds.dataset(paths, schema=staged.schema, format="parquet").to_table(), schema)
    places = pa.array(range(new.num_rows), pa.int64())
    compared = list(dict.fromkeys([*write.key, *write.compared]))
    keys = new.select(compared).append_column(_NEW, places)
    with ThreadPoolExecutor(THREADS) as threads:
        wanted = {name: _rough(keys[name].combine_chunks()) for name in write.key}
        ranged = [name for name in write.key if _is_ranged(schema.field(name).type)]
        ranges = {name: sorted(keys[name].to_pylist()) for name in ranged}
        search = functools.partial(_candidates, wanted, ranges, pa.schema([schema.field(name) for name in compared]))
        matches = _matches(pa.concat_tables(threads.map(search, range(len(files)), files)), keys, write, staged.folder)
        replaced: dict[int, list[int]] = defaultdict(list)
        added: dict[int, list[int]] = defaultdict(list)
        for match in matches:
            if match["wins"]:
                replaced[match[_FILE]].append(match[_ROW])
                added[match[_FILE]].append(match[_NEW])
        inserted = sorted(set(range(new.num_rows)) - {match[_NEW] for match in matches})
        sizes = {number: path.stat().st_size for number, path in enumerate(files)}
        small = [number for number, size in sizes.items() if size < SMALL_BYTES]
        if inserted:
            added[min(small, key=sizes.__getitem__, default=-1)] += inserted

        def rewrite(number: int) -> list[StagedFile]:
            path = files[number] if number >= 0 else None
            rows = new.take(added[number])
            return _write(path, sorted(replaced[number]), rows, schema, staged.folder / f"merged_{number}")

        written = [file for part in threads.map(rewrite, list(added)) for file in part]
    return Merged(tuple(files[number] for number in added if number >= 0), tuple(written))


def merge_streamed(current: DeltaTable, staged: Staged, write: Merge, properties: CommitProperties) -> None:
    """Commits a merge of any number of rows by delta-rs, which reads and writes the whole table."""
    import pyarrow.dataset as ds

    files = [str(file.path) for file in staged.files]
    rows = ds.dataset(files, schema=staged.schema, format="parquet").scanner().to_reader()
    (
        current.merge(
            rows,
            write.same_key,
            source_alias="new",
            target_alias="old",
            streamed_exec=True,
            commit_properties=properties,
        )
        .when_matched_update_all(write.newcomer_wins)
        .when_not_matched_insert_all()
        .execute()
    )


def _conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with these columns and their types; a column that they lack is null."""
    import pyarrow as pa

    known = set(rows.column_names)
    columns = [rows[f.name].cast(f.type) if f.name in known else pa.nulls(rows.num_rows, f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _candidates(
    wanted: Mapping[str, pa.Array], ranges: Mapping[str, list[Any]], schema: pa.Schema, number: int, path: Path
) -> pa.Table:
    """The rows of a file that may have one of the keys: their values of the schema's columns, and their places.

    Args:
        wanted: The values of each column of the key, as `_rough` returns them.
        ranges: Of the columns whose statistics are compared, the values in their order.
        schema: The columns to read.
        number: Of the file.
        path: Of the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = list(wanted)
    found = [schema.empty_table().append_column(_ROW, pa.array([], pa.int64()))]
    with pq.ParquetFile(path) as file:
        first = 0
        for group in range(file.num_row_groups):
            metadata = file.metadata.row_group(group)
            if _may_hold(metadata, ranges):
                rows = file.read_row_group(group, columns=key)
                places = _matching(_conformed(rows, pa.schema([schema.field(name) for name in key])), wanted)
                if len(places):
                    present = [name for name in schema.names if name in file.schema_arrow.names]
                    rows = _conformed(file.read_row_group(group, columns=present).take(places), schema)
                    found.append(rows.append_column(_ROW, pa.array(places.to_numpy() + first, pa.int64())))
            first += metadata.num_rows
    rows = pa.concat_tables(found)
    return rows.append_column(_FILE, pa.array([number] * rows.num_rows, pa.int64()))


def _is_ranged(kind: pa.DataType) -> bool:
    """Whether values of a type are compared as the statistics of Parquet files order them."""
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_date(kind)


def _may_hold(group: pq.RowGroupMetaData, ranges: Mapping[str, list[Any]]) -> bool:
    """Whether a row group can hold one of these values, which are sorted, in each of the columns."""
    for place in range(group.num_columns):
        column = group.column(place)
        values, statistics = ranges.get(column.path_in_schema), column.statistics
        if values and statistics is not None and statistics.has_min_max:
            above = bisect.bisect_left(values, statistics.min)
            if above == len(values) or values[above] > statistics.max:
                return False
    return True


def _rough(texts: pa.Array | pa.ChunkedArray) -> Any:
    """Values whose texts are equal without case and space, if the conditions may take them for equal."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its functions are created at import, which the type checker does not see
    return pc.utf8_lower(pc.utf8_trim(texts, _SPACE)) if pa.types.is_string(texts.type) else texts


def _matching(rows: pa.Table, wanted: Mapping[str, pa.Array]) -> Any:
    """The places of the rows that may have one of the wanted values in each column.

    Texts of other letters than ASCII may, since engines have their own rules for their case; floating-point numbers
    may, since those for NaN and signed zeros differ.
    """
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its functions are created at import, which the type checker does not see
    tests = [pa.array([True] * rows.num_rows)]
    for name, values in wanted.items():
        column = rows[name].combine_chunks()
        if pa.types.is_floating(column.type):
            continue
        test = pc.is_in(_rough(column), value_set=values)
        tests.append(pc.or_(test, pc.invert(pc.string_is_ascii(column))) if pa.types.is_string(column.type) else test)
    return pc.indices_nonzero(functools.reduce(pc.and_, tests))


def _matches(old: pa.Table, new: pa.Table, write: Merge, folder: Path) -> list[dict[str, Any]]:
    """Which old row has the key of which new row, and whether the new one `wins`, by the conditions of the merge."""
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder, write_deltalake

    if not old.num_rows:
        return []
    dialect = {"datafusion.sql_parser.dialect": "MySQL", "datafusion.sql_parser.enable_ident_normalization": "false"}
    query = QueryBuilder(dialect)  # quotes names as `quoted` does
    for alias, rows in (("old", old), ("new", new)):
        write_deltalake(str(folder / alias), rows)
        query.register(alias, DeltaTable(str(folder / alias)))
    places = ", ".join(map(quoted, (_FILE, _ROW, _NEW)))
    wins = f"coalesce({write.newcomer_wins}, false) AS wins"
    return pa.table(query.execute(f"SELECT {places}, {wins} FROM old JOIN new ON {write.same_key}")).to_pylist()


def _write(
    path: Path | None, replaced: Sequence[int], added: pa.Table, schema: pa.Schema, folder: Path
) -> list[StagedFile]:
    """Writes the rows of a file that are not replaced, and the added ones, to files in a folder."""
    import pyarrow.parquet as pq

    folder.mkdir()
    if path is None:
        return _write_files(iter([added]), added.num_rows, folder)
    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows - len(replaced) + added.num_rows
        rows_per_file = math.ceil(rows / max(1, round(path.stat().st_size / FILE_BYTES)))
        kept = _kept(file.iter_batches(batch_size=min(GROUP_ROWS, rows_per_file)), replaced, schema)
        return _write_files(itertools.chain(kept, [added]), rows_per_file, folder)


def _kept(batches: Iterable[pa.RecordBatch], replaced: Sequence[int], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a file without those at these places, which are sorted."""
    import numpy as np
    import pyarrow as pa

    first = 0
    for batch in batches:
        begin, end = (bisect.bisect_left(replaced, place) for place in (first, first + batch.num_rows))
        rows = _conformed(pa.Table.from_batches([batch]), schema)
        if begin < end:
            stays = np.ones(batch.num_rows, dtype=bool)
            stays[np.array(replaced[begin:end]) - first] = False
            rows = rows.filter(pa.array(stays))
        yield rows
        first += batch.num_rows


def _write_files(tables: Iterator[pa.Table], rows_per_file: int, folder: Path) -> list[StagedFile]:
    """Writes each table as a row group, and begins a new file once one has so many rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files: list[StagedFile] = []
    for first in tables:
        path, rows = folder / f"{len(files)}.parquet", 0
        texts = [field.name for field in first.schema if pa.types.is_string(field.type)]
        options: dict[str, Any] = {"use_dictionary": texts, "compression": "zstd", "store_decimal_as_integer": True}
        with pq.ParquetWriter(path, first.schema, **options) as writer:
            for table in itertools.chain([first], tables):
                writer.write_table(table, row_group_size=max(table.num_rows, 1))
                rows += table.num_rows
                if rows >= rows_per_file:
                    break
        files.append(StagedFile(path, {}, rows, path.stat().st_size))
    return [file for file in files if file.rows]
