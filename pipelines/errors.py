"""The errors that Goldpath raises on purpose; one that a single module raises is a subclass there.

GoldpathError                 object, observed, expected, next step
├── TerminalError             the same input fails again: do not retry
│   ├── SettingsError         a setting or an environment variable is wrong
│   ├── UsageError            the arguments of a command do not fit: nothing was done
│   ├── ContractError         a contract file is wrong: path in the file, value, what is allowed
│   ├── DefinitionError       an asset definition that policy refuses
│   ├── LandingError          a delivery that cannot be ingested as it is
│   ├── VerdictError          a table rule failed: the version was not published
│   ├── EngineError           an engine or one of its parts is missing or wrong
│   ├── FullDiskError         no space left on the disk: a retry would fail too
│   ├── DamagedError          a file of the home folder is damaged or gone: `goldpath repair`
│   ├── ModelError            a model that may not be registered, promoted or loaded
│   └── NotFoundError         nothing has the given name
└── TransientError            the same input may pass later: retry with backoff
    └── CommitConflict        another writer committed first
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable


class GoldpathError(Exception):
    """The base of all errors: names the object, what was observed, what was expected and what to do next.

    The message reads "object: observed. Expected expected. Next: next_step". Pickling keeps all attributes.

    Args:
        object: The name of the thing that the error is about: an asset key, a file, a setting.
        observed: The value or state that was observed.
        expected: The values or states that are allowed.
        next_step: What the reader can do now.
    """

    def __init__(self, *, object: str, observed: str, expected: str, next_step: str) -> None:
        self.object = object
        self.observed = observed
        self.expected = expected
        self.next_step = next_step
        super().__init__(object, observed, expected, next_step)

    def __str__(self) -> str:
        return f"{self.object}: {self.observed}. Expected {self.expected}. Next: {self.next_step}"

    def facts(self) -> dict[str, str]:
        """What an error is shown as, line by line: `object`, `observed`, `expected`, `next`."""
        return {"object": self.object, "observed": self.observed, "expected": self.expected, "next": self.next_step}

    def __reduce__(self) -> tuple[builtins.object, ...]:
        return _rebuild, (type(self), self.object, self.observed, self.expected, self.next_step)


def _rebuild(
    error_class: Callable[..., GoldpathError], object: str, observed: str, expected: str, next_step: str
) -> GoldpathError:
    return error_class(object=object, observed=observed, expected=expected, next_step=next_step)


class TerminalError(GoldpathError):
    """The same input fails again: do not retry."""


class TransientError(GoldpathError):
    """The same input may pass later: retry with backoff."""


class SettingsError(TerminalError):
    """A setting or an environment variable is wrong."""


class UsageError(TerminalError):
    """The arguments of a command do not fit what exists, or each other. Nothing was done."""


class ContractError(TerminalError):
    """A contract file is wrong."""


class DefinitionError(TerminalError):
    """An asset definition lacks what policy requires, or was not built by one of the decorators."""


class LandingError(TerminalError):
    """A delivery cannot be ingested as it is; `code` is the reason in one word, as the ledger records it."""

    def __init__(self, *, object: str, observed: str, expected: str, next_step: str, code: str = "unreadable") -> None:
        super().__init__(object=object, observed=observed, expected=expected, next_step=next_step)
        self.code = code

    def __reduce__(self) -> tuple[builtins.object, ...]:
        rebuild = functools.partial(type(self), code=self.code)
        return _rebuild, (rebuild, self.object, self.observed, self.expected, self.next_step)


class VerdictError(TerminalError):
    """A table-level rule failed, so the new version was not published."""


class EngineError(TerminalError):
    """An engine, or a part of it (Java, a JAR, a server), is missing or wrong."""


class FullDiskError(TerminalError):
    """No space is left on the disk that a file is written to."""


class DamagedError(TerminalError):
    """A file of the home folder is damaged or gone."""


class ModelError(TerminalError):
    """A model may not be registered, promoted or loaded."""


class NotFoundError(TerminalError):
    """Nothing has the given name."""


class CommitConflict(TransientError):
    """Another writer committed first."""
