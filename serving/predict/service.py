"""Answers questions: reads the features, predicts, and writes the prediction log before anybody gets the answers."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipelines import clock
from pipelines.errors import TerminalError
from pipelines.features.on_demand import with_values
from pipelines.machine.ids import uuid7
from pipelines.models import prediction_log
from pipelines.models.answers import Answer, Estimate, Probability, Text
from pipelines.models.feature_versions import as_trained
from pipelines.models.question import Column, Question, columns_of
from pipelines.models.registry import EVIDENCE_FOLDER
from pipelines.models.run_record import RunRecord
from pipelines.models.service import Decision, find
from pipelines.settings import Settings
from serving.errors import NotANumber, RequestError, WrongTime
from serving.predict import models
from serving.predict.config import ServiceConfig
from serving.predict.features import FeatureReading, OnlineFeatures
from serving.predict.log import PredictionLog
from serving.predict.outcome import QUESTIONS, Answered, Asked, Outcome


@dataclass(frozen=True, slots=True)
class _Prediction:
    """An answer, and what it was computed from: `columns` are the question's, and the service's on-demand ones."""

    question: Question
    columns: Mapping[str, Column]
    reading: FeatureReading
    answer: Answer


class PredictionService:
    """One model with one feature service. For one thread at a time; `serving.predict.worker.Worker` is that thread.

    Raises:
        ModelError: if the model's files are not those of its digest, or a version of a feature view that it was trained
            with is no longer declared.
    """

    def __init__(self, config: ServiceConfig, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self.spec = find(config.service)
        self._model = models.load(settings, config.model, self.spec)
        record = RunRecord.read(config.model.folder.parent / EVIDENCE_FOLDER)
        self._read = as_trained(self.spec.model.features, record, model=f"{config.model.name}@{config.model.version}")
        self._features = OnlineFeatures(settings, self._read)
        self._log = PredictionLog(prediction_log.folder(settings, config.name))
        self._identity = config.model.model_dump(include={"name", "version", "digest"})

    def describe(self) -> dict[str, Any]:
        """Which model is served, with which features."""
        return {
            **self._identity,
            "metrics": self._config.model.metrics,
            "question": self.spec.model.question,
            "task": self._model.task,
            "feature_service": self._read.full_name,
            "feature_versions": {view.name: view.version for view in self._read.views},
            "inputs": list(self._model.inputs),
        }

    def check(self) -> None:
        """Predicts for a subject that does not exist, without recording the prediction.

        Raises:
            FeatureStoreUnavailable: if the online store does not answer, or was not filled yet.
            ModelError: if the model needs a column that neither the question nor the features have.
            NotANumber: if the model's answer is none; about a subject for which a caller gets no answer, if it is none
                with features either.
        """
        (prediction,) = self._predict([self.spec.question.model_validate(self.spec.question.nobody)])
        if self._is_refused_as_unknown(prediction):
            prediction = replace(prediction, answer=self._answer_with_features(prediction))
        if (error := self._not_a_number(prediction)) is not None:
            raise error

    def _answer_with_features(self, prediction: _Prediction) -> Answer:
        """The answer if each feature that is missing were 0, or the empty text."""
        texts = {column.name for column in self.spec.model.training_set.columns if column.type == "string"}
        row = {**prediction.columns, **prediction.reading.values()}
        row |= {name: "" if name in texts else 0.0 for name, value in row.items() if value is None}
        (row,) = with_values(self.spec.model.features.on_demand, [row])
        (answer,) = self._model.answer({name: [value] for name, value in row.items()})
        return answer

    def answer(self, requests: Sequence[Asked]) -> list[Outcome]:
        """What `compute` returns, after all answers were recorded; raises what both do."""
        outcomes = self.compute(requests)
        self.record([outcome for outcome in outcomes if isinstance(outcome, Answered)])
        return outcomes

    def compute(self, requests: Sequence[Asked]) -> list[Outcome]:
        """The outcome of each request, all computed together. The error of one request does not touch the others.

        Raises:
            FeatureStoreUnavailable: if the online store does not answer.
        """
        try:
            return self._compute_together(requests)
        except TerminalError as error:
            if len(requests) == 1:
                return [error]
            return [outcome for request in requests for outcome in self.compute([request])]

    def record(self, answered: Sequence[Answered]) -> None:
        """Writes answers into the prediction log; nobody may get them before.

        Raises:
            PredictionNotRecorded: if the log cannot be written.
        """
        for day in sorted({each.day for each in answered}):
            self._log.append(day, [record for each in answered if each.day == day for record in each.records])

    def _compute_together(self, requests: Sequence[Asked]) -> list[Outcome]:
        began = time.thread_time()
        as_of = clock.now(self._settings)
        predictions = iter(self._predict([question for request in requests for question in request.questions]))
        outcomes: list[Outcome] = []
        for request in requests:
            own = list(itertools.islice(predictions, len(request.questions)))
            outcomes.append(self._refusal(request, own, as_of) or self._answered(request, own, as_of))
        cpu_ms = 1_000 * (time.thread_time() - began) / sum(len(request.questions) for request in requests)
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Answered):
                outcome.ms = 1_000 * (time.perf_counter() - request.asked_at)
                outcome.cpu_ms = cpu_ms * len(outcome.texts)
        return outcomes

    def _answered(self, request: Asked, predictions: Sequence[_Prediction], as_of: datetime) -> Answered:
        model = {**self._identity, **request.part}
        answered = Answered(self._config.model.digest, as_of.date(), [], [], [])
        context = {
            "feature_service": self.spec.model.features.full_name,
            "answered_at": datetime.now(UTC).isoformat(),
            **asdict(request.trace),
        }
        for prediction in predictions:
            said = _said(prediction.answer, self.spec.decision)
            answer = self._answer(prediction, said, model, as_of)
            asked = {"question": prediction.question.model_dump(mode="json"), "columns": prediction.columns}
            missing, held = len(prediction.reading.missing), len(prediction.reading.held)
            share = missing / (missing + held) if missing else 0.0
            text = json.dumps(answer, allow_nan=False)
            answered.texts.append(text)
            answered.records.append(f"{text[:-1]}, {json.dumps(asked | context, allow_nan=False)[1:]}")
            answered.told.append({"id": answer["prediction_id"], "said": said, "missing": share})
        return answered

    def _predict(self, questions: Sequence[Question]) -> list[_Prediction]:
        asked = columns_of(questions)
        keys = self.spec.model.features.keys
        readings = self._features.read([{key: columns[key] for key in keys} for columns in asked])
        rows = [columns | reading.values() for columns, reading in zip(asked, readings, strict=True)]
        rows = with_values(self.spec.model.features.on_demand, rows)
        answers = self._model.answer({name: [row[name] for row in rows] for name in rows[0]})
        computed = [{name: _loggable(row[name]) for name in self.spec.model.features.computed} for row in rows]
        columns = [own | more for own, more in zip(asked, computed, strict=True)]
        return [_Prediction(*parts) for parts in zip(questions, columns, readings, answers, strict=True)]

    def _answer(
        self, prediction: _Prediction, said: Mapping[str, Any], model: Mapping[str, Any], as_of: datetime
    ) -> dict[str, Any]:
        return {
            "prediction_id": str(uuid7()),
            "subject": prediction.question.subject,
            **said,
            "model": model,
            "features": {
                name: {"value": value, "timestamp": prediction.reading.known_at[name]}
                for name, value in prediction.reading.held.items()
            },
            "missing": [asdict(missing) for missing in prediction.reading.missing],
            "as_of": as_of.isoformat(),
        }

    def _refusal(
        self, request: Asked, predictions: Sequence[_Prediction], as_of: datetime
    ) -> RequestError | NotANumber | None:
        """Why the questions of one request are not answered; None if they are."""
        places = request.places or (range(len(predictions)) if len(predictions) > 1 else ())
        for number, prediction in enumerate(predictions):
            prefix = f"{QUESTIONS}.{places[number]}." if places else ""
            question = prediction.question
            if (observed := question.wrong_time(as_of)) is not None:
                return WrongTime(
                    object=f"{prefix}{question.about}",
                    observed=observed,
                    expected=f"an instant that is {_lead(question)} ahead of the platform's time",
                    next_step="correct the instant; during a replay, `goldpath doctor` tells the platform's time",
                )
            if self._is_refused_as_unknown(prediction):
                return self._unknown_subject(prediction, prefix)
            if (error := self._not_a_number(prediction, prefix)) is not None:
                return error
        return None

    def _is_refused_as_unknown(self, prediction: _Prediction) -> bool:
        """Whether nothing is known of the subject, and the service answers nothing about such subjects."""
        is_unknown = bool(prediction.reading.missing and not prediction.reading.held)
        return is_unknown and not self.spec.answers_unknown

    def _not_a_number(self, prediction: _Prediction, prefix: str = "") -> NotANumber | None:
        """The error of an answer with a number that is infinite or none; None for any other answer."""
        if _is_finite(prediction.answer):
            return None
        return NotANumber(
            object=f"{prefix}{self._identity['name']}@{self._identity['version']}",
            observed=f"{prediction.answer}",
            expected="an answer of finite numbers",
            next_step="goldpath model rollback, and look into the model's training",
        )

    def _unknown_subject(self, prediction: _Prediction, prefix: str) -> RequestError:
        names = self.spec.model.features.keys
        keys = ", ".join(f"{key} {prediction.columns[key]}" for key in names)
        fields = type(prediction.question).model_fields
        return RequestError(
            object=f"{prefix}{names[0] if len(names) == 1 and names[0] in fields else next(iter(fields))}",
            observed=f"{keys}, of which no feature is known",
            expected="a subject of which at least one feature is known",
            next_step="correct the fields; without any feature the answer would be a guess",
        )


def _loggable(value: Any) -> Any:
    """A value as JSON holds it: a number that is none, such as NaN, as its text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _is_finite(answer: Answer) -> bool:
    """Whether no number of an answer is infinite or NaN."""
    if isinstance(answer, Probability):
        return math.isfinite(answer.probability)
    if isinstance(answer, Estimate):
        return all(map(math.isfinite, (answer.value, answer.low, answer.high)))
    return isinstance(answer, Text) or all(map(math.isfinite, answer.by_label.values()))


def _said(answer: Answer, decision: Decision) -> dict[str, Any]:
    """An answer as callers get it, by the model's task."""
    if isinstance(answer, Probability):
        is_positive = answer.probability >= decision.threshold
        called = decision.positive if is_positive else decision.negative
        return {"probability": answer.probability, "decision": called, "threshold": decision.threshold}
    if isinstance(answer, Estimate):
        interval = {"low": answer.low, "high": answer.high, "level": answer.level}
        return {"value": answer.value, "interval": interval}
    if isinstance(answer, Text):
        return {"text": answer.text}
    return {"label": answer.label, "probabilities": dict(answer.by_label)}


def _lead(question: Question) -> str:
    least, most = question.lead
    return f"more than {least} and at most {most}" if least else f"at most {most}"
