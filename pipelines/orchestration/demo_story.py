"""What a domain declares of its demo: what lands, what its service is asked at which instants, what else is reported.

The demo lands recorded days, fills tables, trains, registers and serves a model, lands the days that follow, asks the
service about them at instants that lie before their outcomes, and joins the answers with what came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Contract
from pipelines.errors import SettingsError
from pipelines.governed.platform import Platform
from pipelines.landing.made_files import Landed
from pipelines.models.rollout_plan import Rollout
from pipelines.models.spec import ModelSpec

#: Lands what the sources of a domain deliver for the local days from the first to the last, both included.
Land = Callable[[Platform, date, date], Landed]
#: The bodies of the questions that the service is asked at an instant, UTC; none if there is nothing to ask.
Questions = Callable[[datetime], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The recorded local days of a demo.

    Attributes:
        first: The first day that was recorded.
        last: The last one.
        through: The last day that lands before the replay, unless the user chooses another.
        minimum: The least number of days that land before the replay.
        minimum_gate: The least number of days on which the gate compares models, where the recipe's windows do not
            apply; fine-tuning trains on their first half and compares on the second.
    """

    first: date
    last: date
    through: date
    minimum: int
    minimum_gate: int = 14

    def start(self, through: date, days: int | None, *, replayed: int) -> date:
        """The first day that lands, of `days` days up to `through`; None takes all since the first.

        Raises:
            SettingsError: if the days, with those that are replayed after them, are not recorded, or are too few.
        """
        start = self.first if days is None else through - timedelta(days=days - 1)
        last = self.last - timedelta(days=replayed)
        if not self.first <= start <= through <= last or (through - start).days + 1 < self.minimum:
            raise SettingsError(
                object="demo --through/--days",
                observed=f"{start} to {through}",
                expected=f"at least {self.minimum} days between {self.first} and {last}",
                next_step=f"leave both out, or choose days from {self.first} to {last}",
            )
        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The days after those that were trained on, on which the service is asked before the outcomes are known.

    Attributes:
        questions: What is asked at an instant.
        subjects: What the questions are about, in the plural, such as `orders`.
        outcomes: The contract of the gold table of predictions and their outcomes: `prediction_id`, `outcome_known_at`,
            and the columns `label` and `answer`.
        label: The column of the outcome.
        answer: The column of what was predicted.
        stages: The jobs of the domain that run at each instant before the questions, by the stage in their name.
        days: How many days are replayed.
        hours: The local hours of each day at which the service is asked.
        outcome_days: After how many further days the outcomes of the last replayed day are known.
    """

    questions: Questions
    subjects: str
    outcomes: Contract
    label: str
    answer: str
    stages: tuple[str, ...] = ("online",)
    days: int = 7
    hours: tuple[int, ...] = (5, 12, 17)
    outcome_days: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report that a domain adds: a title, a text, and rows of a table under its columns."""

    title: str
    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def _nothing_else(platform: Platform, figures: Mapping[str, Any]) -> Sequence[Section]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The demo of a domain.

    Attributes:
        domain: The domain whose jobs run.
        title: What it shows, in one line.
        model: The model that is trained, served and asked.
        days: The recorded days.
        deliveries: What lands, by domain, in the order in which the domains are ingested: first those whose tables the
            demo's domain reads, then itself.
        replay: When its service is asked what.
        sections: What its report shows beyond the general figures, made from them (`pipelines.demo.figures.collect`).
        rollout: The plan by which the newest version takes over after the replay, and by which a spoiled one goes back;
            its times are those of a demo. None: the demo has no rollout.
        default: Whether `goldpath demo` without a name runs it.
    """

    domain: Domain
    title: str
    model: ModelSpec
    days: Days
    deliveries: Mapping[str, Land]
    replay: Replay
    sections: Callable[[Platform, Mapping[str, Any]], Sequence[Section]] = _nothing_else
    rollout: Rollout | None = None
    default: bool = False

    def local(self, day: date, hour: int) -> datetime:
        """The instant, in UTC, at which it is this hour of the day where the domain's days are counted."""
        zone = ZoneInfo(self.domain.timezone)
        return datetime(day.year, day.month, day.day, hour, tzinfo=zone).astimezone(UTC)

    def job(self, stage: str) -> str:
        """The name of the domain's job of a stage."""
        return f"{self.domain.name}_{stage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageDemo:
    """The demo of a domain whose model writes texts: no days, no service, one job.

    Attributes:
        domain: The domain whose job runs.
        title: What it shows, in one line.
        model: The model that is trained, compared with its base model, and registered.
        job: The job, from landed texts to the registered model.
        duration: How long it takes, and on which machine.
    """

    domain: Domain
    title: str
    model: ModelSpec
    job: str
    duration: str
