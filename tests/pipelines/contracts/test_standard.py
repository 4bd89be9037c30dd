"""How the YAML of a contract file is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts import standard
from pipelines.errors import ContractError

HEAD = "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [("2025-01-28", "2025-01-28"), ("2025-01-28T10:00:00Z", "2025-01-28T10:00:00Z"), ("NO", "NO"), ("yes", "yes"), ("off", "off"),
     ("007", "007"), ("12:30", "12:30"), ("1_000", "1_000"), ("0x1F", "0x1F"), ("'5'", "5"), ("5", 5), ("-3", -3), ("0", 0),
     ("1.50", 1.5), ("1e3", 1000.0), (".5", 0.5), ("00.5", "00.5"), ("true", True), ("null", None), ("~", None), ("", None)],
)  # fmt: skip
def test_an_unquoted_text_is_another_type_only_if_it_means_the_same_to_everyone(tmp_path: Path, text: str, value: Any):
    path = tmp_path / "contract.yaml"
    path.write_text(f"{HEAD}customProperties: [{{property: a, value: {text}}}]\n", encoding="utf-8")
    read = standard.read_document(path)["customProperties"][0]["value"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("twice", ["id: y", "customProperties: [{property: a, property: b, value: 1}]"])
def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path, twice: str):
    path = tmp_path / "contract.yaml"
    path.write_text(f"{HEAD}{twice}\n", encoding="utf-8")
    with pytest.raises(ContractError, match=r"(?s)stands twice.*line 6"):
        standard.read_document(path)
