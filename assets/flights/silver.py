"""Silver tables: typed, deduplicated and checked rows of the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.flights.domain import DAILY, contract
from pipelines.medallion.decorators import silver_asset

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Time on the ground that is added to the time in the air where the destination's time zone is unknown. 96 % of flights
#: need less.
GROUND_MINUTES = 60
DAY_MINUTES = 1440


@silver_asset(contract("silver/airlines"))
def airlines(airlines: DataFrame) -> DataFrame:
    """The carriers that fly from New York."""
    return airlines


@silver_asset(contract("silver/planes"))
def planes(planes: DataFrame) -> DataFrame:
    """The aircraft register."""
    return planes


@silver_asset(contract("silver/airports"))
def airports(airports: DataFrame) -> DataFrame:
    """The airports of the United States, with their time zones."""
    return airports


@silver_asset(contract("silver/flights"), partitions=DAILY, inputs={"airports": "silver/flights/airports"})
def flights(flights: DataFrame, airports: DataFrame) -> DataFrame:
    """Every flight that was scheduled from New York, with its outcome; all instants in UTC."""
    return flights_with_instants(flights, airports)


def flights_with_instants(flights: DataFrame, airports: DataFrame) -> DataFrame:
    """Adds the computed columns, and the minutes to `scheduled_departure_at`, which the source gives as an hour.

    Args:
        flights: Typed bronze rows; `year`, `month` and `day` are text.
        airports: `faa` and the IANA time zone `tzone` in which a destination's local times are.
    """
    from pyspark.sql import functions as F

    rows = _scheduled(flights, airports)
    arrived = _later("scheduled_departure_at", F.col("scheduled_duration_minutes") + F.col("arr_delay"))
    estimated = _later("departed_at", F.col("air_time") + GROUND_MINUTES)
    return rows.withColumns(
        {
            "scheduled_arrival_at": _later("scheduled_departure_at", F.col("scheduled_duration_minutes")),
            "arrived_at": F.when(F.col("scheduled_duration_minutes").isNull(), estimated).otherwise(arrived),
        }
    )


def _scheduled(flights: DataFrame, airports: DataFrame) -> DataFrame:
    """Adds the columns of the schedule and of the departure."""
    from pyspark.sql import functions as F

    zones = airports.select(F.col("faa").alias("dest"), "tzone")
    rows = flights.join(F.broadcast(zones), on="dest", how="left").withColumns(
        {
            "flight_date": F.concat("year", F.lit("-"), "month", F.lit("-"), "day").try_cast("date"),
            "scheduled_departure_at": _later("scheduled_departure_at", F.col("sched_dep_time") % 100),
            "scheduled_minute": _minute_of_day("sched_dep_time"),
            "status": F.when(F.col("dep_time").isNull(), "cancelled")
            .when(F.col("arr_delay").isNull(), "diverted")
            .otherwise("flown"),
        }
    )
    local = F.from_utc_timestamp("scheduled_departure_at", F.col("tzone"))  # the destination's clock at departure
    duration = F.pmod(_minute_of_day("sched_arr_time") - F.hour(local) * 60 - F.minute(local), F.lit(DAY_MINUTES))
    return rows.withColumns(
        {
            "flight_id": F.concat_ws("-", "flight_date", "carrier", "flight", "origin"),
            "day_of_week": (F.dayofweek("flight_date") + 5) % 7,  # `dayofweek` gives 1 for Sunday
            "scheduled_duration_minutes": duration.cast("int"),
            "departed_at": _later("scheduled_departure_at", F.col("dep_delay")),
        }
    )


def _later(instant: str, minutes: Column) -> Column:
    """The column `instant` with minutes added."""
    from pyspark.sql import functions as F

    return F.timestamp_add("MINUTE", minutes, F.col(instant))


def _minute_of_day(clock: str) -> Column:
    """HHMM as minutes since midnight."""
    from pyspark.sql import functions as F

    return F.floor(F.col(clock) / 100).cast("int") * 60 + F.col(clock) % 100
