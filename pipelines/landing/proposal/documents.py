"""The first contracts of a source, for a person to correct and complete: bronze as it arrives, silver with types."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.contracts import reader
from pipelines.contracts.column_names import named
from pipelines.contracts.model import COST_TAGS, UNKNOWN
from pipelines.errors import ContractError, LandingError
from pipelines.landing.proposal import code
from pipelines.landing.proposal.look import Look
from pipelines.landing.proposal.texts import ColumnTexts

Documents = dict[str, dict[str, Any]]
#: ODCS logical type of an SQL type that it alone does not name.
_LOGICAL = {"bigint": "integer", "double": "number", "float": "number"}


def documents(seen: Look, owner: str = UNKNOWN, tags: Mapping[str, str] | None = None) -> Documents:
    """ODCS documents by file name: bronze with every column as text, silver with the types that the texts have.

    A column whose name no table can have gets another one; `transformSourceObjects` keeps the name in the file.

    Args:
        seen: What was seen of the source.
        owner: The owning team.
        tags: The cost tags; those that are missing are unknown.
    """
    known = dict.fromkeys(COST_TAGS, UNKNOWN) | {"data_class": "internal"} | dict(tags or {})
    tags = known | {"workload_class": "ingestion"}
    names = column_names(seen)
    bronze, silver = _bronze(seen, names), _silver(seen, names)
    return {
        f"bronze_{seen.source}.yaml": _document("bronze", seen, owner, bronze, _bronze_custom(seen, tags)),
        f"silver_{seen.source}.yaml": _document("silver", seen, owner, silver, _silver_custom(seen, tags)),
    }


def column_names(seen: Look) -> dict[str, str]:
    """The columns of the tables by their names in the file, without space around them where the names still differ."""
    stripped = {name: name.strip() for name in seen.columns}
    if len(set(stripped.values())) < len(stripped):
        return named(seen.columns)
    columns = named(stripped.values())
    return {name: columns[plain] for name, plain in stripped.items()}


def _document(
    zone: str, seen: Look, owner: str, properties: list[dict[str, Any]], custom: dict[str, Any]
) -> dict[str, Any]:
    domain, source = seen.domain, seen.source
    server = {
        "server": "landing",
        "type": "local",
        "path": f"{source}/dt=*/{seen.pattern}",
        "format": seen.sniffed.format,
    }
    key = seen.key and column_names(seen)[seen.key]
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"{zone}-{domain}-{source}",
        "name": source.replace("_", " ").capitalize(),
        "version": "0.1.0",
        "status": "draft",
        "domain": domain,
        "description": {"purpose": f"What {source} is for: say it here, people read it in the UI."},
        "team": {"name": owner},
        **({"servers": [server]} if zone == "bronze" else {}),
        "schema": [
            {
                "name": source,
                "physicalName": f"{zone}/{domain}/{source}",
                "dataGranularityDescription": f"One row per {key or 'record of the source'}.",
                "properties": properties,
            }
        ],
        "slaProperties": [
            {"property": "freshness", "value": 2, "unit": "d"},
            {"property": "retention", "value": 7, "unit": "y"},
        ],
        "customProperties": _custom(custom),
    }


def _custom(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"property": name, "value": value} for name, value in values.items()]


def _shared_custom(tags: Mapping[str, str]) -> dict[str, Any]:
    return {"drift": {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"}, "tags": dict(tags)}


def _bronze_custom(seen: Look, tags: Mapping[str, str]) -> dict[str, Any]:
    sniffed = seen.sniffed
    custom = _shared_custom(tags)
    custom |= {"delimiter": sniffed.delimiter} if sniffed.delimiter != "," else {}
    custom |= {"encoding": sniffed.encoding} if sniffed.encoding != "utf-8" else {}
    return custom


def _silver_custom(seen: Look, tags: Mapping[str, str]) -> dict[str, Any]:
    custom = _shared_custom(tags)
    # Without quotes, CSV has no other way to write a missing value.
    custom |= {"nullTokens": [""]} if seen.sniffed.format == "csv" else {}
    custom |= {"winner": "_ingest_id desc, _source_uri desc, _source_row desc"} if seen.key else {}
    return custom


def _bronze(seen: Look, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": columns[name], "logicalType": "string", "description": _description(columns[name])}
        | ({"transformSourceObjects": [name]} if columns[name] != name else {})
        for name in seen.columns
    ]


def _silver(seen: Look, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    return [_typed(columns[name], texts, is_key=name == seen.key) for name, texts in seen.columns.items()]


def _typed(name: str, texts: ColumnTexts, *, is_key: bool) -> dict[str, Any]:
    sql_type, tokens = texts.type, texts.null_tokens
    is_decimal = sql_type.startswith("decimal")
    custom: dict[str, Any] = {"nullTokens": tokens} if tokens else {}
    custom |= {"nonFinite": "allowed"} if texts.not_finite and sql_type in ("double", "float") else {}
    return {
        "name": name,
        "logicalType": "number" if is_decimal else _LOGICAL.get(sql_type, sql_type),
        **({"physicalType": sql_type} if is_decimal or sql_type == "float" else {}),
        "description": _description(name),
        **({"primaryKey": True, "primaryKeyPosition": 1, "required": True} if is_key else {}),
        **({"customProperties": _custom(custom)} if custom else {}),
    }


def _description(name: str) -> str:
    return name.replace("_", " ").capitalize() + "."


def owner_and_tags(folder: Path | None) -> tuple[str, dict[str, str]]:
    """The owner and the cost tags of the domain of a folder of contracts, or of a contract there; else unknown."""
    import yaml

    if folder and (stated := code.owner_and_tags(folder.absolute().parent / "domain.py")):
        return stated
    for path in sorted(folder.glob("*.yaml")) if folder else ():
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            custom = {entry["property"]: entry["value"] for entry in document["customProperties"]}
            return document["team"]["name"], {name: custom["tags"][name] for name in COST_TAGS}
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
            continue  # a contract that does not load is reported where it is loaded
    return UNKNOWN, {}


def has_unknown(document: Mapping[str, Any]) -> bool:
    """Whether the owner or a cost tag of a proposed contract is left for a person to say."""
    tags = next(entry["value"] for entry in document["customProperties"] if entry["property"] == "tags")
    return UNKNOWN in (document["team"]["name"], *tags.values())


def render(documents: Documents) -> dict[str, str]:
    """The documents as YAML texts, by file name."""
    import yaml

    def text(document: dict[str, Any]) -> str:
        # YAML folds these line ends to spaces unless they are escaped.
        folds = any(end in str([*_texts(document)]) for end in ("\\x85", "\\u2028", "\\u2029"))
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=not folds, width=120)

    return {name: text(document) for name, document in documents.items()}


def _texts(node: Any) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(node, str):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _texts(part)


def require_loading(seen: Look, documents: Documents) -> None:
    """Loads the contracts as they will be when a person has said what is unknown.

    Raises:
        LandingError: if one does not load.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, document in documents.items():
            custom = {entry["property"]: entry["value"] for entry in document["customProperties"]}
            complete = custom | {"tags": dict.fromkeys(COST_TAGS, "known")}
            path = Path(folder) / name
            text = render({name: document | {"team": {"name": "known"}, "customProperties": _custom(complete)}})[name]
            path.write_text(text, encoding="utf-8")
            try:
                reader.read(path)
            except ContractError as error:
                raise LandingError(
                    object=f"source {seen.domain}/{seen.source}",
                    observed=f"{error.object}: {error.observed}",
                    expected=error.expected,
                    next_step="write the contract by hand; docs/contracts.md shows every property",
                    code="no_contract",
                ) from None
