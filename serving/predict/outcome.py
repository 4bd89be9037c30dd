"""What a version of a service is asked, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.errors import GoldpathError
from pipelines.models.question import Question
from serving.door.tracing import Trace

#: The field of a batch that holds its questions.
QUESTIONS = "questions"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its questions, which are answered together or not at all, and its ids.

    Attributes:
        questions: In the order of their answers.
        trace: The request's ids.
        part: During a rollout its plan and the arm that is asked, which every answer names.
        places: Where the questions stand in the caller's batch, if other questions of it are asked elsewhere.
        mirrored: Whether nobody gets the answers, so that the candidate sends back only what is `told` of them.
        asked_at: When this process got it, by `time.perf_counter`.
    """

    questions: Sequence[Question]
    trace: Trace
    part: Mapping[str, str] = field(default_factory=dict)
    places: Sequence[int] = ()
    mirrored: bool = False
    asked_at: float = field(default_factory=time.perf_counter)


@dataclass(slots=True)
class Answered:
    """The answers to the questions of one request, in their order; `PredictionService.record` keeps them.

    Attributes:
        digest: Of the model that answered.
        day: Of the platform's clock, UTC: the prediction log's file.
        texts: What the caller gets, JSON.
        records: The lines of the prediction log, JSON.
        told: Of each answer `id`, what was `said`, and the share of the features that were `missing`.
        ms: From asked to answered, milliseconds.
        cpu_ms: Processor time of the worker for these questions, milliseconds: their share of the group's.
    """

    digest: str
    day: date
    texts: list[str]
    records: list[str]
    told: list[dict[str, Any]]
    ms: float = 0.0
    cpu_ms: float = 0.0


#: What became of a request: its answers, or its error.
Outcome = Answered | GoldpathError
