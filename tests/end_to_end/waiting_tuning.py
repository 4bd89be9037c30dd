"""A program of test_language_demo.py: tunes a language model, and stops between two steps to be killed there.

The test copies this module into the domain of the packages, where a worker imports it.
"""

from __future__ import annotations

import itertools
import time

from torch import nn

from ray_jobs.core.program import Batch, Loss
from ray_jobs.text.causal_lm import CausalLm

#: In the home folder: after how many steps a worker waits. Without this file none does.
WAIT_FILE = "wait_after_steps"
WAIT_SECONDS = 600
_STEPS = itertools.count()


class WaitingTuning(CausalLm):
    """Tunes as `CausalLm` does."""

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """As `CausalLm.loss`; after the steps that the file names, the run is killed meanwhile."""
        file = self.home / WAIT_FILE
        if network.training and file.exists() and next(_STEPS) >= int(file.read_text(encoding="utf-8")):
            time.sleep(WAIT_SECONDS)
        return super().loss(network, batch)
