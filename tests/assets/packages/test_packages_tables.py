"""The texts of installed packages from landing to the training sets, without anybody's address."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assets.packages import gold, tables
from assets.packages.domain import contract
from pipelines.governed.platform import Platform
from pipelines.medallion.landing_assets import extract
from pipelines.sources.distributions import DistributionMetadata
from pipelines.sources.docstrings import Docstrings
from pipelines.tables import TableId
from tests.conftest import Materialize
from tests.pipelines.sources.installed import install

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMMON = "Classifier: Topic :: Software Development :: Libraries\nClassifier: Topic :: Software Development\n"
WORDS = "Reads and writes numbers, see https://toys.example/docs. "
BODY = (
    "Explains at length what the function does to its arguments, one by one; ask Ann.Author@toys.example about it. " * 2
)
OLD_FORM = (
    "Summary: UNKNOWN\nLicense: UNKNOWN\nDescription: First line, write to bo@toys.example\n        second line\n"
)
MODULE = f'''
def first():
    """Counts the toys in a box.

    {BODY}
    """
def without_summary():
    """counts"""
def without_body():
    """Counts the toys in a box."""
def again():
    """Counts the toys in all boxes.

    Counts the toys in all boxes. {BODY}
    """
'''


@pytest.fixture(scope="module")
def rows(
    make_platform: Callable[[], Platform], materialize: Materialize, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[dict[str, Any]]]:
    """The rows of a table of the domain, of 24 made-up distributions."""
    platform, folder = make_platform(), tmp_path_factory.mktemp("site")
    _install(folder)
    for table, source in (
        ("metadata", DistributionMetadata((str(folder),))),
        ("docstrings", Docstrings(10, 10, (str(folder),))),
    ):
        extract(platform, contract(f"bronze/{table}").table, source, now=NOW)
    silver = [tables.bronze_metadata, tables.bronze_docstrings, tables.silver_metadata, tables.silver_docstrings]
    materialize(platform, [*silver, gold.topic_training_set, gold.summary_training_set])

    def read(table: str) -> list[dict[str, Any]]:
        found = platform.lakehouse.snapshot(
            TableId.parse(f"{table[: table.index('/')]}/packages/{table.split('/')[1]}")
        )
        return found.arrow().to_pylist()

    return read


def _install(folder: Path) -> None:
    for n in range(24):
        topic = (
            f"{COMMON}Classifier: Topic :: {'Internet :: WWW/HTTP' if n % 2 else 'Multimedia'}\n" if n < 20 else COMMON
        )
        fields = f"Summary: Toys number {n}, by ann@toys.example\nLicense-Expression: MIT\n{topic}"
        module = {f"toys{n}.py": MODULE.replace("Explains", f"{n} explains")} if n else {"toys0.py": MODULE}
        install(folder, f"Toys-{n}", "1.0", module, fields=fields, text=WORDS * (50 if n == 3 else 10))
    install(folder, "old", "0.1", {"old.py": MODULE}, fields=OLD_FORM + "Classifier: Topic :: Multimedia\n", text="")
    install(folder, "silent", "0.1", {}, fields="License: Apache\n  and more\n", text="UNKNOWN\n")


def test_silver_has_what_the_authors_say_without_addresses(rows: Callable[[str], list[dict[str, Any]]]) -> None:
    silver = {row["distribution"]: row for row in rows("silver/metadata")}
    assert len(silver) == 26
    toys = silver["toys-1"]
    assert (toys["summary"], toys["licence"]) == ("Toys number 1, by [email]", "MIT")
    assert toys["topics"] == "Internet\nSoftware Development"
    assert toys["description"] == (WORDS * 10).strip()
    old, silent = silver["old"], silver["silent"]
    assert (old["summary"], old["licence"]) == (None, None)
    assert old["description"] == "First line, write to [email]\nsecond line"
    assert (silent["description"], silent["licence"], silent["topics"]) == (None, "Apache", None)
    assert "@toys.example" in str(rows("bronze/metadata"))
    for table in ("silver/metadata", "silver/docstrings", "gold/topic_training_set", "gold/summary_training_set"):
        assert "@toys.example" not in str(rows(table))


def test_a_passage_has_the_rarest_frequent_topic_of_its_distribution(
    rows: Callable[[str], list[dict[str, Any]]],
) -> None:
    passages = rows("gold/topic_training_set")
    topics = {row["distribution"]: row["topic"] for row in passages}
    assert topics["toys-1"] == "Internet"
    assert topics["toys-2"] == "Multimedia"
    assert topics["toys-22"] == "Software Development"
    assert "silent" not in topics
    assert [row["passage_id"] for row in passages if row["distribution"] == "toys-3"] == ["toys-3#0", "toys-3#1"]
    assert all(len(row["text"]) <= gold.PASSAGE and "https" not in row["text"] for row in passages)


def test_a_docstring_with_a_summary_of_one_line_is_an_example_once(rows: Callable[[str], list[dict[str, Any]]]) -> None:
    examples = rows("gold/summary_training_set")
    # The modules of toys-0 and old are equal, and the summaries of all are; of equal texts one stays.
    assert [row["summary"] for row in examples] == ["Counts the toys in a box."]
    [example] = examples
    assert example["body"].count("[email]") == 2
    assert example["function"] == "first"


def test_a_distribution_is_in_one_fold_and_all_folds_have_some(rows: Callable[[str], list[dict[str, Any]]]) -> None:
    folds: dict[str, set[str]] = {}
    for row in rows("gold/topic_training_set"):
        folds.setdefault(row["distribution"], set()).add(row["fold"])
    assert all(len(fold) == 1 for fold in folds.values())
    assert set().union(*folds.values()) == {"train", "holdout", "gate"}
