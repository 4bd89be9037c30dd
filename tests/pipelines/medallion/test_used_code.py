"""Which edits of a project change the digest of a table's code: those of code that it uses, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.errors import NotFoundError
from pipelines.medallion.used_code import ROOMS, Code, Definition
from pipelines.settings import PROJECT

GOLD = '''
"""Gold tables of a shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.shop import rates
from assets.shop.money import in_euros as euros
from pipelines.features.rolling import mean
from pipelines.medallion.decorators import gold_asset

if TYPE_CHECKING:
    from assets.shop.shapes import Rows

LIMIT = 10
UNITS = {}


@gold_asset("gold/orders")
def orders(rows: Rows, returns: Rows) -> Rows:
    """Orders of a shop."""
    # Only large ones.
    return _large(rows).select(mean("price"))


def _large(rows):
    from math import floor

    return rows.where(floor(LIMIT))


@gold_asset("gold/returns")
def returns(rows: Rows) -> Rows:
    return rows.select(euros("price"))


@gold_asset("gold/prices")
def prices(rows):
    return rows.select(rates.current())


@gold_asset("gold/units")
def units(rows):
    return rows.select(UNITS["price"])


UNITS["price"] = "cent"


@gold_asset("gold/history")
def history(rows):
    from feature_repo.asof import as_of

    return as_of(rows)
'''
LABELS = """
from assets.shop.names import *

SPARE = 1


def labels(rows):
    return rows.select(label("price"))
"""
LOOKUPS = """
def lookups(rows):
    return globals()["_at_run_" + "time"](rows)
"""
TOTALS = """
from typing import TYPE_CHECKING

from assets.shop import exports
from assets.shop.sums import *

if TYPE_CHECKING:
    from assets.shop.shapes import Rows
else:
    from assets.shop.money import UNUSED as Rows


def totals(rows):
    return rows.select(exports.PRICE, round("price"), Rows)
"""
REGISTERED = """
from pipelines.medallion.decorators import gold_asset

KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


@kind
def cheap(rows):
    return rows.where("price < 10")


@gold_asset("gold/kinds")
def kinds(rows):
    return [select(rows) for select in KINDS.values()]


@gold_asset("gold/other")
def other(rows):
    return rows.where("price < 20")
"""
FILES = {
    "assets/shop/gold.py": GOLD,
    "assets/shop/labels.py": LABELS,
    "assets/shop/exports.py": "from assets.shop.money import RATE as PRICE\n",
    "assets/shop/lookups.py": LOOKUPS,
    "assets/shop/registered.py": REGISTERED,
    "assets/shop/money.py": "RATE = 2\nUNUSED = 1\n\n\ndef in_euros(name):\n    return RATE * name\n",
    "assets/shop/names.py": "def label(name):\n    return name + 'label'\n",
    "assets/shop/rates.py": "from assets.shop.money import RATE\n\n\ndef current():\n    return RATE\n\n\nlast = 5\n",
    "assets/shop/sums.py": "def round(name):\n    return name\n",
    "assets/shop/totals.py": TOTALS,
    "assets/shop/shapes.py": "class Rows:\n    pass\n",
    "assets/bakery/gold.py": "LIMIT = 10\n",
    "feature_repo/asof.py": "def as_of(rows):\n    return rows\n",
    "feature_repo/store.py": "class Store:\n    pass\n",
    "pipelines/commands/doctor.py": "LIMIT = 10\n",
    "pipelines/contracts/model.py": "def types():\n    return ['int']\n",
    "pipelines/features/rolling.py": "def mean(name):\n    return _named(name)\n\n\ndef _named(name):\n    return name\n",
    "pipelines/lakehouse/base.py": "def text(name):\n    return name\n\n\ndef commit():\n    return 1\n",
    "pipelines/medallion/decorators.py": "import pipelines.lakehouse.base\n\n\ndef gold_asset(name):\n    return name\n",
    "pipelines/quarantine/decisions.py": "from pipelines.lakehouse.base import text\n\nROW = text('row')\n",
    "pipelines/verdict/verdict.py": "def judge(rows):\n    return rows\n",
}
#: The tables of the project, each with the module of its transform.
TABLES = {
    **dict.fromkeys(("orders", "returns", "prices", "units", "history"), "assets.shop.gold"),
    "labels": "assets.shop.labels",
    "kinds": "assets.shop.registered",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A small project."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def digests(root: Path, tables: Mapping[str, str]) -> dict[str, str]:
    """The digest of the code of each table, as a new process computes it."""
    code = Code(root)
    found = {}
    for table, name in tables.items():
        module = code.module(name)
        assert module is not None
        found[table] = code.digest([Definition(name, n, bare=True) for n in module.bound[table]])
    return found


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


def changed(root: Path, tables: Mapping[str, str], file: str, old: str, new: str) -> set[str]:
    """The tables whose digest an edit changes."""
    before = digests(root, tables)
    edit(root, file, old, new)
    after = digests(root, tables)
    return {table for table in tables if after[table] != before[table]}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("assets/shop/gold.py", "# Only large ones.", "# Those above the limit."),
        ("assets/shop/gold.py", '"""Orders of a shop."""', '"""Orders of a shop, large ones only."""'),
        ("assets/shop/gold.py", '    """Orders of a shop."""\n', ""),
        ("assets/shop/gold.py", '"""Gold tables of a shop."""', ""),
        (
            "assets/shop/gold.py",
            '_large(rows).select(mean("price"))',
            "_large(\n        rows\n    ).select(mean('price'))",
        ),
        ("assets/shop/gold.py", "LIMIT = 10", "MOST = 20\n\n\nLIMIT = (10)"),
        ("assets/shop/gold.py", '@gold_asset("gold/orders")', '@gold_asset("gold/orders", automation=None)'),
        ("assets/shop/money.py", "UNUSED = 1", "UNUSED = 2"),
        ("assets/shop/registered.py", "price < 20", "price < 25"),
        ("assets/shop/shapes.py", "pass", "size = 1"),
        ("assets/bakery/gold.py", "LIMIT = 10", "LIMIT = 20"),
        ("pipelines/commands/doctor.py", "LIMIT = 10", "LIMIT = 20"),
        ("pipelines/lakehouse/base.py", "return 1", "return 2"),
        ("pipelines/verdict/verdict.py", "def judge", "# The verdict.\ndef judge"),
    ],
)
def test_an_edit_that_no_row_depends_on_changes_no_table(shop: Path, file: str, old: str, new: str) -> None:
    assert changed(shop, TABLES, file, old, new) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "tables"),
    [
        ("assets/shop/gold.py", 'mean("price")', 'mean("cost")', {"orders"}),
        ("assets/shop/gold.py", "rows.where(floor(LIMIT))", "rows.where(floor(-LIMIT))", {"orders"}),
        ("assets/shop/gold.py", "LIMIT = 10", "LIMIT = 20", {"orders"}),
        ("assets/shop/gold.py", "from math import floor", "from math import ceil as floor", {"orders"}),
        ("assets/shop/gold.py", 'select(euros("price"))', 'select(euros("cost"))', {"returns"}),
        ("assets/shop/gold.py", "import in_euros as euros", "import RATE as euros", {"returns"}),
        ("assets/shop/money.py", "RATE * name", "RATE + name", {"returns"}),
        ("assets/shop/money.py", "RATE = 2", "RATE = 3", {"returns", "prices"}),
        ("assets/shop/rates.py", "last = 5", "last = 6", {"prices"}),
        ("assets/shop/names.py", "'label'", "'name'", {"labels"}),
        ("assets/shop/labels.py", "SPARE = 1", "SPARE = 2", {"labels"}),
        ("assets/shop/registered.py", "price < 10", "price < 5", {"kinds"}),
        ("pipelines/features/rolling.py", "    return name", "    return name + 'mean'", {"orders"}),
        ("feature_repo/asof.py", "return rows", "return rows[1:]", {"history"}),
        ("feature_repo/store.py", "pass", "size = 1", {"history"}),
    ],
)
def test_an_edit_of_used_code_changes_the_tables_that_use_it(
    shop: Path, file: str, old: str, new: str, tables: set[str]
) -> None:
    """Of `labels`, which has a name from a star import, all modules count; of `prices` the one whose attribute it uses."""
    assert changed(shop, TABLES, file, old, new) == tables


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("assets/shop/money.py", "RATE = 2", "RATE = 3"),
        ("assets/shop/money.py", "UNUSED = 1", "UNUSED = 2"),
        ("assets/shop/exports.py", "import RATE", "import UNUSED"),
        ("assets/shop/sums.py", "return name", "return name + 'sum'"),
    ],
)
def test_code_behind_exported_star_imported_and_conditional_names_is_used(
    shop: Path, file: str, old: str, new: str
) -> None:
    """`exports` imports names for others, `round` stands for a function of the project, `Rows` for one at run time."""
    assert changed(shop, {"totals": "assets.shop.totals"}, file, old, new) == {"totals"}


@pytest.mark.parametrize("lookup", ["sys.modules[__name__]", "vars()['last']", "importlib.util.find_spec('x')"])
def test_every_kind_of_lookup_at_run_time_uses_every_file_of_the_project(shop: Path, lookup: str) -> None:
    edit(shop, "assets/shop/lookups.py", "globals()", lookup)
    edit(shop, "assets/shop/lookups.py", "def", "import sys\nimport importlib.util\n\n\ndef")
    lookups = {"lookups": "assets.shop.lookups"}
    assert changed(shop, lookups, "pipelines/commands/doctor.py", "LIMIT = 10", "LIMIT = 20") == {"lookups"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pipelines/verdict/verdict.py", "return rows", "return rows[1:]"),
        ("pipelines/contracts/model.py", "'int'", "'long'"),
        ("pipelines/medallion/decorators.py", "return name", "return name.lower()"),
        ("pipelines/quarantine/decisions.py", "'row'", "'line'"),
        ("pipelines/lakehouse/base.py", "return name", "return name.lower()"),
    ],
)
def test_an_edit_of_what_judges_every_row_changes_every_table(shop: Path, file: str, old: str, new: str) -> None:
    assert changed(shop, TABLES, file, old, new) == set(TABLES)


def test_a_statement_that_changes_what_a_name_means_changes_every_table_of_its_module(shop: Path) -> None:
    tables = changed(shop, TABLES, "assets/shop/gold.py", 'UNITS["price"] = "cent"', 'UNITS["price"] = "euro"')
    assert tables == {table for table, module in TABLES.items() if module == "assets.shop.gold"}


def test_a_transform_that_looks_up_code_at_run_time_uses_every_file_of_the_project(shop: Path) -> None:
    lookups = {"lookups": "assets.shop.lookups"}
    assert changed(shop, lookups, "pipelines/commands/doctor.py", "LIMIT = 10", "LIMIT = 20") == {"lookups"}


def test_a_definition_that_moves_in_its_module_changes_no_other_table(shop: Path) -> None:
    moved = '@gold_asset("gold/units")\ndef units(rows):\n    return rows.select(UNITS["price"])\n'
    others = {table: module for table, module in TABLES.items() if table != "units"}
    before = digests(shop, others)
    edit(shop, "assets/shop/gold.py", moved, "")
    edit(shop, "assets/shop/gold.py", "LIMIT = 10", f"{moved}\nLIMIT = 10")
    assert digests(shop, others) == before


def test_a_digest_that_was_kept_is_read_again_and_a_damaged_one_is_found_anew(shop: Path) -> None:
    before = digests(shop, TABLES)
    [kept] = shop.rglob("*.digest")
    content = kept.read_text()
    kept.write_text(f"{content.split()[0]} other")
    assert set(digests(shop, TABLES).items()).isdisjoint(before.items())
    for damaged in ("", content[:65], "\0" * 129, "\N{EN DASH}"):
        kept.write_text(damaged)
        assert digests(shop, TABLES) == before
    assert kept.read_text() == content


def test_code_of_the_platform_that_was_renamed_is_named_in_an_error(shop: Path) -> None:
    digests(shop, TABLES)
    (shop / "pipelines/quarantine/decisions.py").rename(shop / "pipelines/quarantine/acts.py")
    with pytest.raises(NotFoundError, match=r"pipelines\.quarantine\.decisions"):
        digests(shop, TABLES)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project's code."""
    root = tmp_path_factory.mktemp("project")
    for path in (path for room in ROOMS for path in (PROJECT / room).rglob("*.py")):
        (root / path.relative_to(PROJECT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.relative_to(PROJECT))
    return root


FLIGHTS = {
    "flights": "assets.flights.silver",
    "departures": "assets.flights.gold",
    "training_set_asset": "feature_repo.assets",  # the transform of a training set is made in it
}


@pytest.mark.parametrize(
    ("file", "old", "new", "tables"),
    [
        ("pipelines/commands/app.py", "from __future__ import annotations", "from __future__ import annotations\nA = 1", set()),
        ("assets/platform/domain.py", '"cc-1000"', '"cc-1001"', set()),
        ("assets/flights/silver.py", "return planes", "return planes.distinct()", set()),
        ("assets/flights/gold.py", "LATE_MINUTES = 15", "LATE_MINUTES = 16", {"departures"}),
        ("assets/flights/silver.py", "GROUND_MINUTES = 60", "GROUND_MINUTES = 61", {"flights"}),
        ("feature_repo/asof_window.py", "_asof_time", "_asof_instant", {"training_set_asset"}),
        ("feature_repo/asof_index.py", "return np.argsort(packed)", "return np.argsort(-packed)", {"training_set_asset"}),
        ("pipelines/verdict/row_rules.py", '"error"', '"fault"', set(FLIGHTS)),
    ],
)  # fmt: skip
def test_an_edit_of_this_project_changes_the_tables_that_use_it(
    copied: Path, file: str, old: str, new: str, tables: set[str]
) -> None:
    try:
        assert changed(copied, FLIGHTS, file, old, new) == tables
    finally:
        shutil.copy(PROJECT / file, copied / file)
