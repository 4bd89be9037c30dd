"""What `goldpath new` writes into a domain's folder: contracts that load, and modules, new ones or extended ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pipelines.contracts import reader
from pipelines.contracts.load import CONTRACTS_FOLDER
from pipelines.errors import ContractError, UsageError
from pipelines.landing.proposal.documents import render
from pipelines.machine import files
from pipelines.scaffold.module import Module, merged


@dataclass(frozen=True, slots=True)
class Draft:
    """The first form of a declaration.

    Attributes:
        contracts: ODCS documents by file name.
        modules: The Python modules; those that the domain has get more lines.
        notes: What a person should know of it, a sentence each.
        next: The commands that come next.
    """

    contracts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    modules: Sequence[Module] = ()
    notes: Sequence[str] = ()
    next: Sequence[str] = ()


def write(folder: Path, draft: Draft) -> list[Path]:
    """Writes a draft into a domain's folder, all of it or nothing; returns the files.

    Raises:
        SettingsError: if one of the contracts exists.
        UsageError: if a contract of the draft would not load, or a module cannot be extended.
    """
    texts = render(dict(draft.contracts))
    _require_loading(texts)
    contracts = {folder / CONTRACTS_FOLDER / name: text for name, text in texts.items()}
    files.require_new(contracts)
    modules = {folder / module.file: merged(folder / module.file, module) for module in draft.modules}
    files.replace_all(contracts | modules)
    return [*contracts, *modules]


def refuse(what: str, observed: str, expected: str, next_step: str) -> NoReturn:
    """Raises UsageError with these facts."""
    raise UsageError(object=what, observed=observed, expected=expected, next_step=next_step)


def _require_loading(texts: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        for name, text in texts.items():
            path = Path(temporary) / name
            path.write_text(text, encoding="utf-8")
            try:
                reader.read(path)
            except ContractError as error:
                refuse(f"contract {name}", error.observed, error.expected, "choose other names or columns")
