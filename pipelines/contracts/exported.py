"""A contract of this platform for the tools of others: valid under the standard's schema, its rules as SQL."""

from __future__ import annotations

import re
from typing import Any

from pipelines.contracts import standard
from pipelines.contracts.model import Contract

#: The standard's placeholder of a query's own table.
TABLE = "${table}"
#: What the standard's schema takes as `table.column`.
_REFERENCE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", re.ASCII)


def document(contract: Contract) -> tuple[dict[str, Any], list[str]]:
    """The ODCS document of a contract, as tools that know only the standard read it, and what it had to leave out.

    It is the contract's own file with these differences: SQL that holds for each row, and SQL aggregates, are whole
    queries of type `sql`; a reference names its target as `table.column`. Rules that only this platform can check
    (freshness, distributions) stay of type `custom`, which other tools pass over.
    """
    exported = standard.set_properties(standard.read_document(contract.path))
    left_out: list[str] = []
    (table,) = exported["schema"]
    for owner in (table, *(table.get("properties") or [])):
        if owner.get("quality"):
            owner["quality"] = [_quality(entry) for entry in owner["quality"]]
        relations = owner.pop("relationships", [])
        kept = [_relationship(relation) for relation in relations]
        if any(kept):
            owner["relationships"] = [relation for relation in kept if relation]
        left_out += [
            f"{owner['name']}.relationships: {relation['to']} is no reference that the standard allows"
            for relation, as_standard in zip(relations, kept, strict=True)
            if as_standard is None
        ]
    return exported, left_out


def _quality(entry: dict[str, Any]) -> dict[str, Any]:
    implementation = entry.get("implementation")
    if entry.get("engine") == "goldpath" and isinstance(implementation, dict) and "row" in implementation:
        common = {name: value for name, value in entry.items() if name not in ("engine", "implementation")}
        query = f"SELECT count(*) FROM {TABLE} WHERE NOT ({implementation['row']})"
        return common | {"type": "sql", "query": query, "mustBe": 0}
    query = entry.get("query")
    if not query:
        return entry
    whole = re.match(r"\s*(select|with)\b", query, re.IGNORECASE)
    query = re.sub(r"\$?\{table\}", lambda _: TABLE, query) if whole else f"SELECT {query} FROM {TABLE}"
    return entry | {"query": query}


def _relationship(relation: dict[str, Any]) -> dict[str, Any] | None:
    reference = ".".join(str(relation["to"]).split(".")[-2:])
    return relation | {"to": reference} if _REFERENCE.fullmatch(reference) else None
