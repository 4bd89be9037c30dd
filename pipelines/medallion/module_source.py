"""A module's source as definitions: which names it binds, by which statements, and which names each statement uses."""

from __future__ import annotations

import ast
import builtins
import copy
import symtable
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Names that every module has without a definition.
GIVEN = frozenset({*dir(builtins), "__file__", "__path__", "__spec__", "__loader__", "__package__"})
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITION = (*FUNCTION, ast.ClassDef)
IMPORT = (ast.Import, ast.ImportFrom)


class Import(NamedTuple):
    """What an import statement names: an attribute of a module, or (None) the module itself."""

    module: str
    attribute: str | None


@dataclass(frozen=True, slots=True)
class Module:
    """The top-level statements of a module.

    Attributes:
        name: Its dotted name.
        package: The package that it lies in, from which its relative imports start.
        statements: All of them, except imports, docstrings and blocks for type checkers.
        bound: For each name the positions of the statements that bind it.
        imports: For each name what it is imported from; the star imports are those of the name `*`.
        for_types: Names that are bound for type checkers alone.
        effects: Positions of the statements that do more than bind names: they may change what a definition means.
    """

    name: str
    package: str
    statements: Sequence[ast.stmt]
    bound: Mapping[str, Sequence[int]]
    imports: Mapping[str, Sequence[Import]]
    for_types: frozenset[str]
    effects: Sequence[int]

    def text(self, position: int, *, bare: bool = False) -> tuple[str, list[Import]]:
        """A statement without docstrings, comments and formatting, and what it imports where it stands.

        Args:
            position: Which statement.
            bare: Leave out the decorators of a function, not those of functions in it.
        """
        statement = self.statements[position]
        if bare and isinstance(statement, FUNCTION):
            statement = copy.copy(statement)
            statement.decorator_list = []
        imports: list[Import] = []
        for part in _with_inner(statement):
            if isinstance(part, DEFINITION):
                part.body = [inner for inner in part.body if not _is_text(inner)] or [ast.Pass()]
            elif isinstance(part, IMPORT):
                imports += [target for _, target in _imported(part, self.package)]
        return ast.unparse(statement), imports

    def at_line(self, line: int) -> list[int]:
        """The positions of the statements that hold a line."""
        return [n for n, found in enumerate(self.statements) if _first_line(found) <= line <= (found.end_lineno or 0)]


def read(source: str, name: str, package: str) -> Module:
    """The definitions of a module."""
    statements: list[ast.stmt] = []
    bound: dict[str, list[int]] = defaultdict(list)
    imports: dict[str, list[Import]] = defaultdict(list)
    for_types: set[str] = set()
    effects: list[int] = []
    assigns_globals = "global " in source
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            only_types = [node for inner in statement.body for node in ast.walk(inner)]
            for_types.update(alias for node in only_types for alias, _ in _imported(node, package))
            for_types.update(name for node in only_types for name in _names_bound(node))
            if not statement.orelse:
                continue
            statement = ast.If(ast.Constant(True), statement.orelse, [])
        if isinstance(statement, IMPORT):
            for alias, target in _imported(statement, package):
                imports[alias].append(target)
        elif not _is_text(statement):
            position = len(statements)
            statements.append(statement)
            if _has_effects(statement, assigns_globals=assigns_globals):
                effects.append(position)
            for node in [statement] if isinstance(statement, DEFINITION) else _nodes_that_bind(statement):
                for bound_name in _names_bound(node):
                    bound[bound_name].append(position)
                for alias, target in _imported(node, package):
                    imports[alias].append(target)
    return Module(name, package, statements, bound, imports, frozenset(for_types), effects)


def names_used(text: str) -> set[str]:
    """The names of its module that a top-level statement refers to, those in annotations included."""
    return set(_global_names(symtable.symtable(text, "statement", "exec")))


def decorators(statement: ast.stmt) -> list[str]:
    """The names with which a definition's decorators begin."""
    expressions = statement.decorator_list if isinstance(statement, DEFINITION) else []
    roots = [_root(expression) for expression in expressions]
    return [root.id for root in roots if isinstance(root, ast.Name)]


def _root(expression: ast.expr) -> ast.expr:
    while isinstance(expression, ast.Call | ast.Attribute | ast.Subscript):
        expression = expression.func if isinstance(expression, ast.Call) else expression.value
    return expression


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    # A function's scope tells local from global; in a class or a module a name may be both.
    in_function = table.get_type() == "function"
    for symbol in table.get_symbols():
        if symbol.is_global() if in_function else symbol.is_referenced():
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _global_names(inner)


def _imported(node: ast.AST, package: str) -> list[tuple[str, Import]]:
    """The names that an import statement binds, each with what it stands for; none for another statement."""
    if isinstance(node, ast.Import):
        return [(alias.asname or alias.name.split(".")[0], Import(alias.name, None)) for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")
    above = parents[: len(parents) - node.level + 1] if node.level else []
    module = ".".join([*above, *filter(None, [node.module])])
    return [(alias.asname or alias.name, Import(module, alias.name)) for alias in node.names]


def _has_effects(statement: ast.stmt, *, assigns_globals: bool) -> bool:
    """Whether a statement may do more than define the names that it binds."""
    if isinstance(statement, DEFINITION):
        return assigns_globals and any(isinstance(node, ast.Global) for node in ast.walk(statement))
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return any(isinstance(node, ast.Attribute | ast.Subscript) for node in _nodes_that_bind(statement))
    return True


def _nodes_that_bind(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes in which names can be bound: the targets of an assignment, all nodes of a block."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from ast.walk(target)
    else:
        yield from ast.walk(statement.target if isinstance(statement, ast.AnnAssign) else statement)


def _names_bound(node: ast.AST) -> list[str]:
    if isinstance(node, DEFINITION):
        return [node.name]
    return [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []


def _with_inner(statement: ast.AST) -> Iterator[ast.AST]:
    """A statement and all statements in its blocks."""
    yield statement
    for block in ("body", "handlers", "cases", "orelse", "finalbody"):
        for inner in getattr(statement, block, ()):
            yield from _with_inner(inner)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _first_line(statement: ast.stmt) -> int:
    decorators = statement.decorator_list if isinstance(statement, DEFINITION) else []
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])
