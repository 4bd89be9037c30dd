from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit
from pipelines.machine import garbage

class Cycle:
    def __init__(self, name):
        self.name, self.itself = name, self

    def __del__(self):
        print("deleted", self.name)

garbage.collect_seldom()
atexit.register(print, "registered")
Cycle("before")
kept = [[] for _ in range(2 * garbage.NEW_OBJECTS)]
Cycle("at the exit")
"""


def test_cycles_are_deleted_while_a_process_runs_and_left_alone_at_its_exit() -> None:
    shown = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert (shown.stdout.splitlines(), shown.stderr) == (["deleted before", "registered"], "")


def test_a_process_that_has_loaded_triton_ends_without_a_list_of_what_was_not_freed() -> None:
    program = "from pipelines.machine import garbage; garbage.collect_seldom(); import torch._dynamo, triton"
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert shown.stderr == ""
