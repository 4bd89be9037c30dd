"""The rows of an online store on Redis: a hash for each entity, with two fields for each view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from feature_repo.stored_row import EncodedRows

#: How many commands are sent at once.
PER_PIPELINE = 1_000


class RedisRows:
    """The hashes whose keys end with a Feast project.

    Args:
        client: The client of Feast's own store.
        project: The project.
    """

    def __init__(self, client: Any, project: str) -> None:
        self._client = client
        self._ending = project.encode()

    def create(self, views: Iterable[str]) -> None:
        """Does nothing: a hash comes with its first row."""

    def drop(self, views: Iterable[str]) -> None:
        """Removes the rows of views, in one walk over all keys of the server."""
        fields = [field for view in views for field in _fields(view)]
        if fields:
            keys = self._client.scan_iter(match=b"*" + self._ending, count=PER_PIPELINE)
            while part := list(islice(keys, PER_PIPELINE)):
                self._sent(("HDEL", key, *fields) for key in part)

    def write(self, view: str, rows: EncodedRows, *, first: bool = False) -> None:
        """Writes rows, each unless a later one of its entity is stored; of equal instants the last.

        Who writes holds the lock of the domain's store, so no other writer writes between.

        Args:
            view: The view's name.
            rows: The rows.
            first: Whether the view has no rows yet, so that none has to be read first.
        """
        values, instant = _fields(view)
        newest: dict[bytes, int] = {}
        each = zip(rows.keys, rows.instants, rows.values, strict=True)
        while part := list(islice(each, PER_PIPELINE)):
            keys = [key + self._ending for key, _, _ in part]
            if not first:
                stored = self._sent(("HGET", key, instant) for key in keys)
                newest = {key: int(at) for key, at in zip(keys, stored, strict=True) if at is not None}
            commands = []
            for key, (_, at, row) in zip(keys, part, strict=True):
                if at >= newest.get(key, at):
                    newest[key] = at
                    commands.append(("HSET", key, values, row, instant, at))
            self._sent(commands)

    def read(self, asked: Sequence[tuple[str, bytes]]) -> list[tuple[int, bytes] | None]:
        """The instant and the values of each asked view and key; None where no row is stored."""
        found = self._sent(("HMGET", key + self._ending, *_fields(view)) for view, key in asked)
        return [None if instant is None else (int(instant), values) for values, instant in found]

    def close(self) -> None:
        """Gives its connections back."""
        self._client.close()

    def _sent(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()


def _fields(view: str) -> tuple[str, str]:
    """The fields of a view: its values, and their instant in microseconds."""
    return view, f"_ts:{view}"
