"""`goldpath new model`: a training set with features as they were known, a recipe, and the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from pipelines import clock
from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Column, Contract
from pipelines.features.declaration import FeatureService
from pipelines.landing.proposal.code import literal
from pipelines.models.answers import Task
from pipelines.scaffold import columns
from pipelines.scaffold.declared import Declared
from pipelines.scaffold.draft import Draft, refuse
from pipelines.scaffold.feature import FEATURES_DOC, MEAN
from pipelines.scaffold.module import Module
from pipelines.scaffold.table import DATA_FRAME
from pipelines.tables import TableId

KNOWN_AT = "outcome_known_at"
#: The types of a label, by task.
LABELS: dict[Task, tuple[str, ...]] = {
    "binary": ("boolean", "int", "bigint"),
    "regression": columns.NUMBERS,
    "multiclass": ("string",),
}
LABEL_TYPES: dict[Task, str] = {"binary": "int", "regression": "double", "multiclass": "string"}
_INPUTS = (*columns.NUMBERS, "string", "boolean")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of whom, and learned from when.

    Attributes:
        domain: The domain.
        name: The model's name in it.
        task: The kind of answer.
        question: What is asked, as a sentence.
        source: The contract of the table of examples.
        key: Its column that names an example.
        at: Its column with the instant at which the question is asked.
        label: Its column with what is predicted; null where it is not known.
        known_at: Its column with the instant from which the label is known; None: as soon as the question is asked.
        inputs: Its columns that the question tells; empty takes all that are numbers, texts or booleans.
        train_start: Where the rows that are trained on begin.
        train_end: Where they end, and those begin that the model is judged on.
        gate_end: Where these end.
    """

    domain: Domain
    name: str
    task: Task
    question: str
    source: Contract
    key: str
    at: str
    label: str
    known_at: str | None
    inputs: Sequence[str]
    train_start: str
    train_end: str
    gate_end: str

    @property
    def training_set(self) -> TableId:
        return TableId.parse(f"gold/{self.domain.name}/{self.name}_training_set")


def draft(asked: Asked, service: Declared[FeatureService]) -> Draft:
    """The training set of a model, its recipe and its declaration; raises UsageError for columns that do not fit."""
    source, features = asked.source, service.value
    if asked.task not in LABELS:
        refuse(f"--task {asked.task}", "no program trains it", f"one of {', '.join(LABELS)}", "choose another task")
    columns.find(source, asked.key, "--key", ("string", "int", "bigint"))
    columns.find(source, asked.label, "--label", LABELS[asked.task])
    for option, name in (("--at", asked.at), ("--known-at", asked.known_at)):
        if name is not None:
            columns.find(source, name, option, ("timestamp", "date"))
    entities = [columns.find(source, key, f"--features {features.name}: its key", ("",)) for key in features.keys]
    inputs = _inputs(asked, features)
    read = {
        full: view.contract.column(field)
        for view in features.views
        for field, full in zip(view.fields, view.full_names, strict=True)
    }
    leaking = [full for full, field in read.items() if field.name == f"{columns.identifier(asked.label)}{MEAN}"]
    used = {full: field for full, field in read.items() if full not in leaking}
    spine = _unique([source.column(asked.key), *entities, *inputs])
    document = _training_set(asked, features, spine, used)
    told = ", ".join(c.name for c in inputs) or "nothing but its keys"
    notes = []
    if not asked.inputs:
        notes.append(f"the question tells {told}: if one is not known when it is asked, name the others with --inputs")
    if leaking:
        notes.append(f"left out: {', '.join(leaking)}, a mean of the label: add it to the contract and the "
                     "recipe if labels were known at the instants of these features")  # fmt: skip
    if asked.known_at is None:
        notes.append(f"the label counts as known at {asked.at}, when the question is asked: name the column with the "
                     "instant at which it became known with --known-at, if it is later")  # fmt: skip
    modules = [
        _spine(asked, service, spine),
        _recipe(asked, [*inputs, *(_named(full, field) for full, field in used.items())]),
        _model(asked, service),
    ]
    domain, name = asked.domain.name, asked.name
    return Draft({columns.file_name(asked.training_set): document}, modules, notes, [
        f"goldpath materialize {asked.training_set} training/{domain}/{name} models/{domain}/{name}",
        f"goldpath new service {domain}.{name}",
    ])  # fmt: skip


def _named(name: str, column: Column) -> Column:
    return Column(name, column.type, column.description)


def _unique(found: Sequence[Column]) -> list[Column]:
    return list({column.name: column for column in found}.values())


def _inputs(asked: Asked, features: FeatureService) -> list[Column]:
    """The columns that the question tells, beside keys."""
    source = asked.source
    apart = {asked.key, asked.at, asked.label, asked.known_at, *features.keys}
    if asked.inputs:
        found = [columns.find(source, name, "--inputs", _INPUTS) for name in asked.inputs]
    else:
        found = [c for c in source.columns if c.type.startswith(_INPUTS) and c.name not in apart]
    if asked.label in asked.inputs:
        refuse(f"--inputs {asked.label}", "it is the label", "columns that are known before it", "leave it out")
    return found


def type_in_training(column: Column) -> str:
    """The type of an input in a training set: decimals become doubles."""
    return "double" if column.type.startswith("decimal") else column.type


def _training_set(
    asked: Asked, features: FeatureService, spine: Sequence[Column], used: dict[str, Column]
) -> dict[str, Any]:
    filled = columns.required(asked.source)
    protection = {c.name: columns.protection(asked.source, c.name, asked.domain) for c in asked.source.columns}
    protection |= {
        full: columns.protection(view.contract, field, asked.domain)
        for view in features.views
        for field, full in zip(view.fields, view.full_names, strict=True)
    }
    properties = [
        columns.node(
            c.name, c.type if c.name == asked.key else type_in_training(c), c.description,
            **protection[c.name],
            **(columns.key(1) if c.name == asked.key else {"required": True} if c.name in filled else {}),
        )
        for c in spine
    ]  # fmt: skip
    known = asked.known_at or asked.at
    properties += [
        columns.instant(f"When the question is asked, UTC: {asked.at}.", **protection[asked.at]),
        columns.node(KNOWN_AT, "timestamp", f"When the label was known, UTC: {known}.", **protection[known]),
        columns.node(asked.label, LABEL_TYPES[asked.task], asked.source.column(asked.label).description,
                     required=True, **protection[asked.label]),
        *[columns.node(full, field.type, field.description, **protection[full]) for full, field in used.items()],
    ]  # fmt: skip
    return columns.document(
        asked.training_set,
        asked.domain,
        properties,
        purpose=f"Labelled rows of {asked.source.table}, with the features of {features.name} as they were known then.",
        grain=f"One row per {asked.key} whose {asked.label} is known.",
        workload="features",
        rules=[columns.HAS_ROWS],
    )


def _spine(asked: Asked, service: Declared[FeatureService], spine: Sequence[Column]) -> Module:
    table, parameter = asked.training_set, asked.source.table.table
    label, known = asked.label, asked.known_at or asked.at
    body = (
        "@training_set_asset(\n"
        f'    contract("gold/{table.table}"),\n'
        f"    {service.variable},\n"
        f'    inputs={{"{parameter}": "{asked.source.table}"}},\n'
        "    automation=when_inputs_are_good(),\n"
        ")\n"
        f"def {table.table}({parameter}: DataFrame) -> DataFrame:\n"
        f'    """Rows whose {label} is known, with every feature as it was known when the question is asked."""\n'
        "    from pyspark.sql import functions as F\n\n"
        f"    known = {parameter}.where(F.col({literal(label)}).isNotNull() "
        f"& F.col({literal(asked.at)}).isNotNull())\n"
        "    return known.select(\n"
        + "".join(f"        {_selected(c, c.type if c.name == asked.key else type_in_training(c))},\n" for c in spine)
        + f'        F.col({literal(asked.at)}).cast("timestamp").alias("event_timestamp"),\n'
        f'        F.col({literal(known)}).cast("timestamp").alias("{KNOWN_AT}"),\n'
        f"        {_selected(asked.source.column(label), LABEL_TYPES[asked.task])},\n"
        "        RECORD_ID,\n"
        "    )"
    )
    imports = {
        f"assets.{asked.domain.name}.domain": ("contract",),
        "feature_repo.assets": ("training_set_asset",),
        "pipelines.orchestration.automation": ("when_inputs_are_good",),
        "pipelines.tables": ("RECORD_ID",),
    }
    if service.module != f"assets.{asked.domain.name}.features":
        imports[service.module] = (service.variable,)
    return Module("features.py", FEATURES_DOC, imports, body, DATA_FRAME)


def _selected(column: Column, type_: str) -> str:
    name = literal(column.name)
    return name if column.type == type_ else f"F.col({name}).cast({literal(type_)}).alias({name})"


def _recipe(asked: Asked, inputs: Sequence[Column]) -> Module:
    start, train_end, gate_end = _windows(asked)
    days = (train_end - start).days
    numeric = [c.name for c in inputs if c.type != "string"]
    lines = [
        f"model_name={literal(asked.name)}",
        f"task={literal(asked.task)}",
        f"label={literal(asked.label)}",
        f"row_key={literal(asked.key)}",
        'time_column="event_timestamp"',
        f"known_at_column={literal(KNOWN_AT)}",
        f"numeric={_tuple(numeric)}",
        f"categorical={_tuple([c.name for c in inputs if c.type == 'string'])}",
        *(["interval_level=0.9"] if asked.task == "regression" else []),
        *([f"holdout_every_days={days}"] if days < 10 else []),
        f"train_window=Window({_literal(start)}, {_literal(train_end)})",
        f"gate_window=Window({_literal(train_end)}, {_literal(gate_end)})",
    ]
    body = (
        f"def {asked.name}_recipe() -> Recipe:\n"
        f"    {docstring(asked.question)}\n"
        "    from ray_jobs.tabular.recipe import Recipe\n\n"
        "    return Recipe(\n" + "".join(f"        {line},\n" for line in lines) + "    )"
    )
    imports = {"datetime": ("UTC", "datetime"), "pipelines.models.program": ("Window",)}
    doc = "The recipes of the domain's models: the columns that they read, their windows, how they are trained."
    return Module("recipe.py", doc, imports, body, {"ray_jobs.tabular.recipe": ("Recipe",)})


def _tuple(names: Sequence[str]) -> str:
    """A tuple of texts; over several lines if there are many."""
    if sum(len(name) + 4 for name in names) > 90:
        return "(\n" + "".join(f"            {literal(name)},\n" for name in names) + "        )"
    return f"({columns.texts(names)}{',' if len(names) == 1 else ''})"


def _windows(asked: Asked) -> tuple[datetime, datetime, datetime]:
    options = {"--train-start": asked.train_start, "--train-end": asked.train_end, "--gate-end": asked.gate_end}
    start, train_end, gate_end = _instants(options)
    if not start < train_end < gate_end or (train_end - start).days < 2:
        refuse(
            ", ".join(options),
            f"{start.isoformat()}, {train_end.isoformat()}, {gate_end.isoformat()}",
            "each later than the one before, and two days or more to train on",
            "correct the options",
        )
    return start, train_end, gate_end


def _instants(options: dict[str, str]) -> Iterator[datetime]:
    """The instants of options: a day is its beginning in UTC."""
    for option, text in options.items():
        try:
            yield datetime.combine(date.fromisoformat(text), time(), UTC)
        except ValueError:
            yield clock.instant(text, of=option, next_step="write a day, such as 2026-01-31, or an instant with offset")


def _literal(at: datetime) -> str:
    clock_time = (at.hour, at.minute, at.second)
    parts = (at.year, at.month, at.day, *(clock_time if any(clock_time) else ()))
    return f"datetime({', '.join(map(str, parts))}, tzinfo=UTC)"


def docstring(sentence: str) -> str:
    """A sentence as a docstring of one line."""
    return '"""' + sentence.replace("\\", "\\\\").replace('"', "'") + '"""'


def _model(asked: Asked, service: Declared[FeatureService]) -> Module:
    domain, name = asked.domain.name, asked.name
    limit = f"Trained on {asked.source.table} alone: says nothing about other sources or times."
    body = (
        f"{name.upper()} = ModelSpec(\n"
        f"    domain={domain},\n"
        f"    name={literal(name)},\n"
        f"    question={literal(asked.question)},\n"
        f"    task={literal(asked.task)},\n"
        "    program=TABULAR,\n"
        f'    recipes={{"from_scratch": {name}_recipe}},\n'
        f'    training_set=contract("gold/{asked.training_set.table}"),\n'
        f"    features={service.variable},\n"
        f"    limits=({literal(limit)},),\n"
        "    # A better figure is enough for a first model; 0.95 asks for more than chance, against every opponent.\n"
        "    gate=Gate(confidence=0.5),\n"
        ")\n"
        f"{name}_training, {name}_registered = model_assets({name.upper()})\n"
        f"{name}_drift = drift_asset({name.upper()}, automation=when_inputs_are_good())"
    )
    imports = {
        f"assets.{domain}.domain": ("contract", domain),
        f"assets.{domain}.recipe": (f"{name}_recipe",),
        "pipelines.models.assets": ("model_assets",),
        "pipelines.models.drift_asset": ("drift_asset",),
        "pipelines.models.judgement": ("Gate",),
        "pipelines.orchestration.automation": ("when_inputs_are_good",),
        "pipelines.models.spec": ("ModelSpec",),
        "ray_jobs.programs": ("TABULAR",),
    }
    imports[service.module] = (*imports.get(service.module, ()), service.variable)
    return Module("model.py", "The models of the domain: trained, and registered behind a gate.", imports, body)
