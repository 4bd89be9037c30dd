"""`goldpath new feature`: what was known of an entity, as a gold table, a feature service and the online store."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Contract
from pipelines.features.declaration import KEY_TYPES, is_shown
from pipelines.landing.proposal.code import literal
from pipelines.policy.rules import rank
from pipelines.scaffold import columns
from pipelines.scaffold.draft import Draft, refuse
from pipelines.scaffold.module import Module
from pipelines.scaffold.table import DATA_FRAME, GOLD_DOC, GOLD_IMPORTS, decorator
from pipelines.tables import TableId

#: The feature that counts rows, and what the name of a mean ends with.
COUNT, MEAN = "rows_so_far", "_mean"
FEATURES_DOC = (
    "Features: the training sets, as they were known at the time, and the online store, as they are known now."
)


def draft(domain: Domain, folder: Path, name: str, source: Contract, keys: Sequence[str], at: str) -> Draft:
    """A gold table of features with its service `<name>_v1`, and the online store of the domain with that service.

    Args:
        domain: The domain.
        folder: Its folder.
        name: The gold table.
        source: The contract of the table with the events that are counted.
        keys: Its columns that name the entity.
        at: Its column with the instant of an event.

    Raises:
        UsageError: for columns that the source lacks or of types that do not fit, and if the domain's `online_asset` is
            not found in its `features.py`.
    """
    table = TableId.parse(f"gold/{domain.name}/{name}")
    if not keys:
        refuse("--key", "it is missing", f"columns of {source.table} that name an entity", "add --key customer")
    entities = [columns.find(source, key, "--key", KEY_TYPES) for key in keys]
    instant = columns.find(source, at, "--at", ("timestamp", "date"))
    numbers = [c for c in source.columns if columns.is_number(c) and c.name not in (*keys, *source.key_columns)]
    means = {f"{columns.identifier(column.name)}{MEAN}": column.name for column in numbers}
    of = ", ".join(keys)
    protection = {c.name: columns.protection(source, c.name, domain) for c in source.columns}
    read = max((domain.cost.data_class, *map(source.data_class, (*keys, *means.values()))), key=rank)
    properties = [
        *[
            columns.node(c.name, c.type, c.description, **columns.key(n), **protection[c.name])
            for n, c in enumerate(entities, 1)
        ],
        columns.instant(
            f"When the row became known, UTC: the second after {instant.name}.",
            **columns.key(len(keys) + 1),
            **protection[at],
        ),
        columns.node(COUNT, "bigint", f"Rows of {source.table} with this {of} so far.", required=True),
        *[
            columns.node(mean, "double", f"Mean of {column} over these rows.", **protection[column])
            for mean, column in means.items()
        ],
    ]
    document = columns.document(
        table,
        domain,
        properties,
        purpose=f"What was known of a {of} from {source.table}: how many rows so far, and the means of their numbers.",
        grain=f"One row per {of} and second of {instant.name}.",
        workload="features",
        rules=[columns.HAS_ROWS],
    )
    modules = [_gold(domain, table, source, keys, at, means), _features(domain, folder, name, read)]
    counted = f"the means of {', '.join(means.values())}" if means else "no mean: it has no numbers but keys"
    notes = [f"features of {table}: {COUNT}, and {counted}; edit {name} in gold.py and the contract for others"]
    if rank(read) > rank(domain.cost.data_class) and not is_shown(read):
        notes.append(
            f"the service reads up to {read}, as columns of {source.table} are: have the owner of the data agree"
        )
    return Draft({columns.file_name(table): document}, modules, notes, [
        f"goldpath materialize {table} features/{domain.name}/online",
        f"goldpath new model {domain.name}.NAME --features {name}_v1 …",
    ])  # fmt: skip


def _gold(
    domain: Domain, table: TableId, source: Contract, keys: Sequence[str], at: str, means: dict[str, str]
) -> Module:
    declared, parameter, origin = table.table.upper(), source.table.table, source.table
    features = {COUNT: "count()", **{mean: f"mean({literal(column)})" for mean, column in means.items()}}
    own = origin.domain == domain.name
    body = (
        f"{declared} = Windowed(\n"
        f'    table=contract("gold/{table.table}"),\n'
        f'    events={"" if own else f"{origin.domain}."}contract("{origin.zone}/{parameter}"),\n'
        f"    at={literal(at)},\n"
        '    counts="after",\n'
        "    features={\n"
        + "".join(f"        {literal(name)}: {feature},\n" for name, feature in features.items())
        + "    },\n)\n\n\n"
        + decorator(table, source)
        + f"def {table.table}({parameter}: DataFrame) -> DataFrame:\n"
        + f'    """The rows of a {", ".join(keys)} so far, and the means of their numbers, as known at an instant."""\n'
        + f"    return windowed_rows({declared}, {parameter})"
    )
    imports = {
        f"assets.{domain.name}.domain": ("contract",),
        "pipelines.features.aggregates": ("count", "mean") if means else ("count",),
        "pipelines.features.windowed": ("Windowed",),
        "pipelines.features.windowed_table": ("windowed_rows",),
        **({} if own else {f"assets.{origin.domain}.domain": (origin.domain,)}),
        **GOLD_IMPORTS,
    }
    return Module("gold.py", GOLD_DOC, imports, body, DATA_FRAME)


def _features(domain: Domain, folder: Path, name: str, read: str) -> Module:
    """The feature service, which reads up to a class; and the online store, or the service among those that it has."""
    service = f"{name}_v1"
    body = (
        f"{service.upper()} = FeatureService(\n"
        f"    name={literal(service)},\n"
        f"    domain={domain.name}.name,\n"
        f'    views=(feature_view(contract("gold/{name}")),),\n'
        f'    description="What is known of {name.replace("_", " ")}: say here what and when.",\n'
        f"    owner={domain.name}.owner,\n" + ("" if is_shown(read) else f"    reads={literal(read)},\n") + ")"
    )
    imports = {
        f"assets.{domain.name}.domain": ("contract", domain.name),
        "pipelines.features.declaration": ("FeatureService", "feature_view"),
    }
    path = folder / "features.py"
    online = f"online = online_asset({domain.name}, [{{}}])"
    if not path.exists():
        imports["feature_repo.assets"] = ("online_asset",)
        return Module("features.py", FEATURES_DOC, imports, f"{body}\n\n{online.format(service.upper())}")
    return Module("features.py", FEATURES_DOC, imports, body, moved_to_end=_online(path, service.upper()))


def _online(path: Path, service: str) -> tuple[str, str]:
    """The statement of the domain's online store in `features.py`, and its form with one more service."""
    text = path.read_text(encoding="utf-8")
    names: list[str] = []
    now = before = ""
    for node in ast.parse(text).body:
        call = getattr(node, "value", None)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "online_asset" and len(call.args) == 2:
            services = call.args[1]
            if isinstance(services, ast.List):
                names = [ast.unparse(each) for each in services.elts]
                now = ast.get_source_segment(text, node) or ""
                before = ast.get_source_segment(text, services) or ""
    if not now:
        refuse(
            f"module {path}",
            "no `online = online_asset(domain, [SERVICE, …])` in it",
            "the statement of the domain's online store, with a list of services",
            f"write it there, or declare {service} by hand",
        )
    return now, now.replace(before, f"[{', '.join([*names, service])}]")
