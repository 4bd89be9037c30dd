"""The schedule as a carrier sends it before departure: what the prediction service is asked about.

It is read from the same records as the flights, without their outcomes. Each value has the definition of the silver
table's column of the same name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from assets.flights.deliveries import MISSING, flight_lines, source_file

DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class ScheduledFlight:
    """One scheduled flight; departure in UTC, duration in minutes, None where the time zone of `dest` is unknown."""

    flight_id: str
    carrier: str
    flight: int
    origin: str
    dest: str
    tailnum: str | None
    scheduled_departure_at: datetime
    scheduled_duration_minutes: int | None


def scheduled_flights(days: Collection[date]) -> list[ScheduledFlight]:
    """The flights that are scheduled on the given local days, by day and in the order of the source."""
    header, by_day = flight_lines(days)
    zones = _zones()
    return [
        _scheduled(day, record, zones)
        for day, lines in by_day.items()
        for record in csv.DictReader(io.StringIO((header + b"".join(lines)).decode()))
    ]


def _scheduled(day: date, record: dict[str, str], zones: dict[str, str]) -> ScheduledFlight:
    hour = datetime.fromisoformat(record["time_hour"]).astimezone(UTC)
    departure = hour + timedelta(minutes=int(record["sched_dep_time"]) % 100)
    return ScheduledFlight(
        flight_id="-".join([day.isoformat(), record["carrier"], record["flight"], record["origin"]]),
        carrier=record["carrier"],
        flight=int(record["flight"]),
        origin=record["origin"],
        dest=record["dest"],
        tailnum=None if record["tailnum"] == MISSING else record["tailnum"],
        scheduled_departure_at=departure,
        scheduled_duration_minutes=_duration(departure, int(record["sched_arr_time"]), zones.get(record["dest"])),
    )


def _duration(departure: datetime, arrival_clock: int, zone: str | None) -> int | None:
    """Minutes from departure to the next time that the destination's clock shows `arrival_clock` (HHMM)."""
    if zone is None:
        return None
    there = departure.astimezone(ZoneInfo(zone))
    return (arrival_clock // 100 * 60 + arrival_clock % 100 - there.hour * 60 - there.minute) % DAY_MINUTES


def _zones() -> dict[str, str]:
    """IANA time zone by airport; airports of unknown zone are left out."""
    records = csv.DictReader(io.StringIO(source_file("airports.csv").decode()))
    return {record["faa"]: record["tzone"] for record in records if record["tzone"] != MISSING}
