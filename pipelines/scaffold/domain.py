"""`goldpath new domain`: the package of a domain, and who answers and pays for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.landing.proposal import code
from pipelines.machine import files
from pipelines.policy.rules import DATA_CLASSES
from pipelines.scaffold.draft import refuse
from pipelines.tables import require_name


def write(root: Path, name: str, owner: str, tags: Mapping[str, str]) -> list[Path]:
    """Writes `__init__.py` and `domain.py` of a domain below `root`, the folder `assets`; returns the files.

    Raises:
        NotFoundError: for a name that no domain can have.
        UsageError: for a data class that there is none of.
        SettingsError: for one that no Python package can have, and if one of the files exists.
    """
    if tags["data_class"] not in DATA_CLASSES:
        refuse(f"--data-class {tags['data_class']}", "there is no such class", f"one of {', '.join(DATA_CLASSES)}",
               "correct the option")  # fmt: skip
    require_name(f"domain {name!r}", name, "choose another name; the folder of what has landed has the domain's name")
    code.require_package(root / name)
    texts = {root / name / file: text for file, text in code.domain_modules(name, owner, tags).items()}
    files.create(texts)
    return list(texts)
