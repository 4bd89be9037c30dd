"""What every governed run works with: the engine, the lakehouse, the landing zone, lineage and prices.

All assets of a process share one `Platform`, and so one engine session. The engine, the lakehouse and the price sheet
are opened on first use.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import clock
from pipelines.contracts.model import Contract
from pipelines.cost.prices import PriceSheet
from pipelines.errors import DefinitionError, GoldpathError
from pipelines.landing.ledger import Ledger
from pipelines.landing.stores import open_store
from pipelines.landing.zone import Landing
from pipelines.lineage.events import Dataset, Field, LineageLog
from pipelines.policy.rules import ColumnClasses
from pipelines.settings import PROJECT, Settings
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    from pipelines.engine.session import Engine
    from pipelines.lakehouse.base import Lakehouse

PRICES = PROJECT / "infra" / "prices.yaml"


class Platform:
    """The parts of the platform, for one home folder.

    Args:
        settings: Names the home folder, the engine and the stores.
        contracts: Loads all contracts, by table; called on first use.
        broken: Returns the error of each domain that does not load, by the domain's name.
    """

    def __init__(
        self,
        settings: Settings,
        contracts: Callable[[], dict[TableId, Contract]],
        broken: Callable[[], Mapping[str, GoldpathError]] = dict,
    ) -> None:
        self.settings = settings
        self.broken = broken
        self._load_contracts = contracts
        self.landing = Landing(open_store(settings))
        self.lineage = LineageLog(settings)

    @functools.cached_property
    def contracts(self) -> dict[TableId, Contract]:
        """Every contract, by table."""
        return self._load_contracts()

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine that computes tables, started on first use."""
        from pipelines.engine.session import Engine

        settings = self.settings
        return Engine.start(
            settings.engine,
            home=settings.root,
            remote=settings.spark_remote.get_secret_value() if settings.spark_remote else None,
            master=settings.spark_master,
            threads=settings.engine_threads,
            jars_dir=settings.jars_dir,
            open_port=settings.engine_port,
        )

    @functools.cached_property
    def lakehouse(self) -> Lakehouse:
        """The tables, as the chosen engine reads and writes them."""
        from pipelines.lakehouse.embedded import EmbeddedLakehouse
        from pipelines.lakehouse.spark import SparkLakehouse

        kind = SparkLakehouse if self.settings.engine == "spark" else EmbeddedLakehouse
        return kind(root=self.settings.lakehouse, engine=lambda: self.engine, locks=self.settings.root / "locks")

    @functools.cached_property
    def prices(self) -> PriceSheet:
        """The price sheet of GOLDPATH_PRICES, else the repository's."""
        return PriceSheet.load(self.settings.prices or PRICES)

    def now(self) -> datetime:
        """The platform's time, UTC."""
        return clock.now(self.settings)

    @property
    def folders(self) -> list[Path]:
        """The folders of this machine in which runs write; each may be on a disk of its own."""
        settings = self.settings
        return [Path(settings.lakehouse), settings.landing, settings.root, Path(tempfile.gettempdir())]

    def ledger(self, table: TableId) -> Ledger:
        """The ledger of a bronze table: which deliveries it took, in which batch."""
        return Ledger(Path(self.settings.lakehouse) / "_ledger" / f"{table.source_name}.db")

    def data_class(self, table: TableId) -> str:
        """The data class of a table: the tag of its contract, for a quarantine that of its silver table.

        The platform's own tables have no contract; they are `internal`.
        """
        contract = self.contracts.get(_declared(table))
        return contract.tags["data_class"] if contract else "internal"

    def column_classes(self, table: TableId) -> ColumnClasses:
        """The data classes of a table's columns; a quarantine holds whole rows, so each of its columns has the highest.

        A column that keeps texts which a type cannot hold has the class of the column of that type.
        """
        contract = self.contracts.get(_declared(table))
        columns = {} if contract is None else {c.name: contract.data_class(c.name) for c in contract.columns}
        if contract is not None:
            columns |= {c.variant: columns[c.name] for c in contract.columns}
        classes = ColumnClasses(columns, self.data_class(table))
        return ColumnClasses({}, classes.highest) if table.zone == "quarantine" else classes

    def require_loaded(self, asset: str, table: TableId) -> None:
        """Raises DefinitionError if the domain of a table that an asset reads does not load, or lacks the table."""
        error = self.broken().get(table.domain)
        if error is not None:
            raise DefinitionError(
                object=f"asset {asset} reads {table}",
                observed=f"the domain {table.domain} does not load: {error.object}: {error.observed}",
                expected="a domain that loads, since its contract says what may be done with the table",
                next_step=error.next_step,
            )
        if table.zone != "ops" and _declared(table) not in self.contracts:
            raise DefinitionError(
                object=f"asset {asset} reads {table}",
                observed="no contract declares it: its domain, or its contract, was removed",
                expected="a declared table, since its contract says what may be done with it",
                next_step=f"restore assets/{table.domain}, or take the input out of {asset}",
            )

    def dataset(self, at: TableVersion, *, rows: int | None = None) -> Dataset:
        """A table version as lineage shows it."""
        contract = self.contracts.get(at.table)
        fields = tuple(Field(c.name, c.type, c.description) for c in contract.columns) if contract else ()
        return Dataset(
            name=str(at.table),
            version=str(at.version),
            owner=contract.owner if contract else None,
            fields=fields,
            rows=rows,
            bytes=self.lakehouse.snapshot(at).bytes,
        )

    def note_path(self, table: TableId) -> Path:
        """The file that records what a table was last derived from."""
        return Path(self.settings.lakehouse) / "_ledger" / f"{table.source_name}.json"

    def close(self) -> None:
        """Stops the engine, if it was started."""
        engine = self.__dict__.pop("engine", None)
        if engine is not None:
            engine.stop()


def _declared(table: TableId) -> TableId:
    """The table whose contract describes a table: of a quarantine that is its silver table."""
    return TableId("silver", table.domain, table.table) if table.zone == "quarantine" else table
