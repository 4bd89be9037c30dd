"""A first contract for a source that has none: what its landed files show, for a person to correct and to complete."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipelines.contracts.model import COST_TAGS, UNKNOWN, Contract, Format
from pipelines.errors import NotFoundError
from pipelines.landing.formats.opening import lines, unpacked
from pipelines.landing.formats.piece import shown
from pipelines.landing.zone import Delivery, Landing

#: Rows that are looked at for types; what comes later and does not fit is what verdicts are for.
SAMPLE_ROWS = 5_000
MOST = 0.75
#: Characters of the column names that a proposed docstring has.
SHOWN = 80
NULLS = ("", "NA", "N/A", "null", "NULL")
_TYPES = {
    "integer": re.compile(r"[+-]?\d{1,18}"),
    "number": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "boolean": re.compile(r"(?i:true|false)"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "timestamp": re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the newest delivery of a source shows: its format, its delimiter, and some values of each column."""

    format: Format
    delimiter: str
    columns: dict[str, list[str]]

    def type(self, name: str) -> str:
        """The ODCS logical type that most values of the sample have; the others are what a verdict is for."""
        values = [value for value in self.columns[name] if value not in NULLS]
        fits = {kind: sum(bool(pattern.fullmatch(v)) for v in values) for kind, pattern in _TYPES.items()}
        best = max(fits, key=fits.__getitem__)  # of several that fit as many, the narrowest
        return best if values and fits[best] >= MOST * len(values) else "string"

    @property
    def key(self) -> str | None:
        """The first column that is named like a key, else the first whose values are all there and all different."""
        whole = [name for name, values in self.columns.items() if values and not set(values) & set(NULLS)]
        named = [name for name in whole if re.fullmatch(r"(?i:id|key|uuid|.*_(id|key|uuid|code))", name)]
        different = [name for name in whole if len(set(self.columns[name])) == len(self.columns[name])]
        return next(iter([*named, *different]), None)


def sample(landing: Landing, domain: str, source: str) -> Sample:
    """Looks into the newest delivery.

    Raises:
        NotFoundError: if nothing has landed.
    """
    found = landing.deliveries(domain, source)
    if not found:
        raise NotFoundError(
            object=f"deliveries of {domain}/{source}",
            observed=f"nothing below {landing.root}/{domain}/{source}/dt=INTERVAL/",
            expected="one file at least, to look into",
            next_step="land one, or write the contract by hand; docs/contracts.md says how",
        )
    return _look(landing, found[-1])


def _look(landing: Landing, delivery: Delivery) -> Sample:
    with landing.open(delivery) as stream:
        head = stream.read(4)
    if head == b"PAR1":
        return _parquet(landing, delivery)
    with unpacked(landing, delivery) as stream:
        texts = [shown(line) for _, line in islice(lines(stream), SAMPLE_ROWS + 1) if line.strip()]
    if texts and texts[0].startswith("{"):
        records = [json.loads(text, parse_float=str, parse_int=str) for text in texts if text.endswith("}")]
        names = dict.fromkeys(name for record in records for name in record)
        return Sample("jsonl", ",", {name: [_text(record.get(name)) for record in records] for name in names})
    delimiter = max(",;\t|", key=lambda d: texts[0].count(d)) if texts else ","
    rows = list(csv.reader(io.StringIO("\n".join(texts)), delimiter=delimiter))
    names, body = (rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]) if rows else ([], [])
    return Sample("csv", delimiter, {name: [row[n] for row in body] for n, name in enumerate(names)})


def _parquet(landing: Landing, delivery: Delivery) -> Sample:
    import pyarrow.parquet as pq

    with landing.open(delivery) as stream:
        rows = next(pq.ParquetFile(stream).iter_batches(SAMPLE_ROWS)).to_pylist()
    names = dict.fromkeys(name for row in rows for name in row)
    return Sample("parquet", ",", {name: [_text(row[name]) for row in rows] for name in names})


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def documents(domain: str, source: str, found: Sample, like: Contract | None) -> dict[str, dict[str, Any]]:
    """ODCS documents by file name: bronze as it arrives, silver with the types that the sample has.

    Args:
        domain: The data domain.
        source: The source, which names the tables.
        found: What its files show.
        like: A contract of the domain, whose team and cost tags are taken over.
    """
    zones = {zone: _document(zone, domain, source, found, like) for zone in ("bronze", "silver")}
    return {f"{zone}_{source}.yaml": document for zone, document in zones.items()}


def _document(zone: str, domain: str, source: str, found: Sample, like: Contract | None) -> dict[str, Any]:
    silver = zone == "silver"
    tags = dict(like.tags) if like else dict.fromkeys(COST_TAGS, UNKNOWN) | {"data_class": "internal"}
    custom: dict[str, Any] = {
        "drift": {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"},
        "tags": tags | {"workload_class": "ingestion"},
    }
    if silver:
        custom |= {"nullTokens": [t for t in NULLS if any(t in v for v in found.columns.values())] or [""]}
        custom |= {"winner": "_ingest_id desc, _source_uri desc, _source_row desc"} if found.key else {}
    elif found.delimiter != ",":
        custom["delimiter"] = found.delimiter
    properties = [_property(name, found, typed=silver) for name in found.columns]
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
        **({} if silver else {"servers": [_server(source, found)]}),
        "schema": [
            {
                "name": source,
                "physicalName": f"{zone}/{domain}/{source}",
                "dataGranularityDescription": f"One row per {found.key or 'record of the source'}.",
                "properties": properties,
            }
        ],
        "slaProperties": [
            {"property": "freshness", "value": 2, "unit": "d"},
            {"property": "retention", "value": 7, "unit": "y"},
        ],
        "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
    }


def _server(source: str, found: Sample) -> dict[str, Any]:
    return {"server": "landing", "type": "local", "path": f"{source}/dt=*/*", "format": found.format}


def _property(name: str, found: Sample, *, typed: bool) -> dict[str, Any]:
    kind = found.type(name) if typed else "string"
    key = {"primaryKey": True, "primaryKeyPosition": 1, "required": True} if typed and name == found.key else {}
    return {"name": name, "logicalType": kind, "description": name.replace("_", " ").capitalize() + ".", **key}


def render(documents: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The documents as YAML texts."""
    import yaml

    return {
        name: yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
        for name, document in documents.items()
    }


def modules(domain: str, source: str, columns: Sequence[str]) -> dict[str, str]:
    """The Python files, by name, of a domain that has one source; of one that has others the lines to add differ."""
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
    """The line that declares the bronze table."""
    return f'{source} = bronze_asset(contract("bronze/{source}"))\n'


def silver_lines(source: str, columns: Sequence[str]) -> str:
    """The lines that declare the silver table."""
    named = ", ".join(columns)
    shown = named if len(named) <= SHOWN else f"{named[:SHOWN]}…"
    return (
        f'@silver_asset(contract("silver/{source}"))\n'
        f"def {source}({source}: DataFrame) -> DataFrame:\n"
        f'    """Say what it is for; columns: {shown}."""\n'
        f"    return {source}\n"
    )
