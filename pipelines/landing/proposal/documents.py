"""A first contract for a source that has none: what its newest file shows, for a person to correct and complete."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from pipelines.contracts.model import COST_TAGS, UNKNOWN, Contract, Format
from pipelines.errors import NotFoundError
from pipelines.landing.formats.base import Sample, file_format
from pipelines.landing.zone import Landing

#: Tried after all others, since any text can be read as one column of CSV.
FALLBACK: Format = "csv"
#: The share of a column's values that must have a type, for the column to get it.
LEAST_SHARE = 0.75
#: Most characters of column names in a proposed docstring.
SHOWN_CHARACTERS = 80
NULLS = ("", "NA", "N/A", "null", "NULL")
_TYPES = {
    "integer": re.compile(r"[+-]?\d{1,18}"),
    "number": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "boolean": re.compile(r"(?i:true|false)"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "timestamp": re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?"),
}


def newest_sample(landing: Landing, domain: str, source: str) -> Sample:
    """The beginning of the newest delivery of a source, read as the format that it seems to have.

    Raises:
        NotFoundError: if nothing has landed.
    """
    deliveries = landing.deliveries(domain, source)
    if not deliveries:
        raise NotFoundError(
            object=f"deliveries of {domain}/{source}",
            observed=f"nothing below {landing.root}/{domain}/{source}/dt=INTERVAL/",
            expected="one file at least, to look into",
            next_step="land one, or write the contract by hand; docs/contracts.md says how",
        )
    names = [name for name in get_args(Format) if name != FALLBACK]
    samples = (file_format(name).sniff(landing, deliveries[-1]) for name in (*names, FALLBACK))
    return next(sample for sample in samples if sample is not None)


def logical_type(values: Sequence[str]) -> str:
    """The ODCS logical type that most values of a column have; silver judges the others."""
    values = [value for value in values if value not in NULLS]
    fits = {kind: sum(bool(pattern.fullmatch(v)) for v in values) for kind, pattern in _TYPES.items()}
    best = max(fits, key=fits.__getitem__)  # of several that fit equally many, the narrowest
    return best if values and fits[best] >= LEAST_SHARE * len(values) else "string"


def key_column(sample: Sample) -> str | None:
    """The first column that is named like a key, else the first whose values all differ; neither may have nulls."""
    complete = [name for name, values in sample.columns.items() if values and not set(values) & set(NULLS)]
    named = [name for name in complete if re.fullmatch(r"(?i:id|key|uuid|.*_(id|key|uuid|code))", name)]
    distinct = [name for name in complete if len(set(sample.columns[name])) == len(sample.columns[name])]
    return next(iter([*named, *distinct]), None)


def documents(domain: str, source: str, sample: Sample, like: Contract | None) -> dict[str, dict[str, Any]]:
    """ODCS documents by file name: bronze with every column as text, silver with the types that the sample shows.

    Args:
        domain: The data domain.
        source: The source, which names the tables.
        sample: The beginning of one of its files.
        like: A contract of the domain, from which team and cost tags are copied.
    """
    zones = {zone: _document(zone, domain, source, sample, like) for zone in ("bronze", "silver")}
    return {f"{zone}_{source}.yaml": document for zone, document in zones.items()}


def _document(zone: str, domain: str, source: str, sample: Sample, like: Contract | None) -> dict[str, Any]:
    silver, key = zone == "silver", key_column(sample)
    tags = dict(like.tags) if like else dict.fromkeys(COST_TAGS, UNKNOWN) | {"data_class": "internal"}
    custom: dict[str, Any] = {
        "drift": {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"},
        "tags": tags | {"workload_class": "ingestion"},
    }
    if silver:
        custom |= {"nullTokens": [t for t in NULLS if any(t in v for v in sample.columns.values())] or [""]}
        custom |= {"winner": "_ingest_id desc, _source_uri desc, _source_row desc"} if key else {}
    elif sample.delimiter != ",":
        custom["delimiter"] = sample.delimiter
    properties = [
        _property(name, logical_type(values) if silver else "string", is_key=silver and name == key)
        for name, values in sample.columns.items()
    ]
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"{zone}-{domain}-{source}",
        "name": source.replace("_", " ").capitalize(),
        "version": "0.1.0",
        "status": "draft",
        "domain": domain,
        "description": {"purpose": f"What {source} is for: say it here, people read it in the UI."},
        "team": {"name": like.owner if like else UNKNOWN},
        **({} if silver else {"servers": [_server(source, sample)]}),
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
        "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
    }


def _server(source: str, sample: Sample) -> dict[str, Any]:
    return {"server": "landing", "type": "local", "path": f"{source}/dt=*/*", "format": sample.format}


def _property(name: str, logical_type: str, *, is_key: bool) -> dict[str, Any]:
    key = {"primaryKey": True, "primaryKeyPosition": 1, "required": True} if is_key else {}
    description = name.replace("_", " ").capitalize() + "."
    return {"name": name, "logicalType": logical_type, "description": description, **key}


def render(documents: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The documents as YAML texts, by file name."""
    import yaml

    return {
        name: yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
        for name, document in documents.items()
    }


def modules(domain: str, source: str, columns: Sequence[str]) -> dict[str, str]:
    """The Python files, by name, of a domain that has this source and no other yet."""
    return {
        "__init__.py": f'"""The {domain} domain."""\n',
        "tables.py": (
            '"""The contracts of this domain, by table."""\n\n'
            "from __future__ import annotations\n\n"
            "from pathlib import Path\n\n"
            "from pipelines.contracts.load import load_folder\n\n"
            'CONTRACTS = load_folder(Path(__file__).parent / "contracts")\n'
            "contract = CONTRACTS.named\n"
        ),
        "bronze.py": (
            '"""Bronze: what has landed, as it arrived."""\n\n'
            "from __future__ import annotations\n\n"
            f"from assets.{domain}.tables import contract\n"
            "from pipelines.medallion.decorators import bronze_asset\n\n"
            f"{bronze_lines(source)}"
        ),
        "silver.py": (
            '"""Silver: typed, checked, each key once."""\n\n'
            "from __future__ import annotations\n\n"
            "from typing import TYPE_CHECKING\n\n"
            f"from assets.{domain}.tables import contract\n"
            "from pipelines.medallion.decorators import silver_asset\n\n"
            "if TYPE_CHECKING:\n"
            "    from pyspark.sql import DataFrame\n\n\n"
            f"{silver_lines(source, columns)}"
        ),
    }


def bronze_lines(source: str) -> str:
    """The Python line that declares the bronze table of a source."""
    return f'{source} = bronze_asset(contract("bronze/{source}"))\n'


def silver_lines(source: str, columns: Sequence[str]) -> str:
    """The Python lines that declare the silver table of a source."""
    named = ", ".join(columns)
    shown = named if len(named) <= SHOWN_CHARACTERS else f"{named[:SHOWN_CHARACTERS]}…"
    return (
        f'@silver_asset(contract("silver/{source}"))\n'
        f"def {source}({source}: DataFrame) -> DataFrame:\n"
        f'    """Say what it is for; columns: {shown}."""\n'
        f"    return {source}\n"
    )
