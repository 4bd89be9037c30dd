"""A published version of a gold table, computed once more from exactly the versions that it was made from.

The transform is the checkout's; the inputs are read as of the versions that the commit, or a model's run record, names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import NotFoundError
from pipelines.lakehouse import time_travel
from pipelines.lakehouse.content_digest import content_digest
from pipelines.medallion.gold import Derivation, derivation
from pipelines.models import run_record
from pipelines.provenance import pins
from pipelines.settings import PROJECT
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.governed.platform import Platform


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be rebuilt: a version, its inputs by parameter name, and the code that made it, if known."""

    at: TableVersion
    inputs: Mapping[str, TableVersion]
    code_version: str | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How a rebuilt version compares with the stored one.

    Attributes:
        same_content: Every row with every value, bit for bit and nulls as nulls, in whatever order.
        same_order: The rows lie in the same order too; engines that compute in parallel need not keep one.
        digest: Of the stored version's content, order apart.
        rebuilt_digest: Of the rebuilt content.
        code_version: The code that made the stored version; None where only the commit was asked.
        code_now: The code that rebuilt it.
    """

    request: Request
    rows: int
    rebuilt_rows: int
    digest: str
    rebuilt_digest: str
    same_order: bool
    code_now: str

    @property
    def same_content(self) -> bool:
        return (self.rows, self.digest) == (self.rebuilt_rows, self.rebuilt_digest)


def of_version(platform: Platform, at: TableVersion) -> Request:
    """What the version's own commit names; raises NotFoundError if it names nothing."""
    commit = time_travel.made_by(time_travel.commits(platform.lakehouse, at.table), at)
    if commit is None or commit.inputs is None:
        raise NotFoundError(
            object=f"inputs of {at}",
            observed="its commit names none" if commit else "the table's log does not hold its commit",
            expected="a version that a run of the table's asset made",
            next_step=f"choose one of `goldpath tables history {at.table}` that has inputs",
        )
    return Request(at, commit.inputs)


def of_model(platform: Platform, name: str, version: int) -> Request:
    """The training set that a registered model's run record names, with the inputs that it names.

    Raises:
        NotFoundError: for no such model, or a record without a training set that can be derived.
    """
    record = next((found for key, found in pins.records(platform) if key == f"{name}@{version}"), None)
    if record is None:
        raise NotFoundError(
            object=f"model {name}@{version}",
            observed="the registry has no such version",
            expected="a registered version",
            next_step="look in MLflow for its name and versions",
        )
    versions = {TableId.parse(table): number for table, number in record.dataset_versions.items()}
    for table, number in versions.items():
        try:
            inputs = derivation(table).inputs
        except NotFoundError:
            continue
        if set(inputs.values()) <= set(versions):
            named = {name: TableVersion(source, versions[source]) for name, source in inputs.items()}
            return Request(TableVersion(table, number), named, record.code_version)
    raise NotFoundError(
        object=f"training set of {name}@{version}",
        observed=f"its record names {', '.join(map(str, versions))}",
        expected="a gold table together with all of its inputs",
        next_step="train the model again: its record is not complete",
    )


def rebuild(platform: Platform, request: Request, *, output: Path | None = None) -> Rebuilt:
    """Computes the version again and compares every row with the stored one.

    Args:
        request: What to rebuild.
        output: Parquet file for the rebuilt rows, whether they are equal or not.

    Raises:
        NotFoundError: if the stored version or one of the inputs is gone; it says which.
    """
    house, how = platform.lakehouse, derivation(request.at.table)
    _require_inputs(platform, request, how)
    house.snapshot(request.at).require_readable()
    rows, columns = how.rows({name: house.read(at) for name, at in request.inputs.items()})
    stored = house.snapshot(request.at).arrow()
    rebuilt = _alike(rows.select(*columns).toArrow(), stored)
    if output is not None:
        import pyarrow.parquet as pq

        pq.write_table(rebuilt, output, compression="zstd")
    return Rebuilt(
        request=request,
        rows=stored.num_rows,
        rebuilt_rows=rebuilt.num_rows,
        digest=content_digest(stored),
        rebuilt_digest=content_digest(rebuilt),
        same_order=content_digest(stored, order="as stored") == content_digest(rebuilt, order="as stored"),
        code_now=run_record.code_version(PROJECT)[0],
    )


def _require_inputs(platform: Platform, request: Request, how: Derivation) -> None:
    read = {name: at.table for name, at in request.inputs.items()}
    if read != dict(how.inputs):
        raise NotFoundError(
            object=f"inputs of {request.at}",
            observed=f"the transform reads {', '.join(map(str, how.inputs.values()))} now",
            expected=f"{', '.join(map(str, read.values()))}, as when it was made",
            next_step="check out the code that made it, then rebuild",
        )
    gone = [str(at) for at in request.inputs.values() if not time_travel.is_readable(platform.lakehouse, at)]
    if gone:
        raise NotFoundError(
            object=f"inputs of {request.at}",
            observed=f"gone: {', '.join(gone)}",
            expected="every recorded input version; those that a registered model names are kept",
            next_step="restore them from a backup, or rebuild a newer version",
        )


def _alike(rebuilt: pa.Table, stored: pa.Table) -> pa.Table:
    """The rebuilt rows in the stored types; as they are where the columns differ, so that they compare unequal."""
    if set(rebuilt.column_names) != set(stored.column_names):
        return rebuilt
    return rebuilt.select(stored.column_names).cast(stored.schema)
