"""On Ray Serve: a model replaces another without a gap, a model that fails replaces none, and no answer is lost."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from pydantic import ValidationError

from assets.flights.service import FlightQuestion
from pipelines.errors import ModelError
from pipelines.machine import ports
from pipelines.models import prediction_log
from pipelines.settings import Settings
from serving.door import access
from serving.errors import DeploymentError, FeatureStoreUnavailable, RequestError, ServiceUnavailable
from serving.predict import client, deploy
from tests.serving.conftest import NOW, QUESTION, SERVICE, config_of, tamper
from tests.serving.other_services import second, unheard

if TYPE_CHECKING:
    from serving.predict.deploy import Endpoint

pytestmark = [
    pytest.mark.ray,
    # Ray Serve's own configuration classes, while they are imported.
    pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`:DeprecationWarning"),
]

Deployed = tuple[Settings, "Endpoint"]


def _replicas() -> list[psutil.Process]:
    """The replicas of the service on the cluster that this process started, of which there is one or more.

    Ray writes what a process does into its title, which is empty while it is written.
    """
    deadline = time.monotonic() + 20
    while True:
        replicas = []
        for process in psutil.Process().children(recursive=True):
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith(f"ray::ServeReplica:{SERVICE}:"):
                    replicas.append(process)
            except psutil.NoSuchProcess:
                continue
        if replicas or time.monotonic() > deadline:
            return replicas
        time.sleep(0.1)


def _wait_ready(settings: Settings, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    with client.connection(settings, SERVICE) as caller:
        while True:
            try:
                if caller.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "the service did not come back"
            time.sleep(0.2)


def _session_logs() -> list[Path]:
    from ray._private import worker

    node = worker._global_node
    assert node is not None
    return [path for path in Path(node.get_logs_dir_path()).rglob("*") if path.is_file()]


def test_a_deployed_model_answers_and_is_noted(deployed: Deployed, models: tuple[Path, Path]) -> None:
    from ray_jobs.tabular.model import TabularModel

    settings, endpoint = deployed
    answer = client.ask(settings, SERVICE, [QUESTION])[0]
    row = dict(FlightQuestion.model_validate(QUESTION).columns())
    row |= {name: feature["value"] for name, feature in answer["features"].items()}
    expected = TabularModel.load(models[0]).predict({name: [value] for name, value in row.items()})[0]
    assert answer["probability"] == pytest.approx(expected, abs=1e-7)
    assert (answer["missing"], answer["as_of"]) == ([], NOW.isoformat())
    assert deploy.current(settings, SERVICE) == endpoint
    assert endpoint.config.model.folder.is_relative_to(settings.root)


def test_the_service_listens_on_loopback_alone(deployed: Deployed) -> None:
    settings, endpoint = deployed
    assert endpoint.url == f"http://127.0.0.1:{settings.serving_port}/flights/arrival_delay"
    here = [c for c in psutil.net_connections("tcp") if c.laddr.port == settings.serving_port]
    assert {c.laddr.ip for c in here if not c.raddr} == {"127.0.0.1"}


def test_every_process_of_the_cluster_listens_on_loopback_alone(deployed: Deployed) -> None:
    cluster = [psutil.Process(), *psutil.Process().children(recursive=True)]
    replicas = {process.pid for process in _replicas()}
    listening = []
    for process in cluster:
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            listening += [(process.pid, process.name(), c.laddr) for c in sockets]
    assert replicas <= {process.pid for process in cluster}
    loopback = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    assert [entry for entry in listening if entry[2].ip not in loopback] == []


def test_requests_without_the_token_are_refused(deployed: Deployed) -> None:
    settings, endpoint = deployed
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        response = httpx.post(f"{endpoint.url}/v1/predict", json=QUESTION, headers=headers, trust_env=False)
        assert response.status_code == 401
    wrong = settings.model_copy(update={"serving_tokens": {SERVICE: access.SecretStr("wrong")}})
    with pytest.raises(RequestError, match="Authorization"):
        client.ask(wrong, SERVICE, [QUESTION])


def test_the_response_and_the_record_have_one_request_id(deployed: Deployed) -> None:
    settings, _ = deployed
    with client.connection(settings, SERVICE) as caller:
        without = caller.post("/v1/predict", json=QUESTION)
        given = caller.post("/v1/predict", json=QUESTION, headers={"x-request-id": "call-9"})
    assert len(without.headers.get_list("x-request-id")) == 1
    assert given.headers.get_list("x-request-id") == ["call-9"]
    recorded = [record["request_id"] for record in prediction_log.read(prediction_log.folder(settings, SERVICE))]
    assert recorded[-2:] == [without.headers["x-request-id"], "call-9"]


def test_two_clients_at_once_get_their_own_answers_and_each_is_recorded(deployed: Deployed) -> None:
    settings, _ = deployed
    batches = [[QUESTION | {"flight": f"UA{n}"} for n in range(start, start + 20)] for start in (100, 200)]
    with ThreadPoolExecutor(2) as callers:
        parts = callers.map(lambda batch: client.ask(settings, SERVICE, batch), batches)
        answers = [answer for part in parts for answer in part]
    assert [a["subject"] for a in answers] == [f"2013-11-01-UA-{n}-EWR" for n in (*range(100, 120), *range(200, 220))]
    recorded = {record["prediction_id"] for record in prediction_log.read(prediction_log.folder(settings, SERVICE))}
    assert {a["prediction_id"] for a in answers} <= recorded


def test_a_second_model_replaces_the_first_without_a_failed_request(
    deployed: Deployed, models: tuple[Path, Path]
) -> None:
    settings, _ = deployed
    responses: list[tuple[int, int | None]] = []
    done = threading.Event()

    def keep_asking() -> None:
        with client.connection(settings, SERVICE) as caller:
            while not done.is_set():
                response = caller.post("/v1/predict", json=QUESTION)
                responses.append((response.status_code, response.json().get("model", {}).get("version")))

    with ThreadPoolExecutor(1) as caller:
        asking = caller.submit(keep_asking)
        deploy.deploy(settings, config_of(models[1], version=2))
        done.set()
        asking.result()
    assert {status for status, _ in responses} == {200}
    assert [version for _, version in responses] == sorted(version for _, version in responses if version)
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"]["version"] == 2


def test_services_beside_each_other_have_their_own_routes_tokens_logs_and_models(
    deployed: Deployed, models: tuple[Path, Path]
) -> None:
    settings, _ = deployed
    endpoint = deploy.deploy(settings, config_of(models[1], version=7, service=second))
    assert endpoint.url.endswith("/flights/second")
    answer = client.ask(settings, second.name, [QUESTION])[0]
    assert (answer["model"]["name"], answer["model"]["version"]) == ("flights.second", 7)
    assert answer["decision"] == ("delayed" if answer["probability"] >= 0.25 else "punctual")
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"]["name"] == SERVICE
    token = access.token(settings, SERVICE).get_secret_value()
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{endpoint.url}/v1/model", headers=headers, trust_env=False).status_code == 401
    logs = {
        log.name: {record["model"]["name"] for record in prediction_log.read(log)}
        for log in prediction_log.folders(settings)
    }
    assert logs == {SERVICE: {SERVICE}, second.name: {second.name}}
    assert deploy.deployed_services(settings) == [SERVICE, second.name]
    with client.connection(settings, second.name) as caller:
        assert caller.get("/readyz").json() == {"status": "ready"}
        document = caller.get("/openapi.json").json()
    assert document["servers"] == [{"url": "/flights/second"}]
    assert document["components"]["schemas"]["OtherQuestion"]["required"] == [
        "flight", "origin", "destination", "scheduled_departure"
    ]  # fmt: skip


def test_a_model_with_a_changed_byte_is_refused_and_the_old_one_answers(
    deployed: Deployed, models: tuple[Path, Path], tmp_path: Path
) -> None:
    settings, _ = deployed
    before = client.ask(settings, SERVICE, [QUESTION])[0]["model"]
    noted, serving = deploy.current(settings, SERVICE), _replicas()
    config = config_of(Path(shutil.copytree(models[0], tmp_path / "model")), version=3)
    tamper(config.model.folder / "model.safetensors")
    shutil.rmtree(settings.root / "serving" / "models" / config.model.name / config.model.digest, ignore_errors=True)
    with pytest.raises(ModelError, match="digest"):
        deploy.deploy(settings, config)
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"] == before
    assert (deploy.current(settings, SERVICE), _replicas()) == (noted, serving)


def test_a_deployment_with_an_unknown_feature_service_is_refused_and_the_old_model_answers(
    deployed: Deployed, models: tuple[Path, Path]
) -> None:
    settings, _ = deployed
    before = client.ask(settings, SERVICE, [QUESTION])[0]["model"]
    with pytest.raises(FeatureStoreUnavailable, match="unheard_of"):
        deploy.deploy(settings, config_of(models[0]).model_copy(update={"service": unheard.place}))
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"] == before


def test_requests_whose_replica_is_killed_are_answered_by_the_next_one(deployed: Deployed) -> None:
    settings, _ = deployed
    (replica,) = _replicas()
    statuses: list[int] = []
    killed = threading.Event()

    def ask() -> None:
        with client.connection(settings, SERVICE) as caller:
            last = False
            while not last:
                last = killed.is_set()
                answer = caller.post("/v1/predict", json=QUESTION, timeout=60)
                statuses.append(answer.status_code)

    callers = [threading.Thread(target=ask) for _ in range(6)]
    for caller in callers:
        caller.start()
    time.sleep(1)
    replica.kill()
    replica.wait(30)
    killed.set()
    for caller in callers:
        caller.join()
    assert set(statuses) == {200}


def test_a_killed_replica_loses_no_answer_and_is_restarted(deployed: Deployed) -> None:
    settings, _ = deployed
    answers = client.ask(settings, SERVICE, [QUESTION] * 5)
    (replica,) = _replicas()
    replica.kill()
    records = {
        record["prediction_id"]: record for record in prediction_log.read(prediction_log.folder(settings, SERVICE))
    }
    for answer in answers:
        assert {name: records[answer["prediction_id"]][name] for name in answer} == answer
    replica.wait(30)
    _wait_ready(settings)
    assert replica not in _replicas()
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"] == answers[0]["model"]


@pytest.mark.slow
def test_a_replica_that_cannot_predict_does_not_replace_the_old_one(
    deployed: Deployed, models: tuple[Path, Path]
) -> None:
    from serving.predict import rollout

    settings, _ = deployed
    before = client.ask(settings, SERVICE, [QUESTION])[0]["model"]
    unable = config_of(models[0]).model_copy(update={"service": unheard.place})
    with pytest.raises(ServiceUnavailable, match="unheard_of"):
        rollout.replace(settings, unable)
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"] == before
    assert deploy.redeploy(settings, SERVICE).config.model.version == before["version"]


@pytest.mark.slow
def test_a_deployment_that_does_not_answer_is_undone(deployed: Deployed, models: tuple[Path, Path]) -> None:
    settings, _ = deployed
    before = client.ask(settings, SERVICE, [QUESTION])[0]["model"]
    # Serve keeps the port that it was started with, so nothing answers at this one.
    elsewhere = settings.model_copy(update={"serving_port": ports.free_port()})
    with pytest.raises(DeploymentError, match=f"flights.arrival_delay@{before['version']} still serves"):
        deploy.deploy(elsewhere, config_of(models[0], version=4))
    noted = deploy.current(settings, SERVICE)
    assert client.ask(settings, SERVICE, [QUESTION])[0]["model"] == before
    assert noted is not None
    assert noted.config.model.version == before["version"]


def test_the_fields_of_a_config_file_build_an_application(deployed: Deployed, models: tuple[Path, Path]) -> None:
    from ray import serve

    from serving.predict import app

    fields = config_of(models[0]).model_dump(mode="json")
    assert isinstance(app.build(fields), serve.Application)
    with pytest.raises(ValidationError, match="treshold"):
        app.build(fields | {"treshold": 0.4})


def test_the_token_is_only_in_its_own_file_and_in_no_log(deployed: Deployed) -> None:
    settings, endpoint = deployed
    token = access.token(settings, SERVICE).get_secret_value()
    kept = access.token_file(settings, SERVICE)
    written = [path for path in (settings.root / "serving").rglob("*") if path.is_file() and path != kept]
    holders = [path for path in [*written, *_session_logs()] if token.encode() in path.read_bytes()]
    assert len(written) > 3
    assert holders == []
    assert token not in repr(endpoint) + repr(settings)
