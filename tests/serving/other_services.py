"""Two more services: one with the same model under another name, and one that reads a view that is in no store."""

from __future__ import annotations

from dataclasses import replace

from assets.flights.features import ARRIVAL_DELAY_V1
from assets.flights.model import ARRIVAL_DELAY
from assets.flights.service import FlightQuestion
from pipelines.features.declaration import feature_view
from pipelines.models.service import Decision, ServiceSpec
from pipelines.tables import TableId
from serving.runtimes import PREDICTION


class OtherQuestion(FlightQuestion):
    """The same question in another module, in which a replica finds the declarations below."""


second = ServiceSpec(
    replace(ARRIVAL_DELAY, name="second"), OtherQuestion, PREDICTION, Decision("delayed", "punctual", 0.25)
)
_contract = replace(ARRIVAL_DELAY_V1.views[0].contract, table=TableId("gold", "flights", "unheard"))
_features = replace(ARRIVAL_DELAY_V1, name="unheard_of", views=(*ARRIVAL_DELAY_V1.views, feature_view(_contract)))
unheard = ServiceSpec(replace(ARRIVAL_DELAY, features=_features), OtherQuestion, PREDICTION)
