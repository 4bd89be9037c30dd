"""Silver tables: typed, judged, deduplicated rows of the bronze table of the same name, and their quarantine.

A run derives only what would come out differently now: days whose deliveries changed, a newer snapshot, batches that
were not merged yet, and everything that a changed contract, transform or decision about a row concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.governed.declaration import GovernedRun, Written
from pipelines.medallion.silver_days import ReplacingRun
from pipelines.medallion.silver_merge import MergingRun
from pipelines.medallion.silver_table import SilverTable
from pipelines.quarantine import decisions


def silver_work(table: SilverTable) -> Callable[[GovernedRun], Iterator[Written]]:
    """The work of a silver asset: merges increments into a table without days, and replaces in all other cases."""

    def work(run: GovernedRun) -> Iterator[Written]:
        house, platform = run.platform.lakehouse, run.platform
        with house.writing(table.contract.table), house.writing(table.quarantine):
            in_effect = decisions.in_effect(house, table.contract.table)
            if in_effect.version:
                run.record_input(platform.dataset(in_effect.version))
            merges = table.layout == "whole" and platform.contracts[table.bronze].delivery == "increment"
            yield from (MergingRun if merges else ReplacingRun)(table, run, in_effect).work()

    return work
