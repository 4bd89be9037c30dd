"""Answers questions: reads the features, predicts, writes the prediction log, and only then returns the answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines import clock
from pipelines.errors import GoldpathError, TerminalError
from pipelines.provenance import prediction_log
from pipelines.settings import Settings
from serving.door.ids import uuid7
from serving.door.tracing import Trace
from serving.errors import RequestError, WrongTime
from serving.predict import models
from serving.predict.config import ServiceConfig
from serving.predict.features import FeatureReading, OnlineFeatures
from serving.predict.flight_request import Column, FlightQuestion
from serving.predict.log import PredictionLog

#: The columns of the schedule that are keys of features.
ENTITY_KEYS = ("carrier", "flight", "origin", "dest", "tailnum")
#: Airlines publish their schedules about a year ahead; what is known now says nothing about a later flight.
LONGEST_LEAD = timedelta(days=366)
_PROBE = FlightQuestion.model_validate(
    {"flight": "0Z9999", "origin": "000", "destination": "001", "scheduled_departure": "2000-01-01T00:00:00+00:00"}
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its questions, which are answered together or not at all, and its ids."""

    questions: Sequence[FlightQuestion]
    trace: Trace


@dataclass(frozen=True, slots=True)
class _Prediction:
    question: FlightQuestion
    schedule: Mapping[str, Column]
    reading: FeatureReading
    probability: float


class PredictionService:
    """One model with one feature service. For one thread at a time; `serving.predict.http.Worker` is that thread.

    Raises:
        ModelError: if the model's files are not those of its digest.
    """

    def __init__(self, config: ServiceConfig, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._model = models.load(config.model)
        self._features = OnlineFeatures(settings, config.feature_service)
        self._log = PredictionLog(prediction_log.folder(settings))
        self._identity = config.model.model_dump(include={"name", "version", "digest"})

    def describe(self) -> dict[str, Any]:
        """Which model is served, with which features."""
        return {
            **self._identity,
            "metrics": self._config.model.metrics,
            "feature_service": self._config.feature_service,
            "threshold": self._config.threshold,
            "inputs": list(self._model.inputs),
        }

    def check(self) -> None:
        """Predicts for a flight that does not exist, without recording the prediction.

        Raises:
            FeatureStoreUnavailable: if the online store does not answer, or was not filled yet.
            ModelError: if the model needs a column that neither the schedule nor the features have.
        """
        self._predict([_PROBE])

    def answer(self, requests: Sequence[Asked]) -> list[list[str] | GoldpathError]:
        """The outcome of each request, all computed together: the answers to its questions as JSON texts, or its error.

        All answers are in the prediction log when this returns. The error of one request does not touch the others.

        Raises:
            FeatureStoreUnavailable: if the online store does not answer.
            PredictionNotRecorded: if the log cannot be written.
        """
        try:
            return self._answer_together(requests)
        except TerminalError as error:
            if len(requests) == 1:
                return [error]
            return [outcome for request in requests for outcome in self.answer([request])]

    def _answer_together(self, requests: Sequence[Asked]) -> list[list[str] | GoldpathError]:
        as_of = clock.now(self._settings)
        predictions = iter(self._predict([question for request in requests for question in request.questions]))
        outcomes: list[list[str] | GoldpathError] = []
        records: list[dict[str, Any]] = []
        for request in requests:
            own = list(itertools.islice(predictions, len(request.questions)))
            refusal = _refusal(own, as_of)
            if refusal is not None:
                outcomes.append(refusal)
                continue
            answers = [self._answer(prediction, as_of) for prediction in own]
            context = {
                "feature_service": self._config.feature_service,
                "answered_at": datetime.now(UTC).isoformat(),
                **asdict(request.trace),
            }
            records += [
                answer | {"question": p.question.model_dump(mode="json"), "schedule": p.schedule} | context
                for answer, p in zip(answers, own, strict=True)
            ]
            outcomes.append([json.dumps(answer) for answer in answers])
        if records:
            self._log.append(as_of.date(), records)
        return outcomes

    def _predict(self, questions: Sequence[FlightQuestion]) -> list[_Prediction]:
        schedules = [question.columns() for question in questions]
        readings = self._features.read([{key: schedule[key] for key in ENTITY_KEYS} for schedule in schedules])
        rows = [schedule | reading.values() for schedule, reading in zip(schedules, readings, strict=True)]
        probabilities = self._model.predict({name: [row[name] for row in rows] for name in rows[0]})
        return [
            _Prediction(question, schedule, reading, float(probability))
            for question, schedule, reading, probability in zip(
                questions, schedules, readings, probabilities, strict=True
            )
        ]

    def _answer(self, prediction: _Prediction, as_of: datetime) -> dict[str, Any]:
        threshold = self._config.threshold
        return {
            "prediction_id": str(uuid7()),
            "flight_id": prediction.question.flight_id,
            "probability": prediction.probability,
            "decision": "late" if prediction.probability >= threshold else "on_time",
            "threshold": threshold,
            "model": self._identity,
            "features": {
                name: {"value": feature.value, "timestamp": feature.timestamp}
                for name, feature in prediction.reading.features.items()
            },
            "missing": [asdict(missing) for missing in prediction.reading.missing],
            "as_of": as_of.isoformat(),
        }


def _refusal(predictions: Sequence[_Prediction], as_of: datetime) -> RequestError | None:
    """Why the questions of one request are not answered; None if they are."""
    for place, prediction in enumerate(predictions):
        prefix = "" if len(predictions) == 1 else f"flights.{place}."
        departure = prediction.question.scheduled_departure
        if not as_of < departure <= as_of + LONGEST_LEAD:
            return WrongTime(
                object=f"{prefix}scheduled_departure",
                observed=f"{departure.isoformat()}, {'which is past' if departure <= as_of else 'too far ahead'}: the "
                f"platform's time is {as_of.isoformat(timespec='seconds')}",
                expected=f"a departure within {LONGEST_LEAD.days} days from the platform's time",
                next_step="ask before the flight leaves; during a replay, `goldpath doctor` tells the platform's time",
            )
        if not prediction.reading.features:
            return _unknown_flight(prediction, f"{prefix}flight")
    return None


def _unknown_flight(prediction: _Prediction, field: str) -> RequestError:
    question = prediction.question
    return RequestError(
        object=field,
        observed=f"{question.flight} from {question.origin} to {question.destination}, of which no feature is known",
        expected="a flight of which the carrier, an airport, the number or the aircraft is known",
        next_step="correct the codes; without any feature the answer would be a guess",
    )
