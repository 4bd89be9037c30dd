"""Python modules with their imports in order: a new one, or one that a domain has, with more imports and lines."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pipelines.errors import UsageError

#: The rooms of the project, whose imports stand after those of other packages.
ROOMS = ("assets", "feature_repo", "pipelines", "ray_jobs", "serving")
LINE_LENGTH = 120


@dataclass(frozen=True, slots=True)
class Module:
    """Lines of a module, with what they need.

    Attributes:
        file: The file's name in the domain's folder.
        doc: The module's docstring, for a new one.
        imports: What they import at module level: names by module.
        typed: What they import for a type checker alone, likewise.
        body: The lines, without a blank line at their ends.
        moved_to_end: A statement of the module as it is, and what stands for it after the new lines; None for none.
    """

    file: str
    doc: str
    imports: Mapping[str, tuple[str, ...]]
    body: str
    typed: Mapping[str, tuple[str, ...]] | None = None
    moved_to_end: tuple[str, str] | None = None


def merged(path: Path, module: Module) -> str:
    """The text of the file with the lines of the module: a new text if there is no such file.

    Raises:
        UsageError: if the file is no Python, gives a name of the lines to something else already, or has statements
            between its imports.
    """
    names: dict[str, set[str]] = {"__future__": {"annotations"}}
    typed: dict[str, set[str]] = {}
    doc, rest = module.doc, ""
    if path.exists():
        text = path.read_text(encoding="utf-8")
        doc, rest = _taken_apart(path, text, names, typed)
        _require_free(path, text, module)
    for target, more in ((names, module.imports), (typed, module.typed or {})):
        for origin, imported in more.items():
            target.setdefault(origin, set()).update(imported)
    if typed:
        names.setdefault("typing", set()).add("TYPE_CHECKING")
    head = f'"""{doc}"""\n\n{_import_lines(names)}'
    if typed:
        head += "\nif TYPE_CHECKING:\n" + "".join(f"    {line}\n" for line in _import_lines(typed).splitlines() if line)
    parts = [rest.strip("\n"), module.body.strip("\n")]
    if module.moved_to_end:
        before, after = module.moved_to_end
        parts = [parts[0].replace(before, "").strip("\n"), parts[1], after]
    body = "\n\n\n".join(part for part in parts if part)
    gap = "\n\n" if typed or body.startswith(("def ", "class ", "@")) else "\n"
    return f"{head}{gap}{body}\n"


def _taken_apart(path: Path, text: str, names: dict[str, set[str]], typed: dict[str, set[str]]) -> tuple[str, str]:
    """Collects the imports of a module; returns its docstring, and what follows the imports."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        _refuse(path, f"line {error.lineno} is no Python")
    body = list(tree.body)
    doc = ast.get_docstring(tree, clean=False)
    if doc is not None:
        body = body[1:]
    end = tree.body[0].end_lineno if doc is not None and tree.body[0].end_lineno else 0
    for node in body:
        if isinstance(node, ast.ImportFrom) and not node.level and not any(alias.asname for alias in node.names):
            names.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                names.setdefault(f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else ""), set())
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse:
            for child in node.body:
                if not isinstance(child, ast.ImportFrom):
                    _refuse(path, f"line {child.lineno} is not `from … import …`")
                typed.setdefault(child.module or "", set()).update(alias.name for alias in child.names)
        else:
            break
        end = node.end_lineno or end
    lines = text.splitlines(keepends=True)
    if any(line.lstrip().startswith("#") for line in lines[:end]):
        _refuse(path, "a comment stands among its imports")
    return doc if doc is not None else "", "".join(lines[end:])


def _require_free(path: Path, text: str, module: Module) -> None:
    """Raises UsageError if the module defines a name that the new lines define too."""
    clash = sorted(set(defined(ast.parse(text))) & set(defined(ast.parse(module.body))))
    if clash:
        _refuse(path, f"it defines {', '.join(clash)} already")


def defined(tree: ast.Module) -> Iterable[str]:
    """The names that the statements of a module define, imports apart."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name))


def _import_lines(names: Mapping[str, set[str]]) -> str:
    """The import statements in groups: `__future__`, the standard library, other packages, this project."""
    groups: list[list[str]] = [[], [], [], []]
    # Within a group, `import x` stands before `from x import y`.
    for origin in sorted(names, key=lambda origin: (not origin.startswith("import "), origin)):
        root = origin.removeprefix("import ").partition(" ")[0].partition(".")[0]
        group = 0 if root == "__future__" else 1 if root in sys.stdlib_module_names else 3 if root in ROOMS else 2
        groups[group].append(_statement(origin, names[origin]))
    return "\n".join("".join(f"{line}\n" for line in group) for group in groups if group)


def _statement(origin: str, names: Iterable[str]) -> str:
    if origin.startswith("import "):
        return origin
    ordered = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    line = f"from {origin} import {', '.join(ordered)}"
    if len(line) <= LINE_LENGTH:
        return line
    return f"from {origin} import (\n" + "".join(f"    {name},\n" for name in ordered) + ")"


def _refuse(path: Path, observed: str) -> NoReturn:
    raise UsageError(
        object=f"module {path}",
        observed=observed,
        expected="a module whose imports stand together at its top, to which lines can be added",
        next_step="correct it there, or choose another name",
    )
