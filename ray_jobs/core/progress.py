"""A run's journal: a file in its folder that the first worker replaces, for the process that waits for the run.

That process may be another one than that which started the run; the journal tells it everything since the first epoch.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.machine import files
from pipelines.models.program import Epoch, OnProgress, Progress, SearchProgress

JOURNAL_FILE = "journal.json"
POLL_SECONDS = 0.5
#: How far apart the entries within an epoch are.
ENTRY_SECONDS = 10.0


@dataclass(slots=True)
class Journal:
    """What a run has done so far, over all restarts.

    Attributes:
        accelerator: Name of the GPU, or "cpu".
        epochs: The finished ones.
        resumed_after: The number of finished steps at each restart from a checkpoint.
        now: How far the run is within an epoch; None before the first entry.
        stopped: The facts of the error that no restart would mend, by which the run was ended; None if there was none.
        search: How far the search is that comes before the run; None without one, and when the run has begun.
    """

    accelerator: str
    epochs: list[Epoch] = field(default_factory=list)
    resumed_after: list[int] = field(default_factory=list)
    now: Progress | None = None
    stopped: dict[str, str] | None = None
    search: SearchProgress | None = None

    def write(self, run_folder: Path) -> None:
        """Replaces the journal in the run's folder."""
        files.replace(run_folder / JOURNAL_FILE, json.dumps(asdict(self)))

    @classmethod
    def read(cls, run_folder: Path) -> Journal | None:
        """The journal in the run's folder; None before its first entry."""
        try:
            document: dict[str, Any] = json.loads((run_folder / JOURNAL_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(
            document["accelerator"],
            [Epoch(**epoch) for epoch in document["epochs"]],
            document["resumed_after"],
            Progress(**document["now"]) if document["now"] else None,
            document["stopped"],
            SearchProgress(**document["search"]) if document["search"] else None,
        )


def ignore(progress: Epoch | Progress | SearchProgress) -> None:
    """Does nothing with an entry."""


@contextlib.contextmanager
def following(run_folder: Path, on_progress: OnProgress) -> Iterator[None]:
    """Calls `on_progress` for each epoch, once, and for entries within one, while the block runs.

    It is called in a thread of its own. All calls for what the journal holds are made before the block is left.
    """
    run_ended = threading.Event()
    arguments = (run_folder, on_progress, run_ended)
    follower = threading.Thread(target=_follow, args=arguments, name="progress", daemon=True)
    follower.start()
    try:
        yield
    finally:
        run_ended.set()
        follower.join()


def _follow(run_folder: Path, on_progress: OnProgress, run_ended: threading.Event) -> None:
    delivered, last, last_look = 0, None, False
    while not last_look:
        last_look = run_ended.wait(POLL_SECONDS)
        journal = Journal.read(run_folder)
        if journal is None:
            continue
        for epoch in journal.epochs[delivered:]:
            on_progress(epoch)
        delivered = max(delivered, len(journal.epochs))
        now = journal.now or journal.search
        if now is not None and now != last and not last_look:
            last = now
            on_progress(now)
