"""The service that predicts the temperature of an hour at a station, three hours before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import Field, field_validator

from assets.weather.gold import HORIZON
from assets.weather.model import TEMPERATURE
from assets.weather.seasons import CYCLES
from pipelines.features.on_demand import OnDemand
from pipelines.models.question import INSTANT, Column, Instant, Question
from pipelines.models.service import ServiceSpec
from pipelines.rollout.assets import service_asset
from serving.runtimes import PREDICTION


class HourQuestion(Question):
    """Which temperature will a station observe at this hour?"""

    about: ClassVar[str] = "valid_at"
    #: The model knows the weather of three hours before: at any time there is one hour to ask for.
    lead: ClassVar[tuple[timedelta, timedelta]] = (HORIZON - timedelta(hours=1), HORIZON)
    on_demand: ClassVar[tuple[OnDemand, ...]] = (CYCLES,)
    nobody: ClassVar[dict[str, object]] = {"station": "000", "valid_at": "2000-01-01T00:00:00+00:00"}

    station: str = Field(pattern=r"^[A-Z0-9]{3}$", description="airport code of three characters, such as EWR")
    valid_at: Instant = Field(description=f"the hour, {INSTANT.replace('05:15', '05:00')}")

    @field_validator("valid_at")
    @classmethod
    def _on_the_hour(cls, valid_at: datetime) -> datetime:
        if (valid_at.minute, valid_at.second, valid_at.microsecond) != (0, 0, 0):
            raise ValueError("is not on the hour")
        return valid_at

    @property
    def subject(self) -> str:
        """The key of gold/hours: station and hour, UTC."""
        return f"{self.station}-{self.valid_at:%Y-%m-%dT%HZ}"

    def columns(self) -> dict[str, Column]:
        """The station."""
        return {"station": self.station}


temperature_service = ServiceSpec(TEMPERATURE, HourQuestion, PREDICTION)
served = service_asset(temperature_service)
