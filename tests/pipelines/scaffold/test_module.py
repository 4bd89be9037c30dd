"""Modules that `goldpath new` writes: new ones, and existing ones with more imports and lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.scaffold.module import Module, merged

MORE = Module(
    "gold.py", "Gold.", {"assets.shop.domain": ("contract",), "datetime": ("UTC",)}, "b = contract(UTC)",
    {"pyspark.sql": ("DataFrame",)},
)  # fmt: skip
NOW = '''"""Kept."""

from __future__ import annotations

import dagster as dg

from assets.shop.domain import shop

# Kept, too.
a = dg
'''


def test_a_new_module_has_its_imports_in_groups(tmp_path: Path) -> None:
    assert merged(tmp_path / "gold.py", MORE) == (
        '"""Gold."""\n\nfrom __future__ import annotations\n\nfrom datetime import UTC\nfrom typing import TYPE_CHECKING\n\n'
        "from assets.shop.domain import contract\n\nif TYPE_CHECKING:\n    from pyspark.sql import DataFrame\n\n\n"
        "b = contract(UTC)\n"
    )


def test_a_module_keeps_its_lines_and_gets_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "gold.py"
    path.write_text(NOW, encoding="utf-8")
    text = merged(path, MORE)
    assert text.startswith('"""Kept."""\n')
    assert "import dagster as dg\n\nfrom assets.shop.domain import contract, shop\n" in text
    assert text.endswith("# Kept, too.\na = dg\n\n\nb = contract(UTC)\n")


@pytest.mark.parametrize(
    ("text", "observed"),
    [
        ("b = 1\n", "it defines b already"),
        ("def b(:\n", "line 1 is no Python"),
        ("# why\nimport os\n", "a comment stands among its imports"),
    ],
)
def test_a_module_that_cannot_be_extended_is_refused(tmp_path: Path, text: str, observed: str) -> None:
    path = tmp_path / "gold.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as error:
        merged(path, MORE)
    assert error.value.observed == observed
