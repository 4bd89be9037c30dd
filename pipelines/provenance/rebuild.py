"""Rebuilding a version of a gold table from exactly the input versions that it was made from.

The transform is that of the current checkout. The inputs are read as of the versions that the table's commit, or a
model's run record, names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import NotFoundError
from pipelines.lakehouse import time_travel
from pipelines.lakehouse.content_digest import content_digest
from pipelines.medallion.gold import Derivation, derivation_of
from pipelines.models import run_record
from pipelines.provenance import pins
from pipelines.settings import PROJECT
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.governed.platform import Platform


@dataclass(frozen=True, slots=True)
class Request:
    """What to rebuild.

    Attributes:
        at: The version to rebuild.
        inputs: Parameter name of the transform to the input version.
        code_version: The code that made the version; None if only its commit was read, which does not name it.
    """

    at: TableVersion
    inputs: Mapping[str, TableVersion]
    code_version: str | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How a rebuilt version compares with the stored one.

    Attributes:
        request: What was rebuilt.
        rows: The number of stored rows.
        rebuilt_rows: The number of rebuilt rows.
        digest: A digest of the stored rows, whatever their order.
        rebuilt_digest: The same of the rebuilt rows.
        same_order: Whether the rows are in the same order too; engines that compute in parallel may change it.
        code_now: The code that rebuilt the version.
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
        """Whether both have the same rows, bit for bit and nulls as nulls, whatever their order."""
        return (self.rows, self.digest) == (self.rebuilt_rows, self.rebuilt_digest)


def request_for_version(platform: Platform, at: TableVersion) -> Request:
    """The request to rebuild a table version from the inputs that its own commit names.

    Raises:
        NotFoundError: if the commit names no inputs, or is no longer in the table's log.
    """
    commit = time_travel.made_by(time_travel.commits(platform.lakehouse, at.table), at)
    if commit is None or commit.inputs is None:
        raise NotFoundError(
            object=f"inputs of {at}",
            observed="its commit names none" if commit else "the table's log does not hold its commit",
            expected="a version that a run of the table's asset made",
            next_step=f"choose one of `goldpath tables history {at.table}` that has inputs",
        )
    return Request(at, commit.inputs)


def request_for_model(platform: Platform, name: str, version: int) -> Request:
    """The request to rebuild the training set of a registered model from the inputs that its run record names.

    Raises:
        NotFoundError: if there is no such model version, or its record names no gold table together with its inputs.
    """
    records = pins.run_records(platform)
    record = next((record for key, record in records if key == f"{name}@{version}"), None)
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
            derivation = derivation_of(table)
        except NotFoundError:
            continue
        read = {parameter: source for parameter, source in derivation.inputs.items() if source in versions}
        if derivation.reads(read) and {table, *read.values()} == versions.keys():
            pinned = {parameter: TableVersion(source, versions[source]) for parameter, source in read.items()}
            return Request(TableVersion(table, number), pinned, record.code_version)
    raise NotFoundError(
        object=f"training set of {name}@{version}",
        observed=f"its record names {', '.join(map(str, versions))}",
        expected="a gold table together with all of its inputs",
        next_step="train the model again: its record is not complete",
    )


def rebuild(platform: Platform, request: Request, *, output: Path | None = None) -> Rebuilt:
    """Computes a version again and compares every row with the stored one.

    Args:
        platform: Where the tables are.
        request: What to rebuild.
        output: A Parquet file to write the rebuilt rows to, whether they are equal or not.

    Raises:
        NotFoundError: naming what is gone, if the stored version or an input cannot be read; or if the table is no gold
            table, or its transform reads other tables now.
    """
    house, derivation = platform.lakehouse, derivation_of(request.at.table)
    _require_inputs(platform, request, derivation)
    house.snapshot(request.at).require_readable()
    rows, columns = derivation.rows({name: house.read(at) for name, at in request.inputs.items()})
    stored = house.snapshot(request.at).arrow()
    rebuilt = _in_stored_types(rows.select(*columns).toArrow(), stored)
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


def _require_inputs(platform: Platform, request: Request, derivation: Derivation) -> None:
    """Raises NotFoundError if the transform reads other tables now, or an input version is gone."""
    tables = {name: at.table for name, at in request.inputs.items()}
    if not derivation.reads(tables):
        raise NotFoundError(
            object=f"inputs of {request.at}",
            observed=f"the transform reads {', '.join(map(str, derivation.inputs.values()))} now",
            expected=f"{', '.join(map(str, tables.values()))}, as when it was made",
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


def _in_stored_types(rebuilt: pa.Table, stored: pa.Table) -> pa.Table:
    """The rebuilt rows, cast to the stored types; unchanged if the columns differ, so that they compare unequal."""
    if set(rebuilt.column_names) != set(stored.column_names):
        return rebuilt
    return rebuilt.select(stored.column_names).cast(stored.schema)
