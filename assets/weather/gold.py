"""Gold tables: the hours whose temperature is predicted, and what was known of a station's weather at an instant.

An observation counts as known one hour after the hour that it is filed under, since it may have been made at that
hour's end. So at an instant on the hour the last known observation is an hour old, and the hour predicted is four hours
after it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from assets.weather.domain import contract
from assets.weather.seasons import CYCLES
from pipelines.features.on_demand import with_columns
from pipelines.medallion.decorators import gold_asset
from pipelines.orchestration.automation import when_inputs_are_good
from pipelines.tables import RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

OBSERVATIONS = "silver/weather/observations"
#: How long before an hour its temperature is asked for.
HORIZON = timedelta(hours=3)
#: How long after its hour an observation is known.
KNOWN_AFTER = timedelta(hours=1)
#: The trends of a station's weather: column to the hours over which it changed.
TRENDS = {"temp": (1, 3, 6, 24), "pressure": (3,)}
#: From the last known observation back to the hour of the day before that is at the clock time of the hour predicted.
SAME_HOUR_YESTERDAY = timedelta(days=1) - HORIZON - KNOWN_AFTER


@gold_asset(contract("gold/hours"), inputs={"observations": OBSERVATIONS}, automation=when_inputs_are_good())
def hours(observations: DataFrame) -> DataFrame:
    """The hours whose temperature is predicted: when it is asked for, the season, and the outcome once it is known."""
    from pyspark.sql import functions as F

    valid_at = F.col("valid_at")
    return with_columns(CYCLES, observations.withColumnRenamed("observed_at", "valid_at")).select(
        F.concat_ws("-", "station", F.date_format(valid_at, "yyyy-MM-dd'T'HH'Z'")).alias("hour_id"),
        "station",
        valid_at,
        (valid_at - _interval(HORIZON)).alias("event_timestamp"),
        *CYCLES.outputs,
        (valid_at + _interval(KNOWN_AFTER)).alias("outcome_known_at"),
        F.col("temp").alias("observed_temp"),
        RECORD_ID,
    )


@gold_asset(
    contract("gold/station_conditions"), inputs={"observations": OBSERVATIONS}, automation=when_inputs_are_good()
)
def station_conditions(observations: DataFrame) -> DataFrame:
    """The last known observation of a station, how it came about, and the temperature of the day before."""
    from pyspark.sql import functions as F

    rows = observations.withColumn("_seconds", F.unix_timestamp("observed_at"))
    direction = F.radians("wind_dir")
    changes = {
        f"{name}_change_{hours}h": F.col(name) - _earlier(name, timedelta(hours=hours))
        for name, spans in TRENDS.items()
        for hours in spans
    }
    return rows.select(
        "station", "temp", "dewp", "humid", "pressure", "wind_speed", "precip",
        (F.col("wind_speed") * F.sin(direction)).alias("wind_u"),
        (F.col("wind_speed") * F.cos(direction)).alias("wind_v"),
        *[column.alias(name) for name, column in changes.items()],
        _earlier("temp", SAME_HOUR_YESTERDAY).alias("temp_same_hour_yesterday"),
        (F.col("observed_at") + _interval(KNOWN_AFTER)).alias("event_timestamp"),
        RECORD_ID,
    )  # fmt: skip


def _earlier(column: str, before: timedelta) -> Column:
    """The value of the station's observation so long before; null where that hour was not observed."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    seconds = int(before.total_seconds())
    then = Window.partitionBy("station").orderBy("_seconds").rangeBetween(-seconds, -seconds)
    return F.max(column).over(then)


def _interval(span: timedelta) -> Column:
    """The span as an interval of the engine."""
    from pyspark.sql import functions as F

    return F.expr(f"INTERVAL {int(span.total_seconds())} SECONDS")
