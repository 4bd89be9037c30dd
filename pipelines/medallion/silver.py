"""Silver tables: typed, judged, deduplicated rows of the bronze table of the same name, with quarantine beside them.

A run takes only what is derived from something else than before: days whose deliveries changed, a newer snapshot,
batches that were not merged yet. Another contract, transform or decision about a row is something else too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.governed.declaration import GovernedRun, Written
from pipelines.medallion.silver_days import Replacing
from pipelines.medallion.silver_merge import Merging
from pipelines.medallion.silver_table import SilverTable
from pipelines.quarantine import decisions


def silver_work(table: SilverTable) -> Callable[[GovernedRun], Iterator[Written]]:
    """The work of a silver asset: increments without days are merged, everything else replaces what was there."""

    def work(run: GovernedRun) -> Iterator[Written]:
        house, platform = run.platform.lakehouse, run.platform
        with house.writing(table.contract.table), house.writing(table.rejected):
            effect = decisions.in_effect(house, table.contract.table)
            if effect.at:
                run.reads(platform.dataset(effect.at))
            merges = table.layout == "whole" and platform.contracts[table.bronze].delivery == "increment"
            yield from (Merging if merges else Replacing)(table, run, effect).work()

    return work
