"""The program that moves the rollout of one service: a Ray Serve application without an address, until it has ended.

Serve starts it again when its process ends; what that has left undone, its next look does.
"""

from __future__ import annotations

import logging
import threading
import time

from ray import serve

from pipelines.models.service import find
from pipelines.rollout import moves, state
from pipelines.rollout.control import Controller
from pipelines.settings import Settings
from serving.predict import replicas

LOOK_SECONDS = 1.0
logger = logging.getLogger(__name__)


class Watch:
    """Looks at the rollout every `LOOK_SECONDS`.

    Args:
        place: `module:name` of the service's declaration.
        settings: Of the home folder.
    """

    def __init__(self, place: str, settings: Settings) -> None:
        replicas.prepare(settings)
        self._settings, self._spec = settings, find(place)
        self._controller = Controller(settings, self._spec, self._spec.runtime.load_arms())
        self._looking = threading.Thread(target=self._look_until_the_end, name="rollout", daemon=True)
        self._looking.start()

    def check_health(self) -> None:
        """Raises RuntimeError if nobody looks any longer; Serve then starts another replica."""
        if not self._looking.is_alive():
            raise RuntimeError(f"the rollout of {self._spec.name} is not looked at any longer")

    def _look_until_the_end(self) -> None:
        failure = ""
        while True:
            try:
                if self._has_ended():
                    return
                self._controller.look()
                failure = ""
            except Exception as error:
                if str(error) != failure:  # the same one every second would fill the log
                    logger.exception("the rollout of %s was not looked at", self._spec.name)
                failure = str(error)
            time.sleep(LOOK_SECONDS)

    def _has_ended(self) -> bool:
        """Whether there is no rollout; then this application is ended.

        Under the rollouts' lock: one that begins later finds this application ending, and starts another.
        """
        with moves.moving(self._settings, self._spec.name):
            if state.active(self._settings, self._spec.name) is not None:
                return False
            serve.delete(application_name(self._spec.name), _blocking=False)
            return True


def application_name(service: str) -> str:
    """The name of the application that moves the rollouts of a service, `domain.name`."""
    return f"{service}--rollout"


def application(place: str, settings: Settings) -> serve.Application:
    """The application for the service at `module:name`."""
    deployment = serve.deployment(
        name="Watch",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        max_constructor_retry_count=2,
        health_check_period_s=1,  # nobody sends a broken candidate back before a killed program is noticed
    )(Watch)
    return deployment.bind(place, replicas.portable(settings))
