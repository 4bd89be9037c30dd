"""The as-of join inside the embedded engine: an index of each feature table, which the spine streams past.

The rows of a feature table are held as Arrow data with, for each entity, the instants from which its rows are known, in
order. The engine hands the spine over batch by batch; a batch finds its entities by their hashes, and the last instant
of each by bisection. The spine is neither sorted nor moved, so its size does not matter.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from feature_repo.buckets import Buckets
from feature_repo.taken_rows import TakenRows
from pipelines.errors import EngineError

#: The module creates its functions as it is imported, where no type checker sees them.
pc: Any = pyarrow.compute

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

#: Columns of the rows that an index is made of: the hash of the key, or the key itself if it is one integer; the
#: timestamp and the instant of creation, microseconds since 1970.
HASH, AT, CREATED = "_asof_hash", "_asof_at", "_asof_created"
#: Rows of the spine that are completed at once.
BATCH_ROWS = 1 << 16


class HashCollision(Exception):
    """Two keys have one hash."""


@dataclass(frozen=True, slots=True)
class Index:
    """A feature table, ready to be asked.

    Attributes:
        hashes: The hash of each entity.
        known_from: For each entity the instants from which rows are known, in microseconds since 1970.
        rows: For each instant, the row of `values` that counts from there on.
        at: The timestamp of each row of `values`.
        keys: The key columns of each row by their names in the spine; none where the hash is the key.
        values: The columns of the result.
        ttl: Microseconds after which a row is too old; None for no limit.
    """

    hashes: Buckets
    known_from: Buckets
    rows: Integers
    at: Integers
    keys: pa.RecordBatch
    values: TakenRows
    ttl: int | None

    @classmethod
    def of(
        cls, rows: pa.Table, keys: Mapping[str, str], values: Sequence[str], *, by_creation: bool, ttl: int | None
    ) -> Index:
        """An index of feature rows.

        Args:
            rows: `HASH`, `AT`, `CREATED` (where rows have it), the keys and the values.
            keys: The key columns that are compared besides the hash, by their names in the spine.
            values: The columns of the result.
            by_creation: Whether a row is known from its creation, if that is later than its timestamp.
            ttl: Microseconds after which a row is too old.

        Raises:
            HashCollision: if two keys have one hash.
        """
        hashes, entities = _entities(rows[HASH])
        at = _integers(rows, AT)
        created = [_integers(rows, CREATED)] if CREATED in rows.column_names else []
        order = best = _in_order(rows, [entities, at, *created], values)
        known = np.maximum(at, *created) if by_creation else at
        if by_creation:
            rank = np.empty_like(order)
            rank[order] = np.arange(len(order))
            order = _sorted([entities, known, rank])
            # Ranks ascend by entity, so a running maximum never reaches from one entity into the next.
            best = best[np.maximum.accumulate(rank[order])]
        compared = _batch(rows.select(list(keys.values())).rename_columns(list(keys)))
        _require_one_key_per_hash(compared, order, entities[order])
        return cls(
            hashes=Buckets.of(hashes, np.zeros_like(hashes), 1),
            known_from=Buckets.of(known[order], entities[order], len(hashes)),
            rows=best,
            at=at,
            keys=compared,
            values=TakenRows.of(_batch(rows.select(values))),
            ttl=ttl,
        )

    def known(self, batch: pa.RecordBatch, hashes: pa.Array, at: Integers) -> pa.RecordBatch:
        """The values that are known to each row of a batch of the spine.

        Args:
            batch: The rows, with the key columns.
            hashes: The hash of each row's key; null for a row that gets no values.
            at: The instant of each row, in microseconds since 1970.
        """
        if not len(self.rows):
            return self.values.take(np.zeros_like(at), np.zeros(len(at), bool))
        wanted = hashes.fill_null(0).to_numpy()
        entity = np.maximum(self.hashes.positions(wanted, 0)[1] - 1, 0)
        usable = _valid(hashes) & (self.hashes.values.take(entity) == wanted)
        start, position = self.known_from.positions(at, entity)
        usable &= position > start
        row = self.rows.take(np.maximum(position - 1, 0))
        if self.ttl is not None:
            usable &= at - self.at.take(row) <= self.ttl
        for name in self.keys.schema.names:
            theirs = self.keys[name].take(pa.array(row))
            usable &= pc.equal(batch[name].cast(theirs.type), theirs).fill_null(False).to_numpy(zero_copy_only=False)
        return self.values.take(row, usable)


def _in_order(rows: pa.Table, by: Sequence[Integers], values: Sequence[str]) -> Integers:
    """The rows in the order of these columns; those that are equal in them by their values, nulls first."""
    order = _sorted(by)
    if len(order) < 2:
        return order
    equal = np.logical_and.reduce([column[order][1:] == column[order][:-1] for column in by])
    if not equal.any():
        return order
    places = np.flatnonzero(np.concatenate([[False], equal]) | np.concatenate([equal, [False]]))
    names = [name for name in values if not pa.types.is_nested(rows.schema.field(name).type)]
    several = rows.select(names).take(pa.array(order[places]))
    columns = [pa.chunked_array([column[order[places]]]) for column in by]
    for column in several.columns:
        columns += [column.is_valid().cast(pa.int8()), column]
    numbered = pa.table(columns, [str(place) for place in range(len(columns))])
    sorted_places = pc.sort_indices(numbered, sort_keys=[(name, "ascending") for name in numbered.column_names])
    order[places] = order[places][sorted_places.to_numpy()]
    return order


def _sorted(by: Sequence[Integers]) -> Integers:
    """The rows in the order of columns of integers, which are packed into one where it holds them all."""
    packed, width = np.zeros(len(by[0]), np.int64), 1
    for column in by if len(packed) else []:
        first, last = int(column.min()), int(column.max())
        width *= last - first + 1
        if width > np.iinfo(np.int64).max:
            return np.lexsort(tuple(reversed(by)))
        packed = packed * (last - first + 1) + (column - first)
    return np.argsort(packed)


def _entities(hashes: pa.ChunkedArray) -> tuple[Integers, Integers]:
    """The hashes, each once, ascending; and for each row the place of its hash among them."""
    encoded = hashes.combine_chunks().dictionary_encode()
    once = encoded.dictionary.to_numpy()
    order = np.argsort(once)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return once[order], places[encoded.indices.to_numpy()]


def _require_one_key_per_hash(keys: pa.RecordBatch, order: Integers, entities: Integers) -> None:
    """Raises HashCollision if rows of one entity, which are neighbours in `order`, have two keys."""
    same = entities[1:] == entities[:-1]
    for name in keys.schema.names:
        column = keys[name].take(pa.array(order))
        if (same & ~pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)).any():
            raise HashCollision


def _integers(rows: pa.Table, name: str) -> Integers:
    """A column of integers; null is before everything."""
    return rows[name].combine_chunks().fill_null(np.iinfo(np.int64).min).to_numpy()


def _valid(values: pa.Array) -> Booleans:
    if not values.null_count:
        return np.ones(len(values), bool)
    return values.is_valid().to_numpy(zero_copy_only=False)


def _batch(table: pa.Table) -> pa.RecordBatch:
    """The rows of a table in one piece."""
    return pa.RecordBatch.from_arrays(
        [pa.concat_arrays(c.chunks) if c.num_chunks else pa.array([], c.type) for c in table.columns],
        schema=table.schema,
    )


def _larger(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of at least `BATCH_ROWS`, and a last one of less: each step on a batch costs some time."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= BATCH_ROWS:
            yield pa.concat_batches(waiting)
            waiting = []
    if waiting:
        yield pa.concat_batches(waiting)


@dataclass(frozen=True, slots=True)
class Lookup:
    """One feature table in a join: its index, and the spine's column with the hash of its key."""

    index: Index
    hash: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Lookups:
    """What the engine calls: completes batches of the spine. It lives as long as its plan.

    Attributes:
        columns: The spine's columns.
        lookups: The feature tables.
    """

    columns: Sequence[str]
    lookups: Sequence[Lookup]

    def complete(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in _larger(batches):
            at = batch[AT].fill_null(0).to_numpy()
            parts = [batch.select(list(self.columns))]
            parts += [lookup.index.known(batch, batch[lookup.hash], at) for lookup in self.lookups]
            columns = [column for part in parts for column in part.columns]
            yield pa.RecordBatch.from_arrays(columns, [name for part in parts for name in part.schema.names])


_held: WeakValueDictionary[str, Lookups] = WeakValueDictionary()


def held(lookups: Lookups) -> str:
    """The name by which `complete` finds lookups, as long as the caller holds them."""
    name = uuid.uuid4().hex
    _held[name] = lookups
    return name


def complete(name: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Runs in the engine, which is in this process: completes batches of the spine."""
    lookups = _held.get(name)
    if lookups is None:
        raise EngineError(
            object="as-of join",
            observed="its DataFrame, which holds the index of the feature tables, is gone",
            expected="a plan that runs while its DataFrame, or one derived from it, is held",
            next_step="hold the DataFrame that as_of_join returned until its rows were read, even if a view names it",
        )
    return lookups.complete(batches)
