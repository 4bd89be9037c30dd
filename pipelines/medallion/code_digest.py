"""A table's code as one digest: its contract, its transform, and the code of the project that the transform uses.

A transform that is defined at the top of a module is its source. One that is made while another function runs is the
source of that function, its own compiled code, and the values that it carries: a changed value is another transform.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import marshal
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from pipelines.contracts.model import Contract
from pipelines.medallion.module_source import Import
from pipelines.medallion.used_code import ROOMS, Code, Definition
from pipelines.settings import PROJECT

#: Values whose `repr` is the same in every process.
PLAIN = (int, float, complex, str, bytes, Decimal, datetime.date, datetime.time, datetime.timedelta, PurePath)


def code_digest(contract: Contract, transform: Callable[..., Any]) -> str:
    """One digest for a table's contract, its transform, and the code that the transform uses."""
    return hashlib.sha256(f"{contract.digest} {transform_digest(transform)}".encode()).hexdigest()


def transform_digest(transform: Callable[..., Any]) -> str:
    """One digest for a callable and the code of this project that it uses."""
    parts = Composition(_code(*_home(transform)))
    description = json.dumps(parts.describe(transform))
    used = parts.code.digest(parts.definitions)
    return hashlib.sha256(f"{description} {used} {'' if parts.exact else parts.code.everything()}".encode()).hexdigest()


class Composition:
    """What a callable is made of.

    Attributes:
        code: Where definitions are looked up.
        definitions: Those of the callables that were described, and of the values which they carry.
        exact: False once a definition or a value can't be told. Then all code of the project counts, which made it.
    """

    def __init__(self, code: Code) -> None:
        self.code = code
        self.definitions: list[Definition] = []
        self.exact = True
        self._describing: list[Any] = []

    def describe(self, value: Any) -> Any:
        """A value as JSON that is the same in every process."""
        if isinstance(value, PurePath) and value.is_relative_to(PROJECT):
            return ["path in the project", value.relative_to(PROJECT).as_posix()]
        if value is None or (isinstance(value, PLAIN) and not isinstance(value, Enum)):
            return [type(value).__qualname__, repr(value)]
        if any(value is outer for outer in self._describing):
            return "itself"  # a nested function that calls itself carries itself
        self._describing.append(value)
        try:
            return [*self._named(type(value).__module__, type(value).__qualname__), self._content(value)]
        finally:
            self._describing.pop()

    def _content(self, value: Any) -> Any:
        match value:
            case Enum():
                return value.name
            case Contract() if value.digest:
                return value.digest  # wherever its file lies
            case list() | tuple():
                return [self.describe(part) for part in value]
            case set() | frozenset():
                return sorted(json.dumps(self.describe(part)) for part in value)
            case Mapping():
                self.exact &= getattr(value, "default_factory", None) is None
                return [[self.describe(key), self.describe(part)] for key, part in value.items()]
            case FunctionType():
                return self._function(value)
            case MethodType():
                return [self.describe(value.__func__), self.describe(value.__self__)]
            case functools.partial():
                return [self.describe(part) for part in (value.func, value.args, value.keywords)]
            case ModuleType():
                return self._named(value.__name__, None)
            case BuiltinFunctionType() if not isinstance(value.__self__, ModuleType | type | None):
                return [value.__qualname__, self.describe(value.__self__)]
            case type() if "<locals>" in value.__qualname__:
                self.exact = False
                return self._named(value.__module__, value.__qualname__)
            case type() | BuiltinFunctionType():
                return self._named(value.__module__, value.__qualname__)
            case _ if is_dataclass(value):
                names = dict.fromkeys([*(field.name for field in fields(value)), *getattr(value, "__dict__", {})])
                return {name: self.describe(getattr(value, name)) for name in names}
        self.exact = False
        return None

    def _named(self, module: str | None, name: str | None) -> list[str | None]:
        """What has a name in a module is that name, and the definition that it leads to."""
        self.definitions += self.code.leads_to(Import(module or "", name and name.split(".")[0]))
        return [module, name]

    def _function(self, function: FunctionType) -> Any:
        compiled, module = function.__code__, str(function.__globals__.get("__name__"))
        outer, *inner = compiled.co_qualname.split(".")
        plain = not inner and not outer.startswith("<")
        source = self.code.module(module)
        if source and _is_file(compiled.co_filename, self.code.path(module)):
            positions = source.bound.get(outer) or source.at_line(compiled.co_firstlineno)
            self.definitions += [Definition(module, position, bare=plain) for position in positions]
            if plain and positions:
                return [module, outer]
            self.exact &= bool(positions)
        elif source or module == "__main__" or not Path(compiled.co_filename).is_file():
            self.exact = False
        carried = [function.__defaults__, function.__kwdefaults__, *map(_held, function.__closure__ or ())]
        code = hashlib.sha256(marshal.dumps(_without_places(compiled), 2)).hexdigest()
        return [module, compiled.co_qualname, code, self.describe(carried)]


def _is_file(name: str, path: Path | None) -> bool:
    return path is not None and Path(name).is_file() and path.samefile(name)


def _held(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that was not bound yet
        return "nothing"


def _without_places(code: CodeType) -> CodeType:
    """Compiled code without its file and its lines, and a function's without its docstring."""
    constants = [_without_places(part) if isinstance(part, CodeType) else part for part in code.co_consts]
    if constants and not code.co_name.startswith("<"):
        constants[0] = None  # a docstring, or None
    return code.replace(co_filename="", co_firstlineno=1, co_linetable=b"", co_consts=tuple(constants))


def _home(transform: Callable[..., Any]) -> tuple[str, Path] | tuple[()]:
    """The top-level package or module of a function that lies beside the project's rooms, and the folder of that."""
    function: Any = transform
    while isinstance(function, functools.partial | MethodType):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if not isinstance(function, FunctionType):
        return ()
    module, file = str(function.__globals__.get("__name__")).split("."), Path(function.__code__.co_filename)
    parts = file.parent.parts if file.stem == "__init__" else file.with_suffix("").parts
    if module[0] in ROOMS or list(parts[-len(module) :]) != module:
        return ()
    return module[0], Path(*parts[: -len(module)])


@functools.cache
def _code(package: str = "", folder: Path | None = None) -> Code:
    """The code of this project and of a package beside it, as it was when this process first asked."""
    return _code().beside(package, folder) if folder else Code()
