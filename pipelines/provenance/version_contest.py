"""Two versions of a model, asked the same labelled rows that neither was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import ModelError
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.models import windows
from pipelines.models.answers import Answer
from pipelines.models.program import Fold
from pipelines.models.registry import RegisteredModel, Registry
from pipelines.models.spec import ModelSpec
from pipelines.provenance.version_effect import METRICS, ROWS, ROWS_TO_WRITE, decision, loss

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipelines.governed.platform import Platform


@dataclass(frozen=True, slots=True)
class Contest:
    """What two versions of a model answer to the same rows.

    Attributes:
        versions: The two versions.
        rows: How many labelled rows they were asked, the newest ones that neither was trained on.
        metric: What the figures are: mean logarithmic loss, mean absolute error, or a share; smaller is better.
        figures: Of each version.
        changed: The share of rows with another decision: another side of 0.5, another label, value or text.
    """

    versions: tuple[int, int]
    rows: int
    metric: str
    figures: tuple[float, float]
    changed: float


def contest(platform: Platform, spec: ModelSpec, pair: tuple[int, int]) -> Contest | None:
    """Asks two versions the newest labelled rows of the training set; None if there is none that both never saw.

    Raises:
        NotFoundError: for a version that is not registered.
        ModelError: if the files of one are not those that were registered, or both need columns that the table lacks.
    """
    registry = Registry(platform.settings)
    models = [registry.version(spec.registered_name, version) for version in pair]
    predictors = [spec.program.predictor(registry.download(model)) for model in models]
    recipe = spec.recipes["from_scratch"]()
    house = platform.lakehouse
    table = house.read(house.current(spec.training_set.table))
    columns = list(dict.fromkeys((recipe.label, *(name for each in predictors for name in each.inputs))))
    if absent := [name for name in columns if name not in table.columns]:
        raise ModelError(
            object=f"versions {pair[0]} and {pair[1]} of {spec.registered_name}",
            observed=f"they read {', '.join(absent)}, which {spec.training_set.table} lacks",
            expected="versions that read columns of the present training set",
            next_step=f"goldpath model show {spec.registered_name} has the figures of each version's own gate window",
        )
    rows = table.where(table[recipe.label].isNotNull())
    for model in models:
        rows = _unseen(rows, registry, model)
    newest = [rows[name].desc() for name in (EVENT_TIMESTAMP, recipe.row_key) if name in rows.columns]
    most = ROWS_TO_WRITE if predictors[0].task == "text" else ROWS
    asked = rows.orderBy(*newest).limit(most).select(*columns).toArrow().to_pydict()
    labels = asked[recipe.label]
    if not labels:
        return None
    answers = [each.answer({name: asked[name] for name in each.inputs}) for each in predictors]
    first, second = (_mean(loss, given, labels) for given in answers)
    changed = sum(map(lambda one, other: decision(one) != decision(other), *answers)) / len(labels)
    return Contest(pair, len(labels), METRICS[predictors[0].task], (first, second), changed)


def _unseen(rows: DataFrame, registry: Registry, model: RegisteredModel) -> DataFrame:
    """The rows that a version was not trained on, by the window or fold of its run record."""
    from pyspark.sql import functions as F

    recipe = registry.record(model).hyperparameters
    trained = windows.trained_on(recipe)
    if isinstance(trained, Fold):
        return rows.where(~F.col(trained.column).isin(*trained.values, *trained.holdout))
    return rows.where(F.col(recipe["time_column"]) >= F.lit(trained.end))


def _mean(measure: Callable[[Answer, Any], float], answers: Sequence[Answer], labels: Sequence[Any]) -> float:
    return sum(map(measure, answers, labels)) / len(labels)
