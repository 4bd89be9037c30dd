"""A program whose steps wait for a test, and a process that trains it.

As a program: `python -m tests.ray_jobs.slow HOME RUN_FOLDER PLACE TABLE VERSION` connects to the cluster of a home,
trains in PLACE, and ends with 143 where SIGTERM interrupts it, as Dagster's run process does.
"""

from __future__ import annotations

import dataclasses
import itertools
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from torch import nn

from pipelines.models.program import Program
from ray_jobs.core.program import Batch, Loss
from ray_jobs.tabular.program import Tabular
from tests.ray_jobs.tabular.made_up import REGRESSION

SLOW = Program("tests.ray_jobs.slow:Slow", loads="ray_jobs.tabular.model:load", tasks=("regression",), kinds=())
#: 64 steps.
RECIPE = dataclasses.replace(REGRESSION, epochs=2, batch_size=80, checkpoint_interval_steps=5)
#: Beside a run's folder: how many steps a worker of the run may do after its start.
STEPS_FILE = "steps"


class Slow(Tabular):
    """A wide and deep network whose steps wait until they may be done; the model's name is the file that says so."""

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        if network.training:
            step = next(STEPS)
            while step > int(Path(self.recipe.model_name).read_text(encoding="utf-8")):
                time.sleep(0.02)
        return super().loss(network, batch)


#: The steps that a worker does after its start.
STEPS = itertools.count(1)


def _interrupted(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(home: str, run_folder: str, place: str, table: str, version: str) -> None:
    from pipelines.machine import ray_connection
    from pipelines.models import gate
    from pipelines.models.judgement import Gate
    from pipelines.settings import Settings

    folder = Path(run_folder)
    with ray_connection.connect(Settings(profile="test", home=Path(home))):
        signal.signal(signal.SIGTERM, _interrupted)
        SLOW.load()(
            dataclasses.replace(RECIPE, model_name=str(folder.parent / STEPS_FILE)),
            place="cluster" if place == "cluster" else "process",
            table_uri=table,
            table_version=int(version),
            storage_path=str(folder.parent),
            run_name=folder.name,
            model_dir=folder.parent / f"{folder.name}-model",
            window=RECIPE.gate_window,
            base_model_dir=None,
            champion_dir=None,
            gate=gate.named("regression", Gate()),
            on_progress=lambda progress: print(progress, flush=True),
        )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(143)
