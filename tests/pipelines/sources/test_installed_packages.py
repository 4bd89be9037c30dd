"""The installed Python packages as a source: each document and docstring lands once, and nothing is imported."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.sources.distributions import DistributionMetadata
from pipelines.sources.docstrings import Docstrings
from tests.pipelines.sources.installed import install
from tests.pipelines.sources.landed import NOW, Landed, records

MODULE = '''raise SystemExit("imported")
def area(width, height):
    """Compute an area.

        Both in metres.
    """
class Box:
    def open(self):
        """Open it."""
        def inner():
            """Not public."""
    def _close(self):
        """Not public."""
    async def carry(self): "Carry it."
class _Hidden:
    def show(self):
        """Not public."""
def bare(): ...
def odd():
    "half a character: \\ud800"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    install(folder, "Toy_Box", "1.0", {"toy_box/__init__.py": MODULE, "toy_box/_private.py": MODULE})
    install(folder, "abacus", "2.0", {"abacus.py": "def (", "tests/test_abacus.py": MODULE})
    return folder


def test_the_metadata_of_each_distribution_lands_once_for_each_content(folder: Path, tmp_path: Path) -> None:
    landed, source = Landed(str(tmp_path)), DistributionMetadata((str(folder),))
    [abacus] = landed.take(source, stop_after=1)
    [toy_box] = landed.take(source)
    assert (b"Name: abacus" in abacus, b"Name: Toy_Box" in toy_box) == (True, True)
    assert landed.attributes == [
        {"distribution": "abacus", "version": "2.0"}, {"distribution": "toy-box", "version": "1.0"},
    ]  # fmt: skip
    assert landed.take(source) == []
    install(folder, "abacus", "2.1", {})
    assert [b"Version: 2.1" in content for content in landed.take(source, now=NOW + timedelta(days=1))] == [True]
    assert landed.intervals == ["2013-11-01", "2013-11-01", "2013-11-02"]
    assert len(set(landed.names)) == 3


def test_docstrings_land_with_file_and_line_and_again_only_if_something_was_installed(
    folder: Path, tmp_path: Path
) -> None:
    landed, source = Landed(str(tmp_path)), Docstrings(10, 10, (str(folder),))
    [rows] = records(landed.take(source))
    common = {"distribution": "toy-box", "version": "1.0", "file": "toy_box/__init__.py"}
    assert rows == [
        common | {"line": 2, "function": "area", "docstring": "Compute an area.\n\nBoth in metres."},
        common | {"line": 8, "function": "Box.open", "docstring": "Open it."},
        common | {"line": 14, "function": "Box.carry", "docstring": "Carry it."},
    ]
    assert landed.take(source) == []
    shutil.rmtree(folder / "Toy_Box-1.0.dist-info")
    assert landed.take(source) == [b""]  # a snapshot: what was uninstalled is gone
    assert landed.intervals == sorted(set(landed.intervals))


def test_the_choice_of_docstrings_is_bounded_and_the_same_wherever_packages_lie(folder: Path, tmp_path: Path) -> None:
    modules = {f"many/m{n}.py": f'def f{n}():\n    "Do {n}."\ndef g{n}():\n    "Undo {n}."\n' for n in range(20)}
    chosen = []
    for place in ("one", "two"):
        install(tmp_path / place, "many", "1", dict(sorted(modules.items(), reverse=place == "two")))
        [rows] = records(Landed("").take(Docstrings(5, 4, (str(tmp_path / place),))))
        chosen.append(rows)
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 5
    assert len({row["file"] for row in chosen[0]}) == 3
