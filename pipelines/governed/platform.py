"""What every governed run works with: the engine, the lakehouse, landing, lineage and cost, opened on first use.

One `Platform` per process, shared by the assets of a run: one engine session, not one for each asset.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import clock
from pipelines.contracts.model import Contract
from pipelines.cost.prices import PriceSheet
from pipelines.landing.ledger import Ledger
from pipelines.landing.stores import open_store
from pipelines.landing.zone import Landing
from pipelines.lineage.events import Dataset, Field, LineageLog
from pipelines.settings import PROJECT, Settings
from pipelines.tables import TableId, TableVersion

if TYPE_CHECKING:
    from pipelines.engine.session import Engine
    from pipelines.lakehouse.base import Lakehouse

PRICES = PROJECT / "infra" / "prices.yaml"


class Platform:
    """The platform's parts for one home folder."""

    def __init__(self, settings: Settings, contracts: Callable[[], dict[TableId, Contract]]) -> None:
        self.settings = settings
        self._contracts = contracts
        self.landing = Landing(open_store(settings))
        self.lineage = LineageLog(settings)

    @functools.cached_property
    def contracts(self) -> dict[TableId, Contract]:
        return self._contracts()

    @functools.cached_property
    def engine(self) -> Engine:
        from pipelines.engine.session import Engine

        settings = self.settings
        return Engine.start(
            settings.engine,
            home=settings.root,
            remote=settings.spark_remote,
            master=settings.spark_master,
            threads=settings.engine_threads,
            jars_dir=settings.jars_dir,
        )

    @functools.cached_property
    def lakehouse(self) -> Lakehouse:
        from pipelines.lakehouse.embedded import EmbeddedLakehouse
        from pipelines.lakehouse.spark import SparkLakehouse

        kind = SparkLakehouse if self.settings.engine == "spark" else EmbeddedLakehouse
        return kind(root=self.settings.lakehouse, engine=lambda: self.engine, locks=self.settings.root / "locks")

    @functools.cached_property
    def prices(self) -> PriceSheet:
        return PriceSheet.load(self.settings.prices or PRICES)

    def now(self) -> datetime:
        """The platform's time, UTC."""
        return clock.now(self.settings)

    @property
    def folders(self) -> list[Path]:
        """Where runs write on this machine; each may be a disk of its own."""
        settings = self.settings
        return [Path(settings.lakehouse), settings.landing, settings.root, Path(tempfile.gettempdir())]

    def ledger(self, table: TableId) -> Ledger:
        return Ledger(Path(self.settings.lakehouse) / "_ledger" / f"{table.source_name}.db")

    def data_class(self, table: TableId) -> str:
        """The declared protection of a table, for a quarantine its table's; the platform's own are internal."""
        declared = TableId("silver", table.domain, table.table) if table.zone == "quarantine" else table
        contract = self.contracts.get(declared)
        return contract.tags["data_class"] if contract else "internal"

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
        """Where it is written down what a table was last derived from."""
        return Path(self.settings.lakehouse) / "_ledger" / f"{table.source_name}.json"

    def close(self) -> None:
        """Stops the engine, if it was started."""
        engine = self.__dict__.pop("engine", None)
        if engine is not None:
            engine.stop()
