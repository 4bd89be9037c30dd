"""Whatever is wrong in a contract file: a ContractError that names the place, never another exception or silence."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts.load import load
from pipelines.errors import ContractError
from pipelines.settings import PROJECT
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import text

DOCUMENTED = yaml.safe_load(
    (PROJECT / "docs" / "contracts.md").read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
)
BRONZE = toy_contracts.document(
    "bronze/toys/blocks", [text("part", transformSourceObjects=["Part No."]), text("box")],
    delimiter=";", encoding="latin-1", manifest="required", settleSeconds=5, delivery="snapshot", cluster=["box"],
)  # fmt: skip
DOCUMENTS = {"silver": DOCUMENTED, "bronze": BRONZE}
#: Mappings whose keys are the author's own: tags, and the categories of a distribution.
FREE_KEYS = ("tags", "shares")
MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Place = tuple[Any, ...]


def nodes(node: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every node of a document with its place."""
    yield at, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from nodes(value, (*at, key))


def changed(document: dict[str, Any], at: Place, value: Any) -> dict[str, Any]:
    """A copy of the document with another value at a place."""
    result = copy.deepcopy(document)
    parent = result
    for key in at[:-1]:
        parent = parent[key]
    parent[at[-1]] = value
    return result


def of_another_type(value: Any) -> st.SearchStrategy[Any]:
    """Values that are not of the type of this one."""
    kinds: dict[type, Any] = {
        bool: st.booleans(),
        int: st.integers(),
        str: st.sampled_from(["", "soon", "ä b"]),
        list: st.just([]) | st.just([["x"]]),
        dict: st.just({}) | st.just({"x": 1}),
    }
    same = (int,) if isinstance(value, float) else (type(value),)
    return st.one_of(*[strategy for kind, strategy in kinds.items() if kind not in same])


@pytest.mark.parametrize("zone", DOCUMENTS)
@MANY
@given(data=st.data())
def test_a_value_of_another_type_is_refused_wherever_it_stands(tmp_path: Path, zone: str, data: st.DataObject) -> None:
    places = [(at, value) for at, value in nodes(DOCUMENTS[zone]) if at]
    at, value = data.draw(st.sampled_from(places))
    document = changed(DOCUMENTS[zone], at, data.draw(of_another_type(value)))
    with pytest.raises(ContractError) as caught:
        load(toy_contracts.write(tmp_path, document))
    assert caught.value.object.startswith("contract contract_")


@pytest.mark.parametrize("zone", DOCUMENTS)
@MANY
@given(data=st.data())
def test_an_unknown_key_is_refused_wherever_it_stands(tmp_path: Path, zone: str, data: st.DataObject) -> None:
    places = [at for at, node in nodes(DOCUMENTS[zone]) if isinstance(node, dict)]
    owners = {at: "".join(map(str, at[-1:])) for at in places}
    custom = {entry["property"]: n for n, entry in enumerate(DOCUMENTS[zone]["customProperties"])}
    free = [("customProperties", custom["tags"], "value")]
    at = data.draw(st.sampled_from([at for at in places if at not in free and owners[at] not in FREE_KEYS]))
    document = changed(DOCUMENTS[zone], (*at, "colour"), data.draw(st.sampled_from(["red", 1, None, ["x"]])))
    with pytest.raises(ContractError, match="colour"):
        load(toy_contracts.write(tmp_path, document))


ANYTHING = st.recursive(
    st.sampled_from([None, True, -1, 0, 10**400, math.nan, math.inf, "", "-", "x\0", "a.b", "`", "(", "\\t", "{table}", "9" * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "column", "value", ""]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@pytest.mark.parametrize("zone", DOCUMENTS)
@MANY
@given(data=st.data())
def test_whatever_stands_in_a_contract_it_loads_or_is_refused(tmp_path: Path, zone: str, data: st.DataObject) -> None:
    document = DOCUMENTS[zone]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from([at for at, _ in nodes(document) if at]))
        document = changed(document, at, data.draw(ANYTHING))
    with contextlib.suppress(ContractError):
        load(toy_contracts.write(tmp_path, document))


@pytest.mark.parametrize("operator", ["mustBe", "mustBeGreaterThan", "mustBeBetween"])
def test_a_rule_whose_limit_is_null_is_refused(tmp_path: Path, operator: str) -> None:
    rules = DOCUMENTED["schema"][0]["quality"]
    place = next(place for place, rule in enumerate(rules) if any(key.startswith("mustBe") for key in rule))
    rule = {key: value for key, value in rules[place].items() if not key.startswith("must")} | {operator: None}
    with pytest.raises(ContractError, match=r"quality\[\d\].* Expected a (number|list)"):
        load(toy_contracts.write(tmp_path, changed(DOCUMENTED, ("schema", 0, "quality", place), rule)))
