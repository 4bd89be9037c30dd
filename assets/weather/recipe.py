"""The recipe of the model that predicts the temperature: the columns it reads, its windows, how it is trained."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.models.program import Window

if TYPE_CHECKING:
    from ray_jobs.tabular.recipe import Recipe

#: Columns of the training set by feature view; the columns of the request have no view.
NUMERIC = {
    "": "day_sin day_cos year_sin year_cos",
    "station_conditions": "temp dewp humid pressure wind_speed wind_u wind_v precip temp_change_1h temp_change_3h "
    "temp_change_6h temp_change_24h pressure_change_3h temp_same_hour_yesterday",
}


def temperature() -> Recipe:
    """Predicts the temperature of an hour three hours before, with an interval; the last one known is the baseline."""
    from ray_jobs.tabular.recipe import Recipe

    return Recipe(
        model_name="temperature",
        task="regression",
        label="observed_temp",
        row_key="hour_id",
        time_column="event_timestamp",
        known_at_column="outcome_known_at",
        numeric=tuple(f"{view}__{name}" if view else name for view, names in NUMERIC.items() for name in names.split()),
        categorical=("station",),
        interval_level=0.9,
        baseline_column="station_conditions__temp",
        train_window=Window(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 10, 1, tzinfo=UTC)),
        gate_window=Window(datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC)),
        epochs=15,
        batch_size=512,
        seed=2013,
    )
