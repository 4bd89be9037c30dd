"""The documents name only tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.settings import PROJECT

DOCUMENTS = [
    *sorted((PROJECT / "docs").glob("*.md")),
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "bench/README.md",
]


@pytest.mark.parametrize(("document", "at_least"), [("ingestion.md", 60), ("models.md", 5), ("security.md", 1)])
def test_every_test_that_a_document_names_exists(document: str, at_least: int) -> None:
    named = re.findall(r"`(test_\w+)`", (PROJECT / "docs" / document).read_text(encoding="utf-8"))
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py")]
    existing = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}
    assert len(named) > at_least
    assert sorted(set(named) - existing) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_to_a_file_leads_to_an_existing_file(document: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
