"""What the domains declare, found by name: tables, feature services and models, with the module that holds each."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from pipelines import definitions
from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Contract
from pipelines.features.declaration import FeatureService
from pipelines.models.spec import ModelSpec
from pipelines.scaffold.draft import refuse
from pipelines.tables import TableId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Declared(Generic[T]):
    """A declaration: the value, and `module` and `variable` by which it is imported."""

    value: T
    module: str
    variable: str


def domain(name: str) -> Domain:
    """The domain of that name.

    Raises:
        GoldpathError: the domain's own error, if it does not load.
        UsageError: if there is none.
    """
    if name in definitions.broken_domains():
        raise definitions.broken_domains()[name]
    found = definitions.domains().get(name)
    if found is None:
        _absent(f"domain {name}", name, definitions.domains(), f"goldpath new domain {name}")
    return found.domain


def domain_import(of: Domain) -> Declared[Domain]:
    """The domain with the module that declares it."""
    return next(each for each in _all(of.name, Domain) if each.value is of)


def source(name: str) -> Contract:
    """The contract of a table of any domain, `zone/domain/table`; raises as `domain` does."""
    table = TableId.parse(name)
    contracts = domain(table.domain).contracts
    if table not in contracts:
        _absent(f"table {name}", name, map(str, contracts), f"goldpath landing propose {table.domain}/{table.table}")
    return contracts[table]


def feature_service(name: str, of: Domain) -> Declared[FeatureService]:
    """The feature service `name` of the domain, or `domain.name` of another; raises UsageError if there is none."""
    owner, _, plain = name.rpartition(".")
    declared = _all(domain(owner).name if owner else of.name, FeatureService)
    by_name = {each.value.name: each for each in declared}
    if plain not in by_name:
        _absent(f"feature service {name}", plain, by_name, f"goldpath new feature {of.name}/TABLE")
    return by_name[plain]


def model(name: str) -> Declared[ModelSpec]:
    """The model `domain.name`; raises UsageError if there is none."""
    of, plain = model_name(name)
    by_name = {each.value.name: each for each in _all(domain(of).name, ModelSpec)}
    if plain not in by_name:
        _absent(f"model {name}", plain, by_name, f"goldpath new model {name}")
    return by_name[plain]


def model_name(name: str) -> tuple[str, str]:
    """The two parts of `domain.name`; raises UsageError if there are not two."""
    of, _, plain = name.partition(".")
    if not of or not plain.isidentifier() or not plain.islower():
        refuse(f"model {name}", "it is not DOMAIN.NAME", "such as shop.returns, in lower case", "correct the name")
    return of, plain


def _all(of: str, kind: type[Any]) -> list[Declared[Any]]:
    """The values of a type in the modules of a loaded domain, each with the module that defines it first."""
    prefix = f"assets.{of}."
    found: dict[int, Declared[Any]] = {}
    for module in sorted(name for name in sys.modules if name.startswith(prefix)):
        for variable, value in vars(sys.modules[module]).items():
            if isinstance(value, kind):
                known = found.get(id(value))
                # Its own module does not import it; a domain's variable stands in `domain.py` by its convention.
                if known is None or _rank(value, module) < _rank(value, known.module):
                    found[id(value)] = Declared(value, module, variable)
    return [each for each in found.values() if _domain_of(each.value) == of]


def _domain_of(value: Any) -> str:
    return value.name if isinstance(value, Domain) else getattr(value.domain, "name", value.domain)


def _rank(value: Any, module: str) -> int:
    homes = {Domain: "domain", FeatureService: "features", ModelSpec: "model"}
    return 0 if module.endswith(f".{homes[type(value)]}") else 1


def _absent(what: str, name: str, known: Iterable[str], command: str) -> NoReturn:
    known = sorted(known)
    alike = difflib.get_close_matches(name, known, n=3) or known[:5]
    refuse(what, "nothing declares it", f"one of {', '.join(alike) or 'none yet'}", f"correct the name, or: {command}")
