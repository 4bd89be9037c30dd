"""A question to a service, in the terms of its callers, and the columns that follow from it without a feature store.

    class Order(Question):
        order_id: str = Field(pattern=r"^o[0-9]+$", description="order id, such as o17")

        @property
        def subject(self) -> str:
            return self.order_id

        def columns(self) -> dict[str, Column]:
            return {"order_id": self.order_id}

The class is the schema of the service's requests, also in its OpenAPI document: each field's description says what is
allowed, and a refusal repeats it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from pipelines.features.on_demand import OnDemand

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
#: What a field of the type `Instant` is described with.
INSTANT = "an ISO 8601 instant with its offset, such as 2013-11-01T05:15:00-04:00"

Column = str | int | float | bool | None


def _with_offset(value: object) -> datetime:
    """The instant of an ISO 8601 text, UTC; refuses a text without offset, which names no instant."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not ISO 8601") from None
    if instant.tzinfo is None:
        raise ValueError("has no offset")
    if not EARLIEST <= instant < LATEST:
        raise ValueError("lies outside the years 2000 to 2099")
    return instant.astimezone(UTC)


#: An instant, given as a text with its offset, held in UTC.
Instant = Annotated[datetime, BeforeValidator(_with_offset)]


class Question(BaseModel):
    """One question of a service. Unknown fields are refused.

    Attributes:
        about: The name of the field with the instant that the question is about; empty for a question about now.
        lead: How far that instant may lie ahead of the platform's clock: more than the first, at most the second.
        on_demand: Columns that are computed from its fields, by the outputs' own names, beside `columns`.
        nobody: A valid question about a subject that does not exist; a starting service asks it to see that it can
            predict. Its instant is not looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: ClassVar[str] = ""
    lead: ClassVar[tuple[timedelta, timedelta]] = (timedelta(0), timedelta(days=366))
    on_demand: ClassVar[tuple[OnDemand, ...]] = ()
    nobody: ClassVar[dict[str, object]] = {}

    @property
    @abstractmethod
    def subject(self) -> str:
        """The id of what is asked about, under which its outcome is found later."""

    @abstractmethod
    def columns(self) -> dict[str, Column]:
        """The features' keys, and the model's inputs that are no features, named as in the training set."""

    def wrong_time(self, as_of: datetime) -> str | None:
        """Why its instant cannot be predicted when the platform's clock shows `as_of`; None if it can."""
        if not self.about:
            return None
        instant: datetime = getattr(self, self.about)
        least, most = self.lead
        if as_of + least < instant <= as_of + most:
            return None
        why = "past" if instant <= as_of else "too near" if instant <= as_of + least else "too far ahead"
        return f"{instant.isoformat()}, which is {why}: the platform's time is {as_of.isoformat(timespec='seconds')}"


def columns_of(questions: Sequence[Question]) -> list[dict[str, Column]]:
    """The columns of questions of one class, with those that are computed from their fields."""
    columns = [question.columns() for question in questions]
    for declared in questions[0].on_demand if questions else ():
        fields = [{name: getattr(question, name) for name in declared.inputs} for question in questions]
        columns = [row | computed for row, computed in zip(columns, declared.of_rows(fields), strict=True)]
    return columns
