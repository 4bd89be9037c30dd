"""The public functions of the installed Python packages: their docstrings, each with its file and line."""

from __future__ import annotations

import ast
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import Distribution, PackagePath
from pathlib import Path
from typing import Any

from pipelines.sources.base import Extracted, instant
from pipelines.sources.distributions import installed

#: Folders and modules that are no interface of a package.
_NOT_PUBLIC = ("test", "tests", "testing", "conftest", "docs", "examples", "benchmarks", "vendor", "vendored")
_LARGEST_MODULE_BYTES = 200_000
_LONGEST_DOCSTRING = 20_000


@dataclass(frozen=True, slots=True)
class Docstrings:
    """A choice of the public functions and methods of each installed distribution, in one file of JSON lines.

    The file is a snapshot, which lands when the installed distributions or their versions have changed. Its rows have
    `distribution`, `version`, `file` (below the folder that the distribution is installed in), `line` of the function,
    `function` (`Class.method` for a method) and `docstring` without its indentation. Modules are parsed, never
    imported; one that is no Python of this interpreter is passed over.

    Args:
        functions: The most functions of one distribution. Its modules come in the order of their paths' hashes, so the
            choice is the same on every machine, and no folder of a large package is preferred.
        modules: The most modules of one distribution that are parsed.
        folders: Where distributions are installed; None for everywhere that this process imports from.
    """

    functions: int
    modules: int
    folders: tuple[str, ...] | None = None
    kind: str = "python"
    connection: None = None

    def extract(
        self, position: Mapping[str, Any] | None, *, connection: str | None, now: datetime
    ) -> Iterator[Extracted]:
        """One snapshot, if what is installed or the choice has changed; the position has the digest of both."""
        distributions = installed(self.folders)
        versions = {name: distribution.version for name, distribution in distributions.items()}
        digest = hashlib.sha256(json.dumps([versions, self.functions, self.modules]).encode()).hexdigest()
        before = position or {}
        if before.get("digest") == digest:
            return
        rows = [row for name, version in versions.items() for row in self._rows(name, version, distributions[name])]
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        interval = instant(now, before.get("interval", ""))
        yield Extracted(
            interval,
            f"docstrings_{digest[:12]}.jsonl",
            content,
            len(rows),
            {"digest": digest, "interval": interval},
            {"distributions": len(distributions)},
        )

    def _rows(self, name: str, version: str, distribution: Distribution) -> Iterator[dict[str, Any]]:
        left = self.functions
        modules = sorted(filter(_is_public, distribution.files or ()), key=_hash)
        for module in modules[: self.modules]:
            if not left:
                return
            for line, function, docstring in _functions(Path(str(distribution.locate_file(module))))[:left]:
                left -= 1
                yield {
                    "distribution": name,
                    "version": version,
                    "file": module.as_posix(),
                    "line": line,
                    "function": function,
                    "docstring": docstring,
                }


def _is_public(path: PackagePath) -> bool:
    parts = [*path.parts[:-1], path.stem]
    private = any(part.startswith((".", "_")) and part != "__init__" for part in parts)
    return path.suffix == ".py" and not private and not any(part in _NOT_PUBLIC for part in parts)


def _hash(path: PackagePath) -> str:
    return hashlib.sha256(path.as_posix().encode()).hexdigest()


def _functions(path: Path) -> list[tuple[int, str, str]]:
    """Line, name and docstring of the public functions of a module that have one, in the order of their lines."""
    try:
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the module's own escapes and comparisons
            module = ast.parse(source) if len(source) <= _LARGEST_MODULE_BYTES else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    found = []
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for prefix, nodes in [("", module.body), *((f"{node.name}.", node.body) for node in classes)]:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                docstring = ast.get_docstring(node)
                if docstring and "\0" not in docstring and len(docstring) <= _LONGEST_DOCSTRING and _is_text(docstring):
                    found.append((node.lineno, prefix + node.name, docstring))
    return sorted(found)


def _is_text(docstring: str) -> bool:
    """Whether the docstring can be written as UTF-8: a literal may hold half a character."""
    return docstring.encode(errors="replace").decode() == docstring
