"""`goldpath dev`: runs the servers of the platform on this machine until Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.invocation import errors_shown, prepared_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.settings import Settings


def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Dagster's port.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's port.")] = 5000,
    feast_port: Annotated[int, typer.Option(min=1, max=65535, help="The port of Feast's pages.")] = 8888,
    ray_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Ray's port. [default: a free one]")] = None,
    ray_dashboard: Annotated[bool, typer.Option("--ray-dashboard", help="Run Ray's dashboard too (700 MB).")] = False,
    ray_dashboard_port: Annotated[int, typer.Option(min=1, max=65535, help="The port of Ray's dashboard.")] = 8265,
) -> None:
    """Runs Dagster, MLflow, Feast's pages, Ray and the models that were deployed last, on loopback only, until Ctrl-C.

    Example: `goldpath dev --port 3100`
    """
    with errors_shown():
        settings = prepared_settings()
        from pipelines.commands.dev_servers import DevPorts, run
        from pipelines.machine.terminal import Terminal

        run(
            settings,
            console=Terminal(),
            redeploy=_redeploy,
            server_ports=DevPorts(port, mlflow_port, feast_port, ray_port, ray_dashboard_port),
            ray_dashboard="on" if ray_dashboard else "off",
        )


def _redeploy(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each service of which a model was deployed: its name, and what serves that model and returns its address."""
    from serving.predict import deploy

    for service in deploy.deployed_services(settings):
        yield service, lambda service=service: deploy.redeploy(settings, service).url
