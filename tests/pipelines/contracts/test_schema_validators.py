"""The validator that says whether a contract fits the schema agrees with the one that says why it does not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import standard
from pipelines.settings import PROJECT

DOCUMENTS = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(PROJECT.glob("assets/*/contracts/*.yaml"))]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
    st.just([]), st.just({}), st.sampled_from(["active", "string", "v3.1.0", "error", "DataContract"]),
)  # fmt: skip


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each node below the document."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield (*at, key)
        yield from places(value, (*at, key))


@settings(max_examples=120, deadline=None)
@given(data=st.data(), document=st.sampled_from(DOCUMENTS), value=VALUES)
def test_both_validators_agree_on_a_document_with_one_change(data: st.DataObject, document: Any, value: Any) -> None:
    changed = copy.deepcopy(document)
    *above, last = data.draw(st.sampled_from(list(places(changed))))
    parent = changed
    for key in above:
        parent = parent[key]
    change = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "replace":
        parent[last] = value
    elif change == "remove":
        del parent[last]
    elif isinstance(parent, dict):
        parent[data.draw(st.sampled_from(["name", "unknown_key", "type", "quality"]))] = value
    quick, thorough = standard._quick_validator(), standard._schema_validator()
    assert quick.is_valid(changed) == thorough.is_valid(changed)


def test_every_contract_of_the_repository_fits_the_schema() -> None:
    assert len(DOCUMENTS) > 20
    assert all(standard._quick_validator().is_valid(document) for document in DOCUMENTS)
