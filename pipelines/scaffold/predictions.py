"""The tables of a service's predictions: logged, typed, and joined with the outcomes that came."""

from __future__ import annotations

from typing import Any

from pipelines.landing.proposal.code import literal
from pipelines.models.answers import Task
from pipelines.models.spec import ModelSpec
from pipelines.scaffold import columns
from pipelines.scaffold.declared import Declared
from pipelines.scaffold.draft import Draft
from pipelines.scaffold.model import KNOWN_AT
from pipelines.scaffold.module import Module
from pipelines.scaffold.table import DATA_FRAME
from pipelines.tables import TableId

#: What an answer says, by task: columns with their types, as the log has them.
ANSWERS: dict[Task, dict[str, tuple[str, str]]] = {
    "binary": {
        "probability": ("double", "Answered probability."),
        "decision": ("string", "The decision at the threshold."),
        "threshold": ("double", "Probability from which the decision is the positive one."),
    },
    "regression": {
        "value": ("double", "Answered value."),
        "interval": ("string", "Low, high and level of the interval, JSON."),
    },
    "multiclass": {
        "label": ("string", "The most probable label."),
        "probabilities": ("string", "The probability of each label, JSON."),
    },
}
LOGGED = {
    "prediction_id": "Id that the service answered with.",
    "subject": "What was asked about.",
    "answered_at": "When the service answered, wall clock, UTC.",
    "as_of": "What the platform's clock showed, UTC.",
    "model": "Name, version and digest of the model, JSON.",
    "features": "Every feature with its value and timestamp, JSON.",
    "missing": "Features that the online store did not have, JSON.",
    "question": "The question as it came, JSON.",
    "columns": "Keys, and what the question tells, JSON.",
    "feature_service": "Feature service that the features came from.",
    "request_id": "Id of the request, ours or the caller's.",
    "traceparent": "W3C trace context of the caller.",
}
_MODEL = {"model_name": "string", "model_version": "bigint", "model_digest": "string"}
OUTCOME = "outcome"


def draft(model: Declared[ModelSpec]) -> Draft:
    """Bronze and silver of the prediction log, and gold with the outcomes."""
    spec = model.value
    logged = f"{spec.name}_predictions"
    bronze, silver, gold = (
        TableId.parse(f"{zone}/{spec.domain.name}/{table}")
        for zone, table in (("bronze", logged), ("silver", logged), ("gold", f"{spec.name}_outcomes"))
    )
    contracts = {
        columns.file_name(bronze): _bronze(spec, bronze),
        columns.file_name(silver): _silver(spec, silver),
        columns.file_name(gold): _gold(spec, gold),
    }
    landing = f"landing/{spec.domain.name}/{logged}"
    notes = [f"the predictions as tables: goldpath materialize {landing} {bronze} {silver} {gold}"]
    return Draft(contracts, [_module(model, logged, gold)], notes)


def _bronze(spec: ModelSpec, table: TableId) -> dict[str, Any]:
    answers = {name: description for name, (_, description) in ANSWERS[spec.task].items()}
    document = columns.document(
        table,
        spec.domain,
        [columns.node(name, "string", description) for name, description in (LOGGED | answers).items()],
        purpose=f"Every answer of the service {spec.registered_name}, as it was logged before it was sent.",
        grain="One row per prediction.",
        workload="serving",
        drift=("discard_value", "discard_row"),
    )
    path = f"{table.domain}/{table.table}/dt=*/*.jsonl"
    server = {"server": "landing", "type": "local", "path": path, "format": "jsonl"}
    return document | {"servers": [server]}


def _silver(spec: ModelSpec, table: TableId) -> dict[str, Any]:
    properties = [
        columns.node("prediction_id", "string", LOGGED["prediction_id"], **columns.key(1)),
        columns.node("subject", "string", LOGGED["subject"], required=True),
        *[columns.node(name, "timestamp", LOGGED[name], required=True) for name in ("answered_at", "as_of")],
        *[columns.node(name, type_, words, required=True) for name, (type_, words) in ANSWERS[spec.task].items()],
        *[columns.node(name, type_, "", required=True, transformLogic=name.replace("_", ".", 1))
          for name, type_ in _MODEL.items()],
        *[columns.node(name, "string", LOGGED[name]) for name in ("model", "features", "missing")],
    ]  # fmt: skip
    return columns.document(
        table,
        spec.domain,
        properties,
        purpose=f"Every answer of the service {spec.registered_name}.",
        grain="One row per prediction.",
        workload="serving",
        drift=("discard_value", "discard_row"),
    )


def _gold(spec: ModelSpec, table: TableId) -> dict[str, Any]:
    label = spec.training_set.column(spec.recipes["from_scratch"]().label)
    answers = ANSWERS[spec.task].items()
    properties = [
        columns.node("prediction_id", "string", LOGGED["prediction_id"], **columns.key(1)),
        columns.node("subject", "string", LOGGED["subject"], required=True),
        columns.node("as_of", "timestamp", LOGGED["as_of"], required=True),
        *[columns.node(name, _MODEL[name], "", required=True) for name in ("model_name", "model_version")],
        *[columns.node(name, type_, words, required=True) for name, (type_, words) in answers],
        columns.node(KNOWN_AT, "timestamp", "When the outcome was known, UTC; null while it is not."),
        columns.node(OUTCOME, label.type, f"What came, {label.name}; null while it is not known."),
    ]
    return columns.document(
        table,
        spec.domain,
        properties,
        purpose=f"What {spec.registered_name} predicted, and what came.",
        grain="One row per prediction.",
        workload="serving",
    )


def _module(model: Declared[ModelSpec], logged: str, gold: TableId) -> Module:
    spec = model.value
    recipe = spec.recipes["from_scratch"]()
    training = spec.training_set.table
    body = f'''landed_{logged} = landing_asset(
    contract("bronze/{logged}"),
    LogFiles(Path("serving/predictions") / {model.variable}.registered_name, "*.jsonl"),
    deps=[{model.variable}.key("serving")],
)
bronze_{logged} = bronze_asset(contract("bronze/{logged}"))


@silver_asset(contract("silver/{logged}"))
def {logged}(predictions: DataFrame) -> DataFrame:
    """Every prediction that the service returned."""
    from pyspark.sql import functions as F

    parts = {{f"model_{{name}}": F.get_json_object("model", f"$.{{name}}") for name in ("name", "version", "digest")}}
    return predictions.withColumns(parts | {{"model_version": parts["model_version"].try_cast("bigint")}})


@gold_asset(
    contract("gold/{gold.table}"),
    inputs={{"predictions": "silver/{spec.domain.name}/{logged}", "examples": "{training}"}},
)
def {gold.table}(predictions: DataFrame, examples: DataFrame) -> DataFrame:
    """Each prediction with what came; the outcome is null while the training set has none."""
    from pyspark.sql import functions as F

    outcomes = examples.select(
        F.col({literal(recipe.row_key)}).cast("string").alias("subject"),
        {literal(KNOWN_AT)},
        F.col({literal(recipe.label)}).alias("{OUTCOME}"),
    )
    return predictions.join(outcomes, "subject", "left")'''
    imports = {
        "pathlib": ("Path",),
        f"assets.{spec.domain.name}.domain": ("contract",),
        model.module: (model.variable,),
        "pipelines.medallion.decorators": ("bronze_asset", "gold_asset", "silver_asset"),
        "pipelines.medallion.landing_assets": ("landing_asset",),
        "pipelines.sources.logs": ("LogFiles",),
    }
    doc = "Predictions as tables: the services log them, they land, are typed and joined with their outcomes."
    return Module("predictions.py", doc, imports, body, DATA_FRAME)
