"""What the processes of a service, of its candidate and of its rollout have in common on Ray Serve."""

from __future__ import annotations

import os
from typing import Any

import torch
from ray import serve
from ray.serve.schema import LoggingConfig

from pipelines.settings import Settings
from serving.predict.config import ServiceConfig


def prepare(settings: Settings) -> None:
    """Prepares the process of a replica, before it loads its model."""
    # A base model that a program keeps in the home folder is found there, wherever this process works.
    os.environ["GOLDPATH_HOME"] = str(settings.root)
    torch.set_num_threads(1)  # one row is too little work for several threads
    if settings.profile != "cluster":
        _listen_nowhere()


def bind(replica: type[Any], name: str, config: ServiceConfig, settings: Settings) -> serve.Application:
    """The application of a class of replicas, which takes the configuration and the settings of one home folder."""
    deployment = serve.deployment(
        name=name,
        num_replicas=config.replicas or (2 if settings.profile == "cluster" else 1),
        ray_actor_options={"num_cpus": config.cpus_per_replica},
        max_ongoing_requests=config.max_ongoing_requests,
        max_queued_requests=config.max_queued_requests,
        # A new version starts beside the old one, which answers meanwhile, and goes on if the new one fails.
        max_surge_percent=100,
        max_constructor_retry_count=2,
        # The prediction log holds more, and Serve prints each line of its access log in the process that deploys.
        logging_config=LoggingConfig(enable_access_log=False),
        health_check_period_s=1,  # a killed replica is noticed, and replaced, after this time
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=10,
    )(replica)
    return deployment.bind(config, portable(settings))


def portable(settings: Settings) -> Settings:
    """The settings as a replica gets them.

    It has another working directory, so its home must be absolute; it needs no key of the lineage endpoint.
    """
    return settings.model_copy(update={"home": settings.root, "lineage_api_key": None})


def _listen_nowhere() -> None:
    """Lets this replica start without the port on which Serve takes calls of other deployments by gRPC.

    Those call it through Ray itself, as proxies do, and the port is open on every network interface to whoever sends a
    pickle, which runs code.
    """
    from ray.serve._private import replica

    assert callable(replica.add_port_to_grpc_server)
    replica.add_port_to_grpc_server = lambda server, address: 0  # ty: ignore[invalid-assignment]
