"""The recipes of the model that predicts late arrivals: the columns it reads, its windows, how it is trained."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.models.program import Window

if TYPE_CHECKING:
    from ray_jobs.tabular.recipe import Recipe

#: Columns of the training set by feature view; the columns of the request have no view.
NUMERIC = {
    "": "scheduled_minute day_of_week scheduled_duration_minutes",
    "origin_weather": "temp dewp humid wind_speed wind_u wind_v precip pressure visib",
    "origin_delays": "dep_delay_mean_1h dep_late_share_1h dep_delay_mean_24h cancelled_24h overdue overdue_minutes",
    "carrier_delays": "arr_delay_mean_3h arr_delay_mean_24h arr_delay_mean_7d arr_late_share_7d",
    "destination_delays": "arr_delay_mean_3h arr_delay_mean_24h arr_delay_mean_7d",
    "flight_history": "late_share_20 arr_delay_mean_20",
    "aircraft_history": "last_dep_delay last_arr_delay",
}


def arrival_delay() -> Recipe:
    """Predicts whether a flight will arrive 15 or more minutes late, two hours before its scheduled departure."""
    from ray_jobs.tabular.recipe import Difference, Recipe

    slack = Difference("turnaround_slack", "departure_minute", "aircraft_history__ready_at_minute", -600.0, 1500.0)
    return Recipe(
        model_name="arrival_delay", task="binary",
        label="arrived_late", row_key="flight_id", time_column="event_timestamp", known_at_column="outcome_known_at",
        numeric=tuple(_column(view, name) for view, names in NUMERIC.items() for name in names.split()),
        categorical=("carrier", "origin", "dest"),
        differences=(slack,),
        train_window=Window(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 10, 1, tzinfo=UTC)),
        gate_window=Window(datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC)),
        holdout_every_days=10, calibration="fit",
        minimum_category_count=50, maximum_embedding_width=4, hidden_widths=(64, 32), dropout=0.4,
        epochs=20, batch_size=2048, learning_rate=6e-3, weight_decay=0.2, seed=2013,
        num_workers=2, max_failures=2, checkpoint_interval_epochs=1,
    )  # fmt: skip


def arrival_delay_fine_tune() -> Recipe:
    """Continues training from the champion's weights, with the flights of the weeks since its training."""
    return dataclasses.replace(
        arrival_delay(),
        train_window=Window(datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 10, 25, tzinfo=UTC)),
        gate_window=Window(datetime(2013, 10, 25, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC)),
        holdout_every_days=6,
        calibration="keep",
        epochs=3,
        batch_size=512,
        learning_rate=5e-4,
    )


def _column(view: str, feature: str) -> str:
    """Feast's full feature name."""
    return f"{view}__{feature}" if view else feature
