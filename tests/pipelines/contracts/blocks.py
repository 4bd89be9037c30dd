"""The valid contract document of a table of toy blocks, which tests change, and parts of such documents."""

from __future__ import annotations

from typing import Any

from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, number, row_rule, text


def blocks_document() -> dict[str, Any]:
    """A valid ODCS document of `silver/toys/blocks`; its key is (box, part)."""
    foreign = {"type": "foreignKey", "to": "silver.toys.makers.name"}
    foreign["customProperties"] = [{"property": "severity", "value": "warning"}, {"property": "reason", "value": "new"}]  # type: ignore[assignment]
    return toy_contracts.document(
        "silver/toys/blocks",
        [
            text("part", primaryKey=True, primaryKeyPosition=2, required=True),
            text("box", primaryKey=True, primaryKeyPosition=1, required=True),
            number("weight", logicalTypeOptions={"minimum": 0}, customProperties=[{"property": "unit", "value": "g"}]),
            integer("holes", logicalTypeOptions={"minimum": 1, "maximum": 8}, transformSourceObjects=["n_holes"]),
            text("colour", enum=[{"value": "red"}, {"value": "blue"}], classification="internal"),
            text("code", logicalTypeOptions={"pattern": "^[A-Z]{2}$"}),
            text("maker", relationships=[foreign]),
            number("density", transformLogic="weight / holes"),
        ],
        quality=[
            row_rule("light_or_red", "weight", "weight < 9 or colour = 'red'", severity="warning", description="why"),
            {"name": "some_rows", "type": "library", "metric": "rowCount", "mustBeGreaterOrEqualTo": 1},
            {"name": "balanced", "type": "sql", "query": "avg(weight)", "mustBeBetween": [1, 9], "severity": "warning"},
        ],
        nullTokens=["", "NA"],
        winner="weight desc, code",
    )


def column(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The node of one column."""
    return next(node for node in document["schema"][0]["properties"] if node["name"] == name)


def custom_property(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The node of one custom property of the table."""
    return next(node for node in document["customProperties"] if node["property"] == name)


def goldpath_rule(name: str, **implementation: Any) -> dict[str, Any]:
    """A `quality` entry of the platform's own engine: `row`, `freshness` or `distribution`."""
    return {"name": name, "type": "custom", "engine": "goldpath", "implementation": implementation}
