"""What another version of a feature view does to a model: its champion's answers on the newest labelled rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.features import versions
from pipelines.features.declaration import EVENT_TIMESTAMP
from pipelines.medallion.gold import derivation_of
from pipelines.models.answers import Answer, Estimate, Probability, Task, Text
from pipelines.models.feature_versions import trained_with
from pipelines.models.registry import Registry
from pipelines.models.spec import ModelSpec

if TYPE_CHECKING:
    from pipelines.governed.platform import Platform

#: How many of the training set's newest rows the champion is asked about; of one that writes texts, which takes longer.
ROWS, ROWS_TO_WRITE = 5_000, 50
METRICS: Mapping[Task, str] = {
    "binary": "log_loss", "regression": "mae", "multiclass": "log_loss", "text": "share of other texts than the label"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effect:
    """The answers of one champion with each of two versions.

    Attributes:
        model: The champion, `domain.name@version`.
        rows: How many rows it was asked about.
        metric: What the figures are: mean logarithmic loss, mean absolute error, or a share; smaller is better.
        figures: With each version.
        changed: The share of rows with another decision: another side of 0.5, another label, value or text.
    """

    model: str
    rows: int
    metric: str
    figures: tuple[float, float]
    changed: float


def effect(platform: Platform, spec: ModelSpec, view: str, pair: tuple[int, int]) -> Effect | None:
    """Asks the champion of a model the same questions with two versions of a view; None if it has no champion.

    The other views have the versions that the champion was trained with. A training with the new version, which
    adapts to it, is what the gate compares after a promotion.

    Args:
        platform: Where the tables and the registry are.
        spec: A model whose service reads the view.
        view: The view's name.
        pair: The two versions.
    """
    registry = Registry(platform.settings)
    champion = registry.champion(spec.registered_name)
    if champion is None:
        return None
    predictor = spec.program.predictor(registry.download(champion))
    others = versions.current(platform.settings, spec.features) | trained_with(registry.record(champion))
    label, metric = spec.recipes["from_scratch"]().label, METRICS[predictor.task]
    most = ROWS_TO_WRITE if predictor.task == "text" else ROWS
    asked = [_questions(platform, spec, others | {view: version}, [label, *predictor.inputs], most) for version in pair]
    answers = [predictor.answer({name: rows[name] for name in predictor.inputs}) for rows in asked]
    if not answers[0]:
        return None
    losses = [
        sum(map(loss, given, rows[label])) / len(given) for given, rows in zip(answers, asked, strict=True)
    ]  # fmt: skip
    changed = sum(map(lambda one, other: decision(one) != decision(other), *answers)) / len(answers[0])
    return Effect(f"{champion.name}@{champion.version}", len(answers[0]), metric, (losses[0], losses[1]), changed)


def _questions(
    platform: Platform, spec: ModelSpec, at: Mapping[str, int], columns: Sequence[str], most: int
) -> dict[str, list[Any]]:
    """The newest rows of the training set, as it would be with these versions, by column."""
    derivation = derivation_of(spec.training_set.table)
    service, house = spec.features, platform.lakehouse
    read = service.at({name: at[name] for name in service.versions}).tables
    inputs = {
        name: house.read(house.current(table))
        for name, table in derivation.inputs.items()
        if name not in derivation.choosable or name in read
    }
    rows, names = derivation.rows(inputs)
    key = spec.recipes["from_scratch"]().row_key
    order = [rows[name].desc() for name in (EVENT_TIMESTAMP, key) if name in names]
    return rows.where(rows[columns[0]].isNotNull()).orderBy(*order).limit(most).select(*columns).toArrow().to_pydict()


def decision(answer: Answer) -> Any:
    """What follows from an answer: a side of 0.5, a value or a label."""
    if isinstance(answer, Probability):
        return answer.probability >= 0.5
    if isinstance(answer, Text):
        return answer.text
    return answer.value if isinstance(answer, Estimate) else answer.label


def loss(answer: Answer, label: Any) -> float:
    """The absolute error of an estimate, or the negative logarithm of the label's probability."""
    if isinstance(answer, Estimate):
        return abs(answer.value - label)
    if isinstance(answer, Text):
        return float(answer.text != label)
    if isinstance(answer, Probability):
        given = answer.probability if label else 1 - answer.probability
    else:
        given = answer.by_label.get(str(label), 0.0)
    return -math.log(max(given, 1e-15))
