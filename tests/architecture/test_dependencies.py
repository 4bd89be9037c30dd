"""Every library that a room imports is named in `pyproject.toml`: one that only comes with another may go with it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("assets", "pipelines", "feature_repo", "ray_jobs", "serving", "infra")
OURS = {*ROOMS, "bench", "tests"}


def imported() -> dict[str, str]:
    """The first part of each module's imports, with a module that has it."""
    found: dict[str, str] = {}
    for path in (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found |= {name: str(path.relative_to(ROOT)) for name in names}
    return found


def distribution(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name)[0]).lower()


def test_every_imported_library_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project.get("dependency-groups", {}).values()
    declared = [
        *project["project"]["dependencies"],
        *(text for group in groups for text in group if isinstance(text, str)),
    ]
    names = {distribution(text) for text in declared}
    providers = metadata.packages_distributions()
    missing = {}
    for module, where in imported().items():
        top = module.split(".")[0]
        if top in OURS or top in sys.stdlib_module_names:
            continue
        candidates = {distribution(name) for name in providers.get(top, [])}
        if not candidates & names:
            missing[module] = where
    assert missing == {}
