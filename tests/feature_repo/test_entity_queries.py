"""Entity rows as a query over the published tables: what it may read, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from feature_repo.entity_rows import of_query
from feature_repo.offline_tables import newest
from pipelines.engine.arrow_rows import arrow_rows
from pipelines.engine.session import Engine
from pipelines.errors import SettingsError
from pipelines.governed.platform import Platform
from tests.feature_repo.toy_feast import bigint, declare, timestamp, toy_platform
from tests.pipelines import toy_contracts

BEGIN = datetime(2013, 3, 10, 2, 30, 0, 7, tzinfo=UTC)
NAMES = ["Ä", "b", None]


@pytest.fixture(scope="module")
def platform(each_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A home folder with the tables of trips and of drivers, whose `email` is confidential."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("queries")
        found = toy_platform(each_engine, folder, monkeypatch)
        email = toy_contracts.text("email", classification="confidential")
        trips = declare(found, folder, "silver/toys/trips", [bigint("driver"), timestamp("begun"), email])
        drivers = declare(found, folder, "gold/toys/drivers", [bigint("driver"), toy_contracts.text("name")])
        instants = pa.array([BEGIN] * 3, pa.timestamp("us", "UTC"))
        write_deltalake(
            found.lakehouse.path(trips.table), pa.table({"driver": [1, 2, 3], "begun": instants, "email": ["@"] * 3})
        )
        write_deltalake(found.lakehouse.path(drivers.table), pa.table({"driver": [1, 2, 3], "name": NAMES}))
        each_engine.session.createDataFrame(pa.table({"driver": [9]})).createOrReplaceTempView("of_the_session")
        yield found


def found(query: str) -> list[dict[str, Any]]:
    return sorted(arrow_rows(of_query(query, newest)).to_pylist(), key=str)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT driver, begun AS event_timestamp FROM silver_toys_trips WHERE driver < 3",
        "select t.driver, t.begun event_timestamp from SILVER_TOYS_TRIPS t where t.driver in (1, 2)",
        "SELECT silver_toys_trips.driver, begun AS event_timestamp FROM silver_toys_trips WHERE driver != 3",
        ("SELECT t.driver, begun AS event_timestamp FROM silver_toys_trips AS t JOIN gold_toys_drivers AS d"
         " ON t.driver = d.driver WHERE d.name IN ('Ä', 'b', '{0}')"),
        ("WITH `ä` AS (SELECT * FROM gold_toys_drivers WHERE name IS NOT NULL) SELECT `ä`.driver, `silver_toys_trips`.begun"
         " AS event_timestamp FROM `ä` JOIN `silver_toys_trips` ON `ä`.driver = `silver_toys_trips`.driver"),
        ("SELECT driver, begun AS event_timestamp FROM (SELECT * FROM silver_toys_trips) WHERE driver NOT IN"
         " (SELECT driver FROM gold_toys_drivers WHERE name IS NULL)"),
        ("SELECT 1 AS driver, TIMESTAMP '2013-03-10T02:30:00.000007Z' AS event_timestamp FROM gold_toys_drivers WHERE name = 'b'"
         " UNION ALL SELECT driver, begun FROM silver_toys_trips WHERE driver = 2"),
    ],
)  # fmt: skip
def test_a_query_over_published_tables_gives_the_rows_that_are_asked_about(platform: Platform, query: str) -> None:
    assert found(query) == [{"driver": driver, "event_timestamp": BEGIN} for driver in (1, 2)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT driver, begun, email FROM silver_toys_trips",
        "SELECT driver, begun FROM silver_toys_trips WHERE email = '@'",
        "WITH x AS (SELECT * FROM silver_toys_trips) SELECT email FROM x",
        "SELECT * FROM of_the_session",
        "WITH of_the_session AS (SELECT * FROM of_the_session) SELECT * FROM of_the_session",
        ("SELECT s.* FROM of_the_session s JOIN (WITH of_the_session AS (SELECT driver FROM gold_toys_drivers)"
         " SELECT * FROM of_the_session) t ON true"),
        "SELECT * FROM quarantine_toys_trips",
        "SELECT * FROM silver.toys.trips",
        "SELECT * FROM parquet.`/etc/passwd`",
        "SELECT * FROM delta.`{folder}`",
        "SELECT * FROM range(3), silver_toys_trips",
        "SELECT reflect('java.lang.System', 'getenv', 'PATH') FROM silver_toys_trips",
        "SELECT 1 AS driver",
        "DROP TABLE silver_toys_trips",
        "INSERT INTO silver_toys_trips SELECT * FROM silver_toys_trips",
        "CREATE TABLE x AS SELECT * FROM silver_toys_trips",
        "SELECT driver FROM silver_toys_trips; DROP TABLE silver_toys_trips",
        "SELECT driver FROM silver_toys_trips -- all",
        "SELECT nothing FROM silver_toys_trips",
        "driver, begun",
        "",
    ],
)  # fmt: skip
def test_a_query_of_something_else_is_refused(platform: Platform, tmp_path: Path, query: str) -> None:
    with pytest.raises(SettingsError, match="entity rows: the query"):
        found(query.replace("{folder}", str(tmp_path)))
