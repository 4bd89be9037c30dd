"""Which code of the project a definition uses, so that a table is derived anew when its own code changes.

A definition is a top-level statement of a module: a function, a class, an assignment. It uses the definitions that its
names lead to, in its own module or through import statements, and what these use. What cannot be told exactly counts
whole: a module that is used as `module.attribute`, a room whose classes are named by text, all of the project where
code is looked up at run time. A definition counts without its docstrings, comments and formatting.

Not seen: a value that another module assigns to a module's attribute; a definition that a function call, a base class
or a module which no name leads to adds to a dictionary; text of docstrings; files other than Python's.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import NotFoundError
from pipelines.machine import files
from pipelines.medallion import module_source
from pipelines.medallion.module_source import Import, Module
from pipelines.settings import PROJECT

#: The rooms whose code can decide what a row becomes.
ROOMS = ("assets", "feature_repo", "pipelines", "ray_jobs", "serving")
#: Counts whole once any of it is used: Feast's configuration names its classes by text.
UNDIVIDED = "feature_repo"
#: Those of its modules that only Feast's own tools read: no table of an asset is computed with them.
READ_BY_FEAST = (
    "feature_repo.definitions", "feature_repo.entity_rows", "feature_repo.home_stores", "feature_repo.offline_store",
    "feature_repo.offline_tables", "feature_repo.web_pages", "feature_repo.written_tables",
)  # fmt: skip
#: How Feast is loaded decides about no row, though it looks among the loaded modules.
LOADING = "pipelines.machine.feast_loading"
#: What finds the declarations of all domains: the online store's parity and Feast's tools ask it, and no table does.
FINDING = "pipelines.definitions"
#: The platform's code that types, judges and corrects every row. It counts for every table, with all that it uses.
JUDGING = ("pipelines.contracts", "pipelines.verdict", "pipelines.quarantine.decisions")
#: The platform's code that runs transforms. It counts for every table, without what it reads, writes and records with.
RUNNING = "pipelines.medallion"
#: Decorators of these packages declare an asset; any other decorator of the project's may register what it decorates.
DECLARING = (RUNNING, "pipelines.governed", UNDIVIDED)
#: Names by which code finds other code at run time.
LOOKUPS = frozenset({"eval", "exec", "globals", "locals", "vars", "__import__"})
LOOKUP_ATTRIBUTES = ("sys.modules", ".__subclasses__")
#: Modules that find other code at run time, and those in them that do not.
LOOKUP_MODULES = ("importlib", "pkgutil", "runpy")
NO_LOOKUP_MODULES = ("importlib.metadata", "importlib.resources")
#: The position that stands for all import statements of a module.
IMPORTS = -1


class Definition(NamedTuple):
    """The statement at a position of a module; `bare` without its decorators."""

    module: str
    position: int
    bare: bool = False


class _Part(NamedTuple):
    """A definition's text with what its imported names stand for, and the definitions that it uses."""

    text: str
    uses: tuple[Definition, ...]
    looks_up: bool


class Code:
    """The code of a project, each module read once.

    Args:
        root: The folder in which the rooms lie.
        elsewhere: The folder of each top-level package or module that counts besides, by name.
    """

    def __init__(self, root: Path = PROJECT, elsewhere: Mapping[str, Path] | None = None) -> None:
        self._root = root
        self._folders = dict.fromkeys(ROOMS, root) | dict(elsewhere or {})
        self.module = functools.cache(self._read)
        self.leads_to = functools.cache(self._leads_to)
        self._part = functools.cache(self._read_part)
        self._effects = functools.cache(self._find_effects)
        self.platform = functools.cache(self._kept_platform)

    def beside(self, package: str, folder: Path) -> Code:
        """This code and that of a top-level package or module which lies in another folder."""
        code = Code(self._root, {package: folder})
        code.platform = self.platform
        return code

    def digest(self, definitions: Iterable[Definition]) -> str:
        """One digest for some definitions, all that they use, and the platform's code that decides about every row."""
        return hashlib.sha256(f"{self._digest(definitions)} {self.platform()}".encode()).hexdigest()

    def everything(self) -> str:
        """One digest for every file of the project, name and comments included: where nobody can tell what is used."""
        found = hashlib.sha256()
        for room in ROOMS:
            for path in sorted((self._root / room).rglob("*.py")):
                content = path.read_bytes()
                found.update(f"{path.relative_to(self._root)} {len(content)} ".encode() + content)
        return found.hexdigest()

    def whole(self, name: str) -> list[Definition]:
        """Every definition of a module, or of all modules of a package, and their imports."""
        counts = {part: len(self._known(part).statements) for part in self._modules(name)}
        return [Definition(part, n) for part, count in counts.items() for n in range(IMPORTS, count)]

    def _digest(self, definitions: Iterable[Definition]) -> str:
        """One digest for some definitions and all that they use."""
        used: set[Definition] = set()
        pending = list(definitions)
        while pending:
            definition = pending.pop()
            if definition not in used:
                used.add(definition)
                pending += self._part(definition).uses
        parts = [(definition.module, self._part(definition)) for definition in sorted(used)]
        found = hashlib.sha256("\n".join(f"{module}\n{part.text}" for module, part in parts).encode())
        if any(part.looks_up for _, part in parts):
            found.update(self.everything().encode())
        return found.hexdigest()

    def _kept_platform(self) -> str:
        """The digest of `_platform`, from a file beside Python's bytecode while no file of the project changes.

        Found anew, it takes a process 0.3 s.
        """
        bytecode = importlib.util.cache_from_source(str(self._root.joinpath(*__name__.split(".")).with_suffix(".py")))
        path, everything = Path(bytecode).with_suffix(".digest"), self.everything()
        with contextlib.suppress(OSError, ValueError):
            known, digest = path.read_text(encoding="ascii").split()
            if known == everything:
                return digest
        digest = self._platform()
        if not sys.dont_write_bytecode:
            with contextlib.suppress(OSError):  # where Python can keep no bytecode either
                files.replace(path, f"{everything} {digest}")
        return digest

    def _platform(self) -> str:
        """One digest for the platform's code that decides about every row."""
        for name in (*JUDGING, RUNNING):
            if not self.whole(name):
                raise NotFoundError(
                    object=f"module {name}",
                    observed=f"no code of that name below {self._root}",
                    expected="the platform's code that decides what a row becomes",
                    next_step="name it in pipelines/medallion/used_code.py as it is called now",
                )
        running = [self._text(definition)[0] for definition in self.whole(RUNNING)]
        judging = self._digest(definition for name in JUDGING for definition in self.whole(name))
        return hashlib.sha256("\n".join([judging, *running]).encode()).hexdigest()

    def _read(self, name: str) -> Module | None:
        """A module of the project; None for another."""
        path = self.path(name)
        if path is None:
            return None
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        return module_source.read(path.read_text(encoding="utf-8"), name, package)

    def _known(self, name: str) -> Module:
        module = self.module(name)
        assert module is not None  # names of definitions come from modules that were read
        return module

    def path(self, name: str) -> Path | None:
        """The file of a module of the project; None for another."""
        parts = name.split(".")
        if parts[0] not in self._folders:
            return None
        path = self._folders[parts[0]].joinpath(*parts)
        return next((p for p in (path.with_name(f"{path.name}.py"), path / "__init__.py") if p.is_file()), None)

    def _modules(self, name: str) -> Iterator[str]:
        """The module itself, or all modules of the package."""
        parts = name.split(".")
        folder = self._folders[parts[0]].joinpath(*parts)
        if self.path(name):
            yield name
        for file in sorted(folder.rglob("*.py")):
            inner = ".".join([name, *file.relative_to(folder).with_suffix("").parts])
            if not inner.endswith(".__init__") and inner not in READ_BY_FEAST:
                yield inner

    def _text(self, definition: Definition) -> tuple[str, list[Import]]:
        """A definition's text and what it imports where it stands; of imports, what their names stand for."""
        module = self._known(definition.module)
        if definition.position != IMPORTS:
            return module.text(definition.position, bare=definition.bare)
        pairs = sorted((name, target) for name, targets in module.imports.items() for target in targets)
        return "\n".join(f"{name}: {target.module} {target.attribute}" for name, target in pairs), [t for _, t in pairs]

    def _read_part(self, definition: Definition) -> _Part:
        module = self._known(definition.module)
        text, targets = self._text(definition)
        if definition.position == IMPORTS:
            used = [found for target in targets for found in self.leads_to(target)]
            return _Part(text, tuple(dict.fromkeys(used)), looks_up=False)
        uses = list(self._effects(module.name))
        lines = [text]
        names, known = module_source.names_used(text), {*module.bound, *module.imports}
        for name in sorted(names & known):
            imported = module.imports.get(name, [])
            lines += [f"{name}: {target.module} {target.attribute}" for target in imported]
            targets += imported
            uses += [Definition(module.name, n) for n in module.bound.get(name, [])]
        if "*" in module.imports or names - known - module.for_types - module_source.GIVEN:
            uses += self.whole(module.name)
        uses += [found for target in targets for found in self.leads_to(target)]
        looks_up = (
            not LOOKUPS.isdisjoint(names)
            or any(attribute in text for attribute in LOOKUP_ATTRIBUTES)
            or any(_finds_code(target) for target in targets)
        )
        return _Part("\n".join(lines), tuple(dict.fromkeys(uses)), looks_up)

    def _leads_to(self, target: Import) -> tuple[Definition, ...]:
        """The definitions that an import stands for; none where it is another project's, or counts anyway."""
        inner = f"{target.module}.{target.attribute}" if target.attribute else target.module
        if target.module.split(".")[0] not in self._folders or _within(inner, (*JUDGING, RUNNING, LOADING, FINDING)):
            return ()
        if _within(inner, (UNDIVIDED,)):
            return tuple(self.whole(UNDIVIDED))
        if target.attribute in (None, "*"):
            return tuple(self.whole(target.module))
        if self.module(inner) is not None:
            return tuple(self.whole(inner))
        module = self.module(target.module)
        if module is None:
            return ()  # a module that may be absent, as in `try: import`
        if "*" in module.imports:
            return tuple(self.whole(target.module))
        if target.attribute in module.bound:
            return tuple(Definition(module.name, n) for n in module.bound[target.attribute])
        onwards = module.imports.get(target.attribute)
        if onwards is None:
            return tuple(self.whole(target.module))
        return tuple(found for further in onwards for found in self.leads_to(further))

    def _find_effects(self, name: str) -> tuple[Definition, ...]:
        """The statements of a module that may change what its definitions mean: they count with each of them."""
        module = self._known(name)
        registering = [n for n, found in enumerate(module.statements) if self._registers(module, found)]
        return tuple(Definition(name, n) for n in sorted({*module.effects, *registering}))

    def _registers(self, module: Module, statement: ast.stmt) -> bool:
        """Whether the project's own decorator may put the definition into a dictionary, or the like."""
        for name in module_source.decorators(statement):
            targets = module.imports.get(name, [])
            ours = [t for t in targets if t.module.split(".")[0] in self._folders and not _within(t.module, DECLARING)]
            if name in module.bound or ours:
                return True
        return False


def _finds_code(target: Import) -> bool:
    inner = f"{target.module}.{target.attribute}" if target.attribute else target.module
    return _within(inner, LOOKUP_MODULES) and not _within(inner, NO_LOOKUP_MODULES)


def _within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
