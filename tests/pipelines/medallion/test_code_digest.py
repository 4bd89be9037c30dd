"""The digest of a transform: the same in every process, another where the transform or a value that it carries is."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.medallion.code_digest import Composition, code_digest, transform_digest
from pipelines.medallion.used_code import Code
from pipelines.settings import PROJECT
from tests.pipelines import toy_contracts

TRANSFORM = '''
def rows(rows):
    """Rows of three airports."""
    kept = [row for row in rows if row["origin"] in {"EWR", "JFK", "LGA"}]
    return sorted(kept, key=lambda row: (row["origin"], "EWR"))


def of(airports):
    return lambda rows: [row for row in rows if row["origin"] in airports and row["dest"] not in {"EWR", "JFK"}]


nested = of({"EWR", "JFK", "LGA"})
'''
DIGEST = """
import transform
from pipelines.medallion.code_digest import transform_digest
print(transform_digest(transform.rows), transform_digest(transform.nested))
"""
MODULE = '''
import functools

LIMIT = 10


def above(limit=LIMIT):
    def transform(rows):
        """Rows above a limit."""
        # Not those at it.
        return rows.where(_above(limit))

    return transform


def _above(limit):
    return f"price > {limit}"


def once(transform):
    @functools.wraps(transform)
    def wrapper(rows):
        return transform(rows).distinct()

    return wrapper


def cheap(rows):
    return rows.where("price < 5")


cheap_once = once(cheap)
first, second = (lambda rows: rows.limit(1)), (lambda rows: rows.limit(2))


def counting():
    def transform(rows, n=3):
        return rows if n == 0 else transform(rows, n - 1)

    return transform


class Above:
    def __init__(self, limit):
        self.limit = limit

    def rows(self, rows):
        return rows.where(_above(self.limit))
'''
_numbers = itertools.count()


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """Loads a module with some of its text replaced, as a new process with another source would."""

    def load(*edits: tuple[str, str]) -> Any:
        source = MODULE
        for old, new in edits:
            assert old in source
            source = source.replace(old, new)
        path = tmp_path / str(next(_numbers)) / "shop_transforms.py"
        path.parent.mkdir()
        path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("shop_transforms", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def _digests(folder: Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{PROJECT}"} | variables
    command = [sys.executable, "-c", DIGEST]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment, cwd=PROJECT).stdout


def test_the_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    """With code that was just compiled and with code from a .pyc file, and in whatever order sets lie."""
    module, compiled = tmp_path / "transform.py", str(tmp_path / "compiled")
    module.write_text(TRANSFORM, encoding="utf-8")
    digests = [
        _digests(tmp_path, PYTHONPYCACHEPREFIX=compiled, PYTHONDONTWRITEBYTECODE="", PYTHONHASHSEED=seed)
        for seed in "12"
    ]
    assert list(Path(compiled).rglob("transform*.pyc"))
    assert digests[0] == digests[1] == _digests(tmp_path, PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="3")
    module.write_text(TRANSFORM.replace("JFK", "SFO"), encoding="utf-8")
    edited = _digests(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert not set(edited.split()) & set(digests[0].split())


def test_a_table_has_another_digest_for_another_contract_or_another_transform(
    tmp_path: Path, load: Callable[..., Any]
) -> None:
    module = load()
    blocks = toy_contracts.contract(tmp_path, "silver/toys/blocks", [toy_contracts.text("part")])
    bricks = toy_contracts.contract(
        tmp_path, "silver/toys/blocks", [toy_contracts.text("part"), toy_contracts.text("colour")]
    )
    digest = code_digest(blocks, module.cheap)
    assert digest == code_digest(blocks, module.cheap)
    assert len({digest, code_digest(bricks, module.cheap), code_digest(blocks, module.above())}) == 3


@pytest.mark.parametrize(
    "edit",
    [
        ("# Not those at it.", "# Those above it alone."),
        ('"""Rows above a limit."""', '"""Rows above a limit, and none at it."""'),
        ("rows.where(_above(limit))", "rows.where(\n            _above(limit)\n        )"),
        ("import functools\n", "import functools\n\n# Above all definitions.\n"),
        ('"price < 5"', '"price < 6"'),
    ],
)
def test_an_edit_of_no_meaning_leaves_a_nested_transform_its_digest(
    load: Callable[..., Any], edit: tuple[str, str]
) -> None:
    assert transform_digest(load(edit).above()) == transform_digest(load().above())


@pytest.mark.parametrize(
    ("edit", "transform"),
    [
        (("rows.where(_above(limit))", "rows.where(_above(limit + 1))"), "above"),
        (("price > ", "cost > "), "above"),
        (("LIMIT = 10", "LIMIT = 11"), "above"),
        ((".distinct()", ""), "cheap_once"),
        (('"price < 5"', '"price < 6"'), "cheap_once"),
        (("limit(1)", "limit(3)"), "first"),
        (("n - 1", "n - 2"), "counting"),
    ],
)
def test_an_edit_of_what_a_transform_uses_changes_its_digest(
    load: Callable[..., Any], edit: tuple[str, str], transform: str
) -> None:
    """A nested transform uses its function and what that names; a wrapper uses what it wraps."""
    before, after = (getattr(module, transform) for module in (load(), load(edit)))
    if transform in {"above", "counting"}:
        before, after = before(), after()
    assert transform_digest(before) != transform_digest(after)


def test_transforms_of_one_module_differ(load: Callable[..., Any]) -> None:
    module = load()
    transforms = [
        module.cheap,
        module.cheap_once,
        module.first,
        module.second,
        module.above(1),
        module.above(2),
        module.above({1, 2}),
        module.above(load),
        module.above(functools),
        module.counting(),
        functools.partial(module.cheap),
        functools.partial(module.once, module.cheap),
        functools.partial(module.once, module.first),
    ]
    digests = [transform_digest(transform) for transform in transforms]
    assert len(set(digests)) == len(transforms)
    assert digests == [transform_digest(transform) for transform in transforms]


@pytest.mark.parametrize(
    ("carried", "exact"),
    [
        ((1, "a", None, [2.5], {"key": {3}}, Path("x"), toy_contracts.Path, re.search, toy_contracts.TAGS), True),
        (re.compile("a"), False),
        (object(), False),
    ],
)
def test_a_value_that_cannot_be_described_makes_all_code_of_the_project_count(
    load: Callable[..., Any], carried: Any, exact: bool
) -> None:
    parts = Composition(Code())
    parts.describe(carried)
    assert parts.exact is exact
    assert transform_digest(load().above(carried)) != transform_digest(load().above())


def test_where_a_contract_and_the_project_lie_is_no_part_of_the_digest(tmp_path: Path) -> None:
    def of(contract: Any, folder: Path) -> Callable[..., Any]:
        return lambda rows: (rows, contract.grain, folder)

    contracts = []
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        contracts.append(toy_contracts.contract(tmp_path / folder, "gold/toys/moved", [toy_contracts.text("part")]))
    here = transform_digest(of(contracts[0], PROJECT / "assets"))
    assert transform_digest(of(contracts[1], PROJECT / "assets")) == here
    assert transform_digest(of(contracts[1], PROJECT / "infra")) != here


def test_a_method_carries_its_object(load: Callable[..., Any]) -> None:
    module = load()
    parts = Composition(Code())
    parts.describe(module.Above(1).rows)
    assert not parts.exact
    assert transform_digest(module.Above(1).rows) == transform_digest(module.Above(1).rows)


def test_a_transform_without_a_source_has_a_digest_of_its_own() -> None:
    made: dict[str, Any] = {"__name__": "nowhere"}
    exec("def one(rows): return rows\ndef two(rows): return rows.distinct()", made)
    assert transform_digest(made["one"]) == transform_digest(made["one"]) != transform_digest(made["two"])


def test_every_gold_table_of_this_project_has_a_transform_whose_code_is_known() -> None:
    from pipelines.definitions import all_contracts
    from pipelines.medallion.gold import derivations

    code = Code()
    tables = [table for table in derivations if table in all_contracts()]  # other tests declare tables of their own
    parts = {str(table): Composition(code) for table in tables}
    for table in tables:
        parts[str(table)].describe(derivations[table].transform)
    assert len(parts) > 5
    assert [name for name, of in parts.items() if not of.exact or not of.definitions] == []
