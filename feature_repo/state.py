"""What one domain's online store in a home folder is: `features/<domain>/state.json` names its generation.

A generation is one filling of the store: the folder `features/<domain>/<generation>` with Feast's registry and, without
Redis, the SQLite file; on Redis, the keys that end with its Feast project. A store that is filled anew is a new
generation, and replacing the state file makes it the current one, all at once.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from pipelines.errors import DamagedError
from pipelines.machine import files, locks
from pipelines.settings import Settings

STATE_FILE, ONLINE_FILE, REGISTRY_FILE = "state.json", "online.db", "registry.db"


@dataclass(frozen=True, slots=True)
class State:
    """What a filled store holds.

    Attributes:
        generation: Its name.
        declared: A digest of the feature services that it was filled for.
        as_of: The instant that it was moved to, UTC.
        moving_to: The instant that a run moves it to, UTC; after a killed run, some of its rows are that new.
        past: For each Feast source, what its rows up to `as_of` were.
    """

    generation: str
    declared: str
    as_of: datetime
    moving_to: datetime
    past: Mapping[str, str]


def new_generation() -> str:
    """A name that no home folder uses, since several may share one Redis."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True)
class DomainStore:
    """The place of one domain's online store in a home folder."""

    settings: Settings
    domain: str

    @cached_property
    def folder(self) -> Path:
        """The domain's folder."""
        return self.settings.root / "features" / self.domain

    @property
    def asset(self) -> str:
        """The asset that fills the store."""
        return f"features/{self.domain}/online"

    def state(self) -> State | None:
        """What the store holds; None if it was not filled.

        Raises:
            DamagedError: if the state file cannot be read.
        """
        path = self.folder / STATE_FILE
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            as_of, moving_to = (datetime.fromisoformat(saved[name]) for name in ("as_of", "moving_to"))
            return State(saved["generation"], saved["declared"], as_of, moving_to, saved["past"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError(
                object=f"file {path}",
                observed=f"{type(error).__name__}: {error}",
                expected="what the last run wrote about the online store",
                next_step=f"goldpath repair, then goldpath materialize {self.asset}",
            ) from error

    def save(self, state: State) -> None:
        """Makes a state the current one, and its generation the one that is read."""
        instants = {name: getattr(state, name).isoformat() for name in ("as_of", "moving_to")}
        saved = {"generation": state.generation, "declared": state.declared, **instants, "past": dict(state.past)}
        files.replace(self.folder / STATE_FILE, json.dumps(saved))

    def moving(self, state: State, until: datetime) -> None:
        """Notes that rows up to an instant are about to be written."""
        self.save(replace(state, moving_to=until))

    def generations(self) -> list[str]:
        """The generations of which anything may be left."""
        return [path.name for path in self.folder.iterdir() if path.is_dir()] if self.folder.exists() else []

    def remove_folder(self, generation: str) -> None:
        """Removes a generation's files."""
        shutil.rmtree(self.folder / generation)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Lets one writer at a time change the store, since a writer reads what it changes."""
        path = self.settings.root / "locks" / f"online_store.{self.domain}.lock"
        with locks.held(path, purpose=f"a writer of {self.asset}"):
            yield
