"""Answers questions: reads the features, predicts, writes the prediction log, and only then returns the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines import clock
from pipelines.provenance import prediction_log
from pipelines.settings import Settings
from serving.door.ids import uuid7
from serving.door.tracing import Trace
from serving.errors import RequestError
from serving.predict import models
from serving.predict.config import ServiceConfig
from serving.predict.features import FeatureReading, OnlineFeatures
from serving.predict.flight_request import Column, FlightQuestion
from serving.predict.log import PredictionLog

#: The columns of the schedule that are keys of features.
ENTITY_KEYS = ("carrier", "flight", "origin", "dest", "tailnum")
_PROBE = FlightQuestion.model_validate(
    {"flight": "0Z9999", "origin": "000", "destination": "001", "scheduled_departure": "2000-01-01T00:00:00+00:00"}
)


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

    def answer(self, questions: Sequence[FlightQuestion], trace: Trace) -> list[str]:
        """The answers as JSON texts, in the order of the questions; all are in the prediction log when this returns.

        Raises:
            RequestError: if no feature at all is known of one of the flights; then none is answered.
            FeatureStoreUnavailable: if the online store does not answer.
            PredictionNotRecorded: if the log cannot be written.
        """
        as_of = clock.now(self._settings)
        predictions = self._predict(questions)
        for place, prediction in enumerate(predictions):
            if not prediction.reading.features:
                raise _unknown_flight(prediction, "flight" if len(questions) == 1 else f"flights.{place}.flight")
        answers = [self._answer(prediction, as_of) for prediction in predictions]
        context = {
            "feature_service": self._config.feature_service,
            "answered_at": datetime.now(UTC).isoformat(),
            **asdict(trace),
        }
        records = [
            answer | {"question": p.question.model_dump(mode="json"), "schedule": p.schedule} | context
            for answer, p in zip(answers, predictions, strict=True)
        ]
        self._log.append(as_of.date(), records)
        return [json.dumps(answer) for answer in answers]

    def _predict(self, questions: Sequence[FlightQuestion]) -> list[_Prediction]:
        schedules = [question.columns() for question in questions]
        readings = self._features.read([{key: schedule[key] for key in ENTITY_KEYS} for schedule in schedules])
        rows = [schedule | reading.values() for schedule, reading in zip(schedules, readings, strict=True)]
        probabilities = self._model.predict_proba({name: [row[name] for row in rows] for name in rows[0]})
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


def _unknown_flight(prediction: _Prediction, field: str) -> RequestError:
    question = prediction.question
    return RequestError(
        object=field,
        observed=f"{question.flight} from {question.origin} to {question.destination}, of which no feature is known",
        expected="a flight of which the carrier, an airport, the number or the aircraft is known",
        next_step="correct the codes; without any feature the answer would be a guess",
    )
