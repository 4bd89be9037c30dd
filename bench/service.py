"""The prediction service against a bare Ray Serve app with the same model, whose callers send the features along.

Sequential requests over one connection, in alternating blocks; then many callers at once. Ours also authenticates,
validates, reads features from the online store, writes the prediction log and explains its answer. Then the service
during a rollout against itself without one (`bench.routed`).
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import callers, routed
from bench.pairs import Row, percentile
from pipelines import clock
from pipelines.machine import ports, ray_connection
from pipelines.settings import Settings

BLOCKS, BLOCK = 10, 50
#: How many callers ask at once, by turns; the peer answers five requests at once, and is not asked by more than 64.
CALLERS, MOST_OF_PEER, TURNS = (16, 64, 200), 64, 5
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
            "ours": (f"/{SERVICE.replace('.', '/')}/v1/predict", question),
            "bare": ("/bare/predict", columns),
        }
        address = f"http://{ports.LOOPBACK}:{settings.serving_port}"
        milliseconds: dict[str, list[float]] = {name: [] for name in requests}
        with client.connection(settings, SERVICE) as connection:
            for block in range(BLOCKS + 1):
                for name, (path, body) in requests.items():
                    for _ in range(BLOCK):
                        started = time.perf_counter()
                        connection.post(address + path, json=body).raise_for_status()
                        if block:  # the first block warms up
                            milliseconds[name].append(1_000 * (time.perf_counter() - started))
            headers = {"Authorization": connection.headers["Authorization"]}
        rates: dict[tuple[str, int], list[callers.Rate]] = {}
        for turn in range(TURNS):
            for count in CALLERS if turn % 2 else reversed(CALLERS):
                for name, (path, body) in requests.items():
                    if name == "ours" or count <= MOST_OF_PEER:
                        seen = callers.rate(settings.serving_port, path, body, headers=headers, callers=count)
                        rates.setdefault((name, count), []).append(seen)
        serve.delete("bare")
        routed_rows = routed.measure(settings, endpoint, question)
        serve.shutdown()
    rows = []
    for share in (0.50, 0.99):
        ours, bare = (percentile(milliseconds[name], share) for name in ("ours", "bare"))
        note = f"{BLOCKS * BLOCK} sequential requests each"
        rows.append(Row(f"prediction p{share:.0%}".rstrip("%"), f"{ours:.1f} ms", f"{bare:.1f} ms", ours / bare, note))
    few = rates["ours", CALLERS[0]]
    for count in CALLERS:
        ours = rates["ours", count]
        own = statistics.median(each.own_cpu_ms for each in ours)
        note = f"answers a second, of which each took {own:.2f} ms of the callers' own processor time; the "
        if count <= MOST_OF_PEER:
            bare = rates["bare", count]
            rows.append(_row(count, ours, bare, _ratio(bare, ours), f"{note}ratio is bare / ours"))
        if count > CALLERS[0]:
            note += f"peer is ours with {CALLERS[0]} callers (aim 0.9 or more)"
            rows.append(_row(count, ours, few, _ratio(ours, few), note))
    return rows + routed_rows


def _row(count: int, ours: Sequence[callers.Rate], peer: Sequence[callers.Rate], ratio: float, note: str) -> Row:
    rates = (statistics.median(each.answers for each in side) for side in (ours, peer))
    return Row(f"{count} callers", *(f"{rate:.0f}/s" for rate in rates), ratio, note)


def _ratio(upper: Sequence[callers.Rate], lower: Sequence[callers.Rate]) -> float:
    """The median of the turns' ratios."""
    return statistics.median(one.answers / other.answers for one, other in zip(upper, lower, strict=True))


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
