"""Every library that a room imports is named in `pyproject.toml`: one that only comes with another may go with it.

What runs must be a dependency of the project: an installation without the development group has nothing else.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
INSTALLED = ("assets", "pipelines", "feature_repo", "ray_jobs", "serving")
OURS = {*INSTALLED, "infra", "bench", "tests"}


def imported(*rooms: str) -> dict[str, str]:
    """The modules that these rooms import, each with a file that does."""
    found: dict[str, str] = {}
    for path in (path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))):
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
    dependencies = {distribution(text) for text in project["project"]["dependencies"]}
    development = {distribution(text) for text in project["dependency-groups"]["dev"]}
    providers = metadata.packages_distributions()

    def missing(names: set[str], modules: dict[str, str]) -> dict[str, str]:
        """The modules of libraries that are none of these, each with a file that imports it."""
        tops = {module: module.split(".")[0] for module in modules}
        libraries = {module: top for module, top in tops.items() if top not in OURS | sys.stdlib_module_names}
        return {
            m: modules[m] for m, top in libraries.items() if not {*map(distribution, providers.get(top, []))} & names
        }

    assert missing(dependencies, imported(*INSTALLED)) == {}
    assert missing(dependencies | development, imported("infra")) == {}
