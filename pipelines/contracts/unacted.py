"""Refuses what a contract says in the standard's words and the platform does not act on.

What describes something for people stays: names, descriptions, tags, definitions, roles, support, prices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.contracts.nodes import Place, refuse

_NO_SCHEDULE = "nothing here: rules are judged in each run, which a schedule or a sensor of the domain starts"
#: By property of the standard, what to write instead.
_SCHEMA = {"relationships": "nothing here: relationships of the columns"}
_PROPERTY = {
    "partitioned": "nothing here: tables by day are partitioned by their asset",
    "partitionKeyPosition": "nothing here: tables by day are partitioned by their asset",
    "properties": "a column of one value: JSON as a string is read by the transform (from_json)",
    "items": "a column of one value: JSON as a string is read by the transform (from_json)",
    "map": "a column of one value: JSON as a string is read by the transform (from_json)",
}
QUALITY = {
    "schedule": _NO_SCHEDULE,
    "scheduler": _NO_SCHEDULE,
    "method": "nothing here: a rule is about this table alone",
    "rule": "nothing here: the metric",
    "customProperties": "nothing here: severity, description and the rule's own properties",
}
_SERVICE_LEVEL = {
    "element": "nothing here: freshness and retention are the table's",
    "valueExt": "nothing here: one value and its unit",
    "schedule": _NO_SCHEDULE,
    "scheduler": _NO_SCHEDULE,
    "customProperties": "nothing here: property, value and unit",
}
#: The status words of the standard.
STATUS = ("proposed", "draft", "active", "deprecated", "retired")


def require_acted(path: Path, document: dict[str, Any]) -> None:
    """Raises ContractError for the first property that is set and that nothing acts on.

    Args:
        path: The contract file.
        document: A document of one table, with every property of the standard.
    """
    _refuse_set(path, document, [], {"slaDefaultElement": "nothing here: freshness and retention are the table's"})
    if document["status"] not in (None, *STATUS):
        refuse(path, ["status"], document["status"], f"one of {', '.join(STATUS)}")
    for position, entry in enumerate(document["slaProperties"] or []):
        _refuse_set(path, entry, ["slaProperties", position], _SERVICE_LEVEL)
    table, at = document["schema"][0], ["schema", 0]
    _refuse_set(path, table, at, _SCHEMA)
    _refuse_rules(path, table, at)
    for position, column in enumerate(table["properties"] or []):
        place = [*at, "properties", position]
        _refuse_set(path, column, place, _PROPERTY)
        if column["physicalName"] not in (None, column["name"]):
            allowed = "the column's name, or nothing: transformSourceObjects names the column that it is read from"
            refuse(path, [*place, "physicalName"], column["physicalName"], allowed)
        _refuse_rules(path, column, place)


def _refuse_rules(path: Path, node: dict[str, Any], at: Place) -> None:
    for position, rule in enumerate(node["quality"] or []):
        place = [*at, "quality", position]
        _refuse_set(path, rule, place, QUALITY)
        if rule["unit"] is not None and rule["metric"] is None:
            refuse(
                path, [*place, "unit"], rule["unit"], "nothing here: a unit (rows, percent) of the metrics of values"
            )


def _refuse_set(path: Path, node: dict[str, Any], at: Place, unacted: dict[str, str]) -> None:
    for name, instead in unacted.items():
        if node[name] not in (None, False, -1):
            refuse(path, [*at, name], node[name], instead)
