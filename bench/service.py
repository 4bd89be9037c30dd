"""The prediction service against a bare Ray Serve app with the same model, whose callers send the features along.

Sequential requests over one connection, in alternating blocks; then many callers at once. Ours also authenticates,
validates, reads features from the online store, writes the prediction log and explains its answer. Then the service
during a rollout against itself without one (`bench.routed`).
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from bench import routed
from bench.pairs import Row, percentile
from pipelines import clock
from pipelines.machine import ports, ray_connection
from pipelines.settings import Settings

BLOCKS, BLOCK = 10, 50
CALLERS, REQUESTS = (16, 64), 600
#: More callers, of ours alone, whose throughput is compared with that of the fewest.
MANY = (64, 200)
SERVICE = "flights.arrival_delay"


def measure(settings: Settings) -> list[Row]:
    from serving.predict import client, deploy

    if deploy.current(settings, SERVICE) is None:
        return [Row("prediction", "no deployment yet", "", None, "run `goldpath demo` first")]
    report = json.loads((settings.root / "demo" / "report.json").read_text(encoding="utf-8"))
    departure = {
        "scheduled_departure": (clock.now(settings) + timedelta(hours=2)).isoformat(),
        "scheduled_arrival": None,
    }
    question = report["prediction"]["request"] | departure
    with ray_connection.connect(settings):
        from ray import serve

        endpoint = deploy.redeploy(settings, SERVICE)
        serve.run(_bare(endpoint.config.model.folder), name="bare", route_prefix="/bare")
        answer = client.ask(settings, SERVICE, [question])[0]
        columns = _columns(question, answer)
        requests = {
            "ours": ("/v1/predict", question),
            "bare": (f"http://{ports.LOOPBACK}:{settings.serving_port}/bare/predict", columns),
        }
        milliseconds: dict[str, list[float]] = {name: [] for name in requests}
        with client.connection(settings, SERVICE) as connection:
            for block in range(BLOCKS + 1):
                for name, (path, body) in requests.items():
                    for _ in range(BLOCK):
                        started = time.perf_counter()
                        connection.post(path, json=body).raise_for_status()
                        if block:  # the first block warms up
                            milliseconds[name].append(1_000 * (time.perf_counter() - started))
            rates = {
                (name, callers): _rate(connection, path, body, callers)
                for callers in CALLERS
                for name, (path, body) in requests.items()
            }
            path, body = requests["ours"]
            many = {callers: _rate(connection, path, body, callers) for callers in (CALLERS[0], *MANY)}
        serve.delete("bare")
        routed_rows = routed.measure(settings, endpoint, question)
        serve.shutdown()
    rows = []
    for share in (0.50, 0.99):
        ours, bare = (percentile(milliseconds[name], share) for name in ("ours", "bare"))
        note = f"{BLOCKS * BLOCK} sequential requests each"
        rows.append(Row(f"prediction p{share:.0%}".rstrip("%"), f"{ours:.1f} ms", f"{bare:.1f} ms", ours / bare, note))
    for callers in CALLERS:
        ours, bare = rates["ours", callers], rates["bare", callers]
        note = f"{REQUESTS} requests each, answers a second; the ratio is bare / ours"
        rows.append(Row(f"{callers} callers", f"{ours:.0f}/s", f"{bare:.0f}/s", bare / ours, note))
    few = many[CALLERS[0]]
    for callers in MANY:
        note = f"ours with {CALLERS[0]} callers as the peer (aim 0.9 or more)"
        rows.append(Row(f"{callers} callers", f"{many[callers]:.0f}/s", f"{few:.0f}/s", many[callers] / few, note))
    return rows + routed_rows


def _rate(connection: httpx.Client, path: str, body: Any, callers: int) -> float:
    """Answers a second to so many callers that each ask again at once."""
    limits = httpx.Limits(max_connections=callers, max_keepalive_connections=callers)
    address, headers = connection.base_url, connection.headers
    with httpx.Client(base_url=address, headers=headers, limits=limits, timeout=60) as client:

        def ask(_: int) -> None:
            client.post(path, json=body).raise_for_status()

        with ThreadPoolExecutor(callers) as pool:
            list(pool.map(ask, range(callers)))  # opens the connections
            started = time.perf_counter()
            list(pool.map(ask, range(REQUESTS)))
            return REQUESTS / (time.perf_counter() - started)


def _columns(question: dict[str, Any], answer: dict[str, Any]) -> dict[str, list[Any]]:
    """The model's input of one row: the columns of the schedule, and the features that our service answered with."""
    from assets.flights.service import FlightQuestion

    row: dict[str, Any] = dict(FlightQuestion.model_validate(question).columns())
    row |= {name: feature["value"] for name, feature in answer["features"].items()}
    return {name: [value] for name, value in row.items()}


def _bare(folder: Path) -> Any:
    from fastapi import Body, FastAPI
    from ray import serve

    app = FastAPI()

    @serve.deployment(ray_actor_options={"num_cpus": 0.2})
    @serve.ingress(app)
    class Bare:
        def __init__(self) -> None:
            from ray_jobs.tabular.model import TabularModel

            self.model = TabularModel.load(folder)

        @app.post("/predict")
        def predict(self, columns=Body()):  # noqa: B008 - FastAPI's way; an annotation would not survive pickling
            return {"probability": float(self.model.predict(columns)[0])}

    return Bare.bind()
