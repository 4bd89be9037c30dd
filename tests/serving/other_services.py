"""Two more services: one with the same model under another name, and one whose feature service was never registered."""

from __future__ import annotations

from dataclasses import replace

from assets.flights.features import ARRIVAL_DELAY_V1
from assets.flights.model import ARRIVAL_DELAY
from assets.flights.service import FlightQuestion
from pipelines.models.service import Decision, ServiceSpec
from serving.runtimes import PREDICTION


class OtherQuestion(FlightQuestion):
    """The same question in another module, in which a replica finds the declarations below."""


second = ServiceSpec(
    replace(ARRIVAL_DELAY, name="second"), OtherQuestion, PREDICTION, Decision("delayed", "punctual", 0.25)
)
unheard = ServiceSpec(
    replace(ARRIVAL_DELAY, features=replace(ARRIVAL_DELAY_V1, name="unheard_of")), OtherQuestion, PREDICTION
)
