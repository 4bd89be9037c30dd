"""Contracts that others wrote in the Open Data Contract Standard, made into contracts of this platform.

Each table of a foreign contract becomes two contracts: bronze, which takes what is delivered as text, and silver, which
promises what the foreign contract promised. What this platform has to know and the foreign contract does not say is
`unknown` in them, and such a contract does not load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pipelines.contracts import foreign_quality, foreign_types, patterns, standard, unacted
from pipelines.contracts.column_rules import LENGTHS, LIMITS
from pipelines.contracts.model import COST_TAGS, UNKNOWN, Contract, Format
from pipelines.errors import ContractError

#: What both contracts take over as it is: it describes, and nothing here acts on it.
DESCRIPTIVE = ("dataProduct", "tenant", "tags", "authoritativeDefinitions", "support", "price", "roles",
               "contractCreatedTs")  # fmt: skip
_COLUMN_DESCRIPTIVE = ("businessName", "tags", "classification", "authoritativeDefinitions", "examples",
                       "criticalDataElement", "encryptedName", "semanticType", "synonyms")  # fmt: skip
#: sqlglot's names of the SQL dialects of server types; the others are read without one.
_DIALECTS = {"postgres": "postgres", "postgresql": "postgres", "redshift": "redshift", "snowflake": "snowflake",
             "bigquery": "bigquery", "databricks": "databricks", "mysql": "mysql", "oracle": "oracle",
             "sqlserver": "tsql", "synapse": "tsql", "trino": "trino", "presto": "presto", "athena": "athena",
             "clickhouse": "clickhouse", "duckdb": "duckdb", "hive": "hive", "impala": "hive"}  # fmt: skip
_FORMATS = {"csv": "csv", "parquet": "parquet", "json": "jsonl", "jsonl": "jsonl", "ndjson": "jsonl"}
_UNITS = {"m": "m", "min": "m", "minute": "m", "minutes": "m", "h": "h", "hr": "h", "hour": "h", "hours": "h",
          "d": "d", "day": "d", "days": "d", "y": "y", "yr": "y", "year": "y", "years": "y"}  # fmt: skip


@dataclass(slots=True)
class ForeignTable:
    """One table of a foreign contract, as contracts of this platform.

    Attributes:
        name: The table's name here.
        bronze: The ODCS document of its bronze contract.
        silver: The ODCS document of its silver contract.
        kept: What the silver contract promises as the foreign one did.
        unsaid: What is `unknown` or was chosen here, and a person has to say.
        unused: What the foreign contract says and nothing here acts on.
    """

    name: str
    bronze: dict[str, Any] = field(default_factory=dict)
    silver: dict[str, Any] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def read(path: Path, domain: str, like: Contract | None = None) -> list[ForeignTable]:
    """The tables of a foreign contract; none where it describes no table.

    Args:
        path: The file.
        domain: The data domain here that the tables become part of.
        like: A contract of that domain, from which team and cost tags are copied.

    Raises:
        ContractError: if the file is not valid under the standard, or two of its tables get one name here.
    """
    document = standard.set_properties(standard.read_document(path))
    objects = document.get("schema") or []
    names: dict[str, str] = {}
    for position, node in enumerate(objects):
        name = table_name(node)
        if name in names.values():
            raise ContractError(
                object=f"contract {path.name}, schema[{position}].name",
                observed=f"{node.get('name')!r}, which is {name} here, as another table of the file is",
                expected="tables whose names differ in letters and digits",
                next_step=f"rename one of them in a copy of {path}",
            )
        names[str(node.get("name")).lower()] = name
    return [_Table(path, document, node, domain, like, names).contracts() for node in objects]


def table_name(node: Mapping[str, Any]) -> str:
    """The name here of a table: letters, digits and `_` of its name there, in lower case, with a letter first."""
    text = re.sub(r"\W+", "_", str(node.get("name") or node.get("physicalName") or ""), flags=re.ASCII)
    text = text.strip("_").lower() or "table"
    return text if text[0].isalpha() else f"table_{text}"


class _Table:
    """Makes the two contracts of one table."""

    def __init__(
        self,
        path: Path,
        document: dict[str, Any],
        node: dict[str, Any],
        domain: str,
        like: Contract | None,
        tables: Mapping[str, str],
    ) -> None:
        self.path, self.document, self.node = path, document, node
        self.domain, self.like, self.tables = domain, like, tables
        self.made = ForeignTable(table_name(node))
        self.servers = document.get("servers") or []
        self.dialect = next((_DIALECTS[s["type"]] for s in self.servers if s.get("type") in _DIALECTS), None)
        properties = node.get("properties") or []
        columns = {str(p.get("physicalName") or p["name"]).lower(): p["name"] for p in properties}
        columns |= {p["name"].lower(): p["name"] for p in properties}
        own = {str(name).lower() for name in (node.get("name"), node.get("physicalName")) if name}
        self.names = foreign_quality.Names(frozenset(own), columns, self.dialect)

    def contracts(self) -> ForeignTable:
        """The table's two contracts and the report about them."""
        made = self.made
        properties = [self._column(node) for node in self.node.get("properties") or []]
        keys = [p["name"] for p in properties if p.get("primaryKey")]
        quality = self._quality(self.node.get("quality") or [], None)
        custom = self._custom(has_key=bool(keys))
        made.silver = self._document("silver", properties, custom) | {"slaProperties": self._service_levels()}
        if quality:
            made.silver["schema"][0]["quality"] = quality
        texts = [
            {"name": source, "logicalType": "string", "description": p.get("description") or f"{p['name']}."}
            for p in properties
            for source in p.get("transformSourceObjects") or [p["name"]]
        ]
        custom = {name: value for name, value in custom.items() if name in ("drift", "tags")}
        made.bronze = self._document("bronze", texts, custom) | {"slaProperties": made.silver["slaProperties"]}
        made.bronze["servers"] = [self._server()]
        rules = [e["name"] for e in quality + [e for p in properties for e in p.get("quality") or []] if "name" in e]
        made.kept = [
            f"{len(properties)} columns" if properties else "no column",
            *([f"key {', '.join(keys)}"] if keys else []),
            *([f"rules {', '.join(rules)}"] if rules else []),
            *(
                f"{e['property']} {e['value']} {e['unit']}"
                for e in made.silver["slaProperties"]
                if e["value"] != UNKNOWN
            ),
            *(name for name in ("description", *DESCRIPTIVE) if self.document.get(name)),
        ]
        if not properties:
            made.unsaid.append("columns: the contract names none")
        if not keys:
            made.unsaid.append("primaryKey: the contract names none, so that no row replaces another")
        self._unused()
        return made

    def _document(self, zone: str, properties: list[dict[str, Any]], custom: dict[str, Any]) -> dict[str, Any]:
        source, made = self.document, self.made
        grain = self.node.get("dataGranularityDescription") or self.node.get("description")
        title = self.node.get("businessName") or self.node.get("name")
        description = dict(source.get("description") or {})
        description["purpose"] = self.node.get("description") or description.get("purpose") or UNKNOWN
        descriptive = {name: source[name] for name in DESCRIPTIVE if source.get(name)}
        return {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": f"{zone}-{self.domain}-{made.name}",
            "name": title,
            "version": str(source.get("version") or "0.1.0"),
            "status": source["status"] if source.get("status") in unacted.STATUS else "draft",
            "domain": self.domain,
            "description": description,
            "team": self._team(),
            **descriptive,
            "schema": [
                {
                    "name": made.name,
                    "physicalName": f"{zone}/{self.domain}/{made.name}",
                    **{
                        n: self.node[n]
                        for n in ("businessName", "tags", "authoritativeDefinitions")
                        if self.node.get(n)
                    },
                    "dataGranularityDescription": grain or UNKNOWN,
                    "properties": properties,
                }
            ],
            "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
        }

    def _team(self) -> dict[str, Any]:
        team = self.document.get("team") or {}
        team = {"members": team} if isinstance(team, list) else dict(team)
        name = team.pop("name", None) or (self.like.owner if self.like else None)
        self._needs(name, "team.name: the team that owns the table")
        return {"name": name or UNKNOWN, **team}

    def _needs(self, value: Any, what: str) -> None:
        """Notes what a person has to say, once, where there is no value."""
        if not value and what not in self.made.unsaid:
            self.made.unsaid.append(what)

    def _custom(self, *, has_key: bool) -> dict[str, Any]:
        tags = dict(self.like.tags) if self.like else dict.fromkeys(COST_TAGS, UNKNOWN)
        self._needs(self.like, f"customProperties.tags: {', '.join(COST_TAGS)}")
        return {
            "nullTokens": [""],
            **({"winner": "_ingest_id desc, _source_uri desc, _source_row desc"} if has_key else {}),
            "drift": {"tables": "freeze", "columns": "discard_value", "data_type": "discard_row"},
            "tags": tags | {"workload_class": "ingestion"},
        }

    def _server(self) -> dict[str, Any]:
        formats = [_FORMATS[s["format"].lower()] for s in self.servers if str(s.get("format")).lower() in _FORMATS]
        what = f"servers[0].format of bronze: how files are delivered, one of {', '.join(get_args(Format))}"
        self._needs(formats, what)
        name = self.made.name
        return {"server": "landing", "type": "local", "path": f"{name}/dt=*/*", "format": (*formats, UNKNOWN)[0]}

    def _service_levels(self) -> list[dict[str, Any]]:
        """The table's freshness and retention; the others are listed as unused."""
        levels = {}
        for node in self.document.get("slaProperties") or []:
            name, unit, value = node["property"], _UNITS.get(str(node.get("unit")).lower()), node.get("value")
            number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
            if name in ("freshness", "retention") and unit and number and name not in levels:
                levels[name] = {"property": name, "value": value, "unit": unit}
            else:
                self.made.unused.append(
                    f"service level {name}: only freshness and retention in m, h, d or y are acted on"
                )
        for name in ("freshness", "retention"):
            self._needs(name in levels, f"slaProperties: {name}, a number of m, h, d or y")
        return [
            levels.get(name, {"property": name, "value": UNKNOWN, "unit": "d"}) for name in ("freshness", "retention")
        ]

    def _column(self, node: dict[str, Any]) -> dict[str, Any]:
        name, made = node["name"], self.made
        physical = node.get("physicalType")
        type, remark = foreign_types.column_type(node.get("logicalType"), physical, self.dialect)
        is_key = bool(node.get("primaryKey"))
        if is_key and type == "double":
            type, remark = "string", "a key is never a floating-point number: it is kept as text"
        if remark:
            made.unsaid.append(f"type of {name}: {remark}")
        column: dict[str, Any] = {"name": name, **foreign_types.typed(type)}
        column["description"] = node.get("description") or node.get("businessName") or f"{name}."
        column |= {key: node[key] for key in _COLUMN_DESCRIPTIVE if node.get(key)}
        if is_key:
            column["primaryKey"] = True
            if (node.get("primaryKeyPosition") or 0) > 0:
                column["primaryKeyPosition"] = node["primaryKeyPosition"]
        column |= {flag: True for flag in ("required", "unique") if node.get(flag)}
        if node.get("physicalName") and node["physicalName"] != name:
            column["transformSourceObjects"] = [node["physicalName"]]
        if node.get("enum"):
            column["enum"] = node["enum"]
        column |= self._options(name, type, node)
        column |= self._relationships(name, node)
        quality = self._quality(node.get("quality") or [], name)
        self._unused_of_column(name, node)
        return column | ({"quality": quality} if quality else {})

    def _options(self, name: str, type: str, node: dict[str, Any]) -> dict[str, Any]:
        """`logicalTypeOptions` that are rules here, and the time zone of local times."""
        options, custom = {}, {}
        nested = node.get("logicalType") in ("array", "object")
        allowed = () if nested or type == "boolean" else (*LENGTHS, "pattern") if type == "string" else tuple(LIMITS)
        for option, value in (node.get("logicalTypeOptions") or {}).items():
            if option == "defaultTimezone" and type == "timestamp":
                custom["timezone"] = value
            elif option in allowed and (option != "pattern" or patterns.expected_instead(value) is None):
                options[option] = value
            elif option != "timezone":
                self.made.unused.append(f"{name}.logicalTypeOptions.{option}: {value!r} is no rule of a {type} here")
        longest = foreign_types.longest_text(node.get("physicalType"), self.dialect)
        if type == "string" and longest:
            options.setdefault("maxLength", longest)
        return ({"logicalTypeOptions": options} if options else {}) | (
            {"customProperties": [{"property": k, "value": v} for k, v in custom.items()]} if custom else {}
        )

    def _relationships(self, name: str, node: dict[str, Any]) -> dict[str, Any]:
        """References to a column of a table of the same file; the others are listed as unused."""
        kept = []
        for relation in node.get("relationships") or []:
            target = str(relation.get("to") or "")
            table, _, column = target.rpartition(".")
            here = self.tables.get(table.lower())
            if here:
                kept.append({"type": "foreignKey", "to": f"silver.{self.domain}.{here}.{column}"})
            else:
                self.made.unused.append(f"{name}.relationships: {target} is no column of a table of this file")
        return {"relationships": kept} if kept else {}

    def _quality(self, nodes: list[dict[str, Any]], column: str | None) -> list[dict[str, Any]]:
        entries = []
        for node in nodes:
            entry, problem = foreign_quality.entry(node, column, self.names)
            about = node.get("name") or node.get("description") or node.get("type")
            for key in entry.keys() & unacted.QUALITY:
                self.made.unused.append(
                    f"quality {column or self.made.name} {about!r}, {key}: {_short(entry.pop(key))}"
                )
            entries.append(entry)
            if problem:
                self.made.unused.append(
                    f"quality {column or self.made.name} {about!r}: {problem}; it is kept as a text"
                )
        return entries

    def _unused_of_column(self, name: str, node: dict[str, Any]) -> None:
        properties = (
            "customProperties",
            "transformLogic",
            "transformSourceObjects",
            "partitioned",
            "properties",
            "items",
        )
        for key in properties:
            if node.get(key):
                self.made.unused.append(f"{name}.{key}: {_short(node[key])}")

    def _unused(self) -> None:
        """Notes what the document and the table's node say and nothing here acts on."""
        for server in self.servers:
            self.made.unused.append(
                f"server {server.get('server') or server.get('type')}: code declares how data get from it to landing"
            )
        status = self.document.get("status")
        if status not in (None, *unacted.STATUS):
            self.made.unused.append(f"status: {_short(status)}")
        for owner, node in (("", self.document), (f"{self.made.name}.", self.node)):
            for key in ("customProperties", "relationships", "slaDefaultElement", "context"):
                if node.get(key):
                    self.made.unused.append(f"{owner}{key}: {_short(node[key])}")


def _short(value: Any, longest: int = 100) -> str:
    text = str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
