"""The Python modules that declare the tables of a source: new ones, or lines for those that a domain has."""

from __future__ import annotations

import ast
import json
import keyword
from collections.abc import Mapping
from pathlib import Path

from pipelines.contracts.model import COST_TAGS, UNKNOWN
from pipelines.errors import SettingsError

#: The cost tags that a domain states; a contract states the class of work beside them.
DOMAIN_TAGS = tuple(tag for tag in COST_TAGS if tag not in ("workload_class", "data_class"))
#: What the modules import, so that no table has these names.
_TAKEN = ("annotations", "contract", "bronze_asset", "silver_asset", "DataFrame", "TYPE_CHECKING")


def require_package(folder: Path) -> None:
    """Checks that a domain's folder has a name that Python can import.

    Raises:
        SettingsError: if it has not.
    """
    name = folder.name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise SettingsError(
            object=f"folder {folder}",
            observed=f"{name!r} is no name of a Python package",
            expected="letters, digits and underscores, no word of Python, since its modules are imported",
            next_step=f"choose another folder for the domain, such as assets/{name.replace('-', '_')}_/contracts",
        )


def modules(package: str, source: str, owner: str = UNKNOWN, tags: Mapping[str, str] | None = None) -> dict[str, str]:
    """The Python files, by name, of a domain that has this source and no other yet.

    Args:
        package: The name of the domain's folder below `assets`.
        source: The source.
        owner: The owning team.
        tags: The cost tags; those that are missing are unknown.
    """
    return {
        **domain_modules(package, owner, tags or {}),
        "bronze.py": (
            '"""Bronze: what has landed, as it arrived."""\n\n'
            "from __future__ import annotations\n\n"
            f"from assets.{package}.domain import contract\n"
            "from pipelines.medallion.decorators import bronze_asset\n\n"
            f"{bronze_lines(source)}"
        ),
        "silver.py": (
            '"""Silver: typed, checked, each key once."""\n\n'
            "from __future__ import annotations\n\n"
            "from typing import TYPE_CHECKING\n\n"
            f"from assets.{package}.domain import contract\n"
            "from pipelines.medallion.decorators import silver_asset\n\n"
            "if TYPE_CHECKING:\n"
            "    from pyspark.sql import DataFrame\n\n\n"
            f"{silver_lines(source)}"
        ),
    }


def domain_modules(package: str, owner: str, tags: Mapping[str, str]) -> dict[str, str]:
    """The Python files, by name, that declare a domain: who answers and pays for it.

    Args:
        package: The name of the domain's folder below `assets`.
        owner: The owning team.
        tags: The cost tags; those that are missing are unknown.
    """
    stated = dict.fromkeys(DOMAIN_TAGS, UNKNOWN) | {"data_class": "internal"} | dict(tags)
    cost = [f"        {name}={literal(stated[name])},\n" for name in (*DOMAIN_TAGS, "data_class")]
    return {
        "__init__.py": f'"""The {package} domain."""\n',
        "domain.py": (
            f'"""The {package} domain: who answers and pays for it, and its contracts."""\n\n'
            "from __future__ import annotations\n\n"
            "from pipelines.contracts.domain import CostTags, Domain\n\n"
            f"{package} = Domain.at(\n"
            "    __file__,\n"
            f"    owner={literal(owner)},\n"
            "    cost=CostTags(\n"
            f"{''.join(cost)}"
            "    ),\n"
            ")\n"
            f"contract = {package}.contract\n"
        ),
    }


def literal(value: str) -> str:
    """A text as a Python literal in double quotes, whatever it holds: JSON's escapes are among those of Python."""
    return json.dumps(value, ensure_ascii=False)


def owner_and_tags(module: Path) -> tuple[str, dict[str, str]] | None:
    """The owner and the cost tags that a `domain.py` states as texts; None where there is none, or it is no Python."""
    try:
        tree = ast.parse(module.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    texts = {
        word.arg: word.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str)
    }
    owner = texts.get("owner")
    tags = {name: texts[name] for name in (*DOMAIN_TAGS, "data_class") if name in texts}
    return (owner, tags) if owner else None


def lines(source: str) -> dict[str, str]:
    """The lines that declare the tables of a source, by the module that they belong to."""
    return {"bronze.py": bronze_lines(source), "silver.py": silver_lines(source)}


def bronze_lines(source: str) -> str:
    """The Python line that declares the bronze table of a source."""
    return f'{_variable(source)} = bronze_asset(contract("bronze/{source}"))\n'


def silver_lines(source: str) -> str:
    """The Python lines that declare the silver table of a source."""
    name = _variable(source)
    return (
        f'@silver_asset(contract("silver/{source}"))\n'
        f"def {name}({name}: DataFrame) -> DataFrame:\n"
        f'    """{source.replace("_", " ").capitalize()}: say here what one row is."""\n'
        f"    return {name}\n"
    )


def extended(module: str, text: str, source: str) -> str | None:
    """A module of a domain with the lines for one more source; None if they do not fit into it as it is.

    They fit if the module imports what they use, and gives the name of the table to nothing else. A module that has the
    lines stays as it is.
    """
    added = lines(source)[module]
    if added in text:
        return text
    needed = {"contract", f"{module.removesuffix('.py')}_asset"} | ({"DataFrame"} if module == "silver.py" else set())
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    defined = {name for node in ast.walk(tree) for name in _names(node)}
    if not needed <= defined or _variable(source) in defined:
        return None
    return text.rstrip("\n") + ("\n" if module == "bronze.py" else "\n\n\n") + added


def _names(node: ast.AST) -> list[str]:
    """The names that a statement gives."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []


def _variable(source: str) -> str:
    return f"{source}_" if source in _TAKEN else source
