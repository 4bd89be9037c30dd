"""Names what is wrong with the home folder where a library fails because of it, in words of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import DamagedError, GoldpathError
from pipelines.machine import databases, full_disk, read_only

if TYPE_CHECKING:
    from pipelines.settings import Settings


def named(error: BaseException, settings: Settings) -> GoldpathError | None:
    """The error for a full disk, a folder that cannot be written, or a damaged database; None for any other."""
    root = settings.root
    if full := full_disk.named(error, [root, Path(settings.lakehouse), settings.landing]):
        return full
    if databases.is_damage(error):
        from pipelines.upkeep import home_files

        first = next(home_files.damages(settings), None)
        return DamagedError(
            object=f"{first.kind.name} {first.path}" if first else f"a database below {root}",
            observed=first.observed if first else str(error),
            expected="the file as it was written",
            next_step="goldpath repair (with --dry-run it only says what it would do)",
        )
    return read_only.named(error, root)
