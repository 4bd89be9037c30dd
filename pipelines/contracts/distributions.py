"""Reads a rule about the distribution of a column: its bins, and the shares that it is compared with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.contracts.model import Distribution
from pipelines.contracts.nodes import Place, mapping, number, refuse, texts

#: Tolerances of sums of shares: those of edges sum to 1, those of categories to at most 1.
_EDGE_SHARES_TOLERANCE = 0.01
_CATEGORY_SHARES_TOLERANCE = 1e-6
_NUMBERS = ("int", "bigint", "double", "float", "decimal")
_ALLOWED = (
    "{column: …, shares: {value: share}, max_psi: 0.2}, or edges with one share more than edges, "
    "or categories or edges with reference: previous"
)


def read(path: Path, node: dict[str, Any], at: Place, types: Mapping[str, str]) -> Distribution:
    """The distribution that a node describes.

    Args:
        path: The contract file.
        node: The node, whose keys are known ones.
        at: Its place in the file.
        types: The SQL types of the table's columns.

    Raises:
        ContractError: if it is not valid.
    """
    column, shares, reference = node["column"], node.get("shares"), node.get("reference")
    known = isinstance(column, str) and column in types
    if not known or reference not in (None, "previous") or (reference is None) == (shares is None):
        refuse(path, at, node, _ALLOWED)
    if "edges" in node:
        if "categories" in node or types[column].partition("(")[0] not in _NUMBERS:
            refuse(path, at, node, f"{_ALLOWED}; edges are of a column of numbers")
        edges = _numbers(path, node["edges"], [*at, "edges"])
        expected = None if shares is None else _numbers(path, shares, [*at, "shares"], minimum=0)
        if not edges or any(low >= high for low, high in itertools.pairwise(edges)):
            refuse(path, at, node, _ALLOWED)
        if expected and (len(expected) != len(edges) + 1 or abs(sum(expected) - 1) > _EDGE_SHARES_TOLERANCE):
            refuse(path, at, node, _ALLOWED)
        return Distribution(column, edges, "edges", expected)
    if shares is None:
        categories, given = texts(path, node.get("categories"), [*at, "categories"]), None
    else:
        mapping(path, shares, [*at, "shares"])
        categories = tuple(shares)
        given = _numbers(path, list(shares.values()), [*at, "shares"], minimum=0)
    if not categories or len(set(categories)) < len(categories) or (shares is not None and "categories" in node):
        refuse(path, at, node, _ALLOWED)
    if given is None:
        return Distribution(column, categories, "categories", None)
    if sum(given) > 1 + _CATEGORY_SHARES_TOLERANCE:
        refuse(path, at, node, _ALLOWED)
    return Distribution(column, categories, "categories", (*given, max(0.0, 1 - sum(given))))


def _numbers(path: Path, value: Any, at: Place, minimum: float | None = None) -> tuple[float, ...]:
    if not isinstance(value, list):
        refuse(path, at, value, "a list of numbers")
    return tuple(number(path, entry, [*at, position], minimum=minimum) for position, entry in enumerate(value))
