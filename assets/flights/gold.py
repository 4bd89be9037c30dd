"""Gold tables: the flights to predict, and for each of their entities what was known when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.flights.domain import contract
from pipelines.features.rolling import TICK, all_so_far, clipped, last_hours, mean, tick_end, ticks
from pipelines.medallion.decorators import gold_asset
from pipelines.orchestration.automation import when_inputs_are_good
from pipelines.tables import RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FLIGHTS = "silver/flights/flights"
DEPARTURE_CLIP = (-15, 180)
ARRIVAL_CLIP = (-30, 180)
LATE_MINUTES = 15
DECISION_HOURS = 2
TURNAROUND_MINUTES = 45
UNKNOWN_DURATION_MINUTES = 240
#: The windows of mean delays, by the end of their columns' names.
HOURS_BACK = {"3h": 3, "24h": 24, "7d": 168}


@gold_asset(contract("gold/departures"), inputs={"flights": FLIGHTS}, automation=when_inputs_are_good())
def departures(flights: DataFrame) -> DataFrame:
    """The flights to predict: their schedule, the instant of the prediction, and the outcome once it is known."""
    from pyspark.sql import functions as F

    scheduled = F.col("scheduled_departure_at")
    known_at = F.when(F.col("status") == "flown", F.col("arrived_at")).when(F.col("status") == "cancelled", scheduled)
    return flights.select(
        "flight_id", "carrier", "flight", "origin", "dest", "tailnum", "scheduled_departure_at", "scheduled_minute",
        "day_of_week", "scheduled_duration_minutes",
        (scheduled - F.expr(f"INTERVAL {DECISION_HOURS} HOURS")).alias("event_timestamp"),
        (F.unix_timestamp(scheduled) / 60).cast("double").alias("departure_minute"),
        F.col("status").alias("outcome"),
        F.coalesce(known_at, scheduled + F.expr("INTERVAL 24 HOURS")).alias("outcome_known_at"),
        F.when(F.col("status") == "flown", (F.col("arr_delay") >= LATE_MINUTES).cast("int")).alias("arrived_late"),
        RECORD_ID,
    )  # fmt: skip


@gold_asset(
    contract("gold/origin_weather"),
    inputs={"weather": "silver/weather/observations"},
    automation=when_inputs_are_good(),
)
def origin_weather(weather: DataFrame) -> DataFrame:
    """The weather at a New York airport; an observation is known one hour after it was made."""
    from pyspark.sql import functions as F

    direction = F.radians("wind_dir")
    return weather.select(
        F.col("station").alias("origin"), "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib",
        (F.col("wind_speed") * F.sin(direction)).alias("wind_u"),
        (F.col("wind_speed") * F.cos(direction)).alias("wind_v"),
        (F.col("observed_at") + F.expr("INTERVAL 1 HOUR")).alias("event_timestamp"),
        RECORD_ID,
    )  # fmt: skip


@gold_asset(contract("gold/origin_delays"), inputs={"flights": FLIGHTS}, automation=when_inputs_are_good())
def origin_delays(flights: DataFrame) -> DataFrame:
    """Delays of recent departures from a New York airport, and the flights that were due and had not left."""
    from pyspark.sql import functions as F

    names = ("departed", "cancelled", "delay", "late", "waiting", "since")
    sums = {name: F.coalesce(F.col(name).cast("double"), F.lit(0.0)) for name in names}
    hour, day, ever = last_hours(["origin"], 1), last_hours(["origin"], 24), all_so_far(["origin"])
    overdue = F.sum("waiting").over(ever)
    return ticks(_departure_events(flights), keys=["origin"], known_at="known_at", sums=sums).select(
        "origin", RECORD_ID, tick_end().alias("event_timestamp"),
        mean("delay", "departed", hour).alias("dep_delay_mean_1h"),
        mean("late", "departed", hour).alias("dep_late_share_1h"),
        mean("delay", "departed", day).alias("dep_delay_mean_24h"),
        F.sum("cancelled").over(day).alias("cancelled_24h"),
        overdue.alias("overdue"),
        (overdue * F.col(TICK) / 60 - F.sum("since").over(ever)).alias("overdue_minutes"),
    )  # fmt: skip


def _departure_events(flights: DataFrame) -> DataFrame:
    """The events of departures: a flight left or was cancelled, became due, stopped waiting."""
    from pyspark.sql import functions as F

    cancelled = F.col("status") == "cancelled"
    scheduled, minute = F.col("scheduled_departure_at"), F.unix_timestamp("scheduled_departure_at") / 60
    departed = flights.where(~cancelled)
    outcomes = flights.select(
        "origin", RECORD_ID, F.when(cancelled, scheduled).otherwise(F.col("departed_at")).alias("known_at"),
        F.when(cancelled, 0).otherwise(1).alias("departed"), F.when(cancelled, 1).otherwise(0).alias("cancelled"),
        F.when(cancelled, 0).otherwise(clipped("dep_delay", *DEPARTURE_CLIP)).alias("delay"),
        F.when(~cancelled & (F.col("dep_delay") >= LATE_MINUTES), 1).otherwise(0).alias("late"),
    )  # fmt: skip
    due = departed.select(
        "origin", RECORD_ID, scheduled.alias("known_at"), F.lit(1).alias("waiting"), minute.alias("since")
    )
    left = departed.select(
        "origin", RECORD_ID, F.greatest("departed_at", "scheduled_departure_at").alias("known_at"),
        F.lit(-1).alias("waiting"), (-minute).alias("since"),
    )  # fmt: skip
    return outcomes.unionByName(due, allowMissingColumns=True).unionByName(left, allowMissingColumns=True)


@gold_asset(contract("gold/carrier_delays"), inputs={"flights": FLIGHTS}, automation=when_inputs_are_good())
def carrier_delays(flights: DataFrame) -> DataFrame:
    """Recent arrival delays of a carrier's flights from New York."""
    week = last_hours(["carrier"], 168)
    return _arrival_delays(flights, "carrier", {"arr_late_share_7d": mean("late", "arrived", week)})


@gold_asset(contract("gold/destination_delays"), inputs={"flights": FLIGHTS}, automation=when_inputs_are_good())
def destination_delays(flights: DataFrame) -> DataFrame:
    """Recent arrival delays of flights from New York at a destination."""
    return _arrival_delays(flights, "dest", {})


@gold_asset(contract("gold/flight_history"), inputs={"flights": FLIGHTS}, automation=when_inputs_are_good())
def flight_history(flights: DataFrame) -> DataFrame:
    """Arrival delays of the last 20 flights of one number on one route."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    key = ["carrier", "flight", "origin", "dest"]
    last_20 = Window.partitionBy(*key).orderBy("event_timestamp").rowsBetween(-19, 0)
    flown = flights.where(F.col("status") == "flown").withColumn("event_timestamp", F.col("arrived_at"))
    late = (F.col("arr_delay") >= LATE_MINUTES).cast("double")
    flown = flown.select(*key, "event_timestamp", RECORD_ID, late.alias("late"), _clipped_arrival().alias("delay"))
    return flown.select(
        *key, "event_timestamp", RECORD_ID,
        F.avg("late").over(last_20).alias("late_share_20"),
        F.avg("delay").over(last_20).alias("arr_delay_mean_20"),
    )  # fmt: skip


@gold_asset(contract("gold/aircraft_history"), inputs={"flights": FLIGHTS}, automation=when_inputs_are_good())
def aircraft_history(flights: DataFrame) -> DataFrame:
    """Delays of an aircraft's last flights from New York, and when it can be back from the last of them."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    there_and_back = 2 * F.coalesce("scheduled_duration_minutes", F.lit(UNKNOWN_DURATION_MINUTES))
    identified = flights.where(F.col("tailnum").isNotNull())
    departed = identified.where(F.col("departed_at").isNotNull()).select(
        "tailnum", RECORD_ID, F.col("departed_at").alias("event_timestamp"),
        clipped("dep_delay", *DEPARTURE_CLIP).cast("double").alias("last_dep_delay"),
        (F.unix_timestamp("departed_at") / 60 + there_and_back + TURNAROUND_MINUTES).alias("ready_at_minute"),
        (F.unix_timestamp("departed_at") / 60).alias("last_departed_minute"),
    )  # fmt: skip
    arrived = identified.where(F.col("status") == "flown").select(
        "tailnum", RECORD_ID, F.col("arrived_at").alias("event_timestamp"), _clipped_arrival().alias("last_arr_delay"),
        (F.unix_timestamp("arrived_at") / 60).alias("last_arrived_minute"),
    )  # fmt: skip
    values = ("last_dep_delay", "ready_at_minute", "last_departed_minute", "last_arr_delay", "last_arrived_minute")
    events = departed.unionByName(arrived, allowMissingColumns=True).groupBy("tailnum", "event_timestamp")
    by_instant = events.agg(*[F.max(name).alias(name) for name in values], F.max(RECORD_ID).alias(RECORD_ID))
    past = Window.partitionBy("tailnum").orderBy("event_timestamp").rowsBetween(Window.unboundedPreceding, 0)
    newest = [F.last(name, ignorenulls=True).over(past).alias(name) for name in values]
    return by_instant.select("tailnum", "event_timestamp", RECORD_ID, *newest)


def _clipped_arrival() -> Column:
    return clipped("arr_delay", *ARRIVAL_CLIP).cast("double")


def _arrival_delays(flights: DataFrame, key: str, more: dict[str, Column]) -> DataFrame:
    """Mean arrival delays of an entity over 3 hours, 24 hours and 7 days, and the columns `more` over the same rows."""
    from pyspark.sql import functions as F

    late = (F.col("arr_delay") >= LATE_MINUTES).cast("double")
    sums = {"arrived": F.lit(1.0), "delay": _clipped_arrival(), "late": late}
    flown = flights.where(F.col("status") == "flown")
    means = {
        f"arr_delay_mean_{name}": mean("delay", "arrived", last_hours([key], hours))
        for name, hours in HOURS_BACK.items()
    }
    columns = [column.alias(name) for name, column in (means | more).items()]
    rows = ticks(flown, keys=[key], known_at="arrived_at", sums=sums)
    return rows.select(key, RECORD_ID, tick_end().alias("event_timestamp"), *columns)
