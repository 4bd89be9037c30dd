"""How long people and Dagster wait before anything of ours runs, in fresh processes.

The peer of the code location and of `goldpath tables` is `import dagster` alone, which both need; the peer of
`goldpath --help` is the help of a Typer application with one command; the peer of an open online store is
`import feast` alone. The store is that of the home folder's first domain that has one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from bench.pairs import Row, pairs
from pipelines.settings import PROJECT, Settings

ROUNDS = 5
GOLDPATH = "from pipelines.commands.app import app; app()"
STORE = "from bench.startup import open_store; open_store()"
TYPER = "import typer; app = typer.Typer(help='One command.'); app.command()(lambda: None); app()"


def measure(settings: Settings) -> list[Row]:
    """Wall seconds of whole processes with compiled bytecode, over the tables of the settings' home folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def process(code: str, *arguments: str) -> Callable[[], object]:
        command: Sequence[str] = [sys.executable, "-c", code, *arguments]
        return lambda: subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)

    dagster = process("import dagster")
    cases = {
        "code location loads (aim 3 s)": (process("import pipelines.definitions"), dagster),
        "goldpath --help (aim 0.5 s)": (process(GOLDPATH, "--help"), process(TYPER, "--help")),
        "goldpath tables (aim 2 s)": (process(GOLDPATH, "tables"), dagster),
    }
    rows, opens = [], "online store opens (aim 3 s)"
    if _filled(settings):
        cases[opens] = (process(STORE), process("import feast"))
    else:
        rows.append(Row(opens, "", "", None, "not measured: no domain of this home has one; `goldpath demo` fills it"))
    for name, (ours, peer) in cases.items():
        a, b, ratio = pairs(ours, peer, rounds=ROUNDS)
        rows.append(Row(name, f"{a:.2f} s", f"{b:.2f} s", ratio))
    return rows


def open_store() -> None:
    """Opens the online store of a domain of the home folder that the environment names."""
    from feature_repo.state import DomainStore
    from feature_repo.store import current
    from pipelines import settings

    home = settings.get()
    current(DomainStore(home, _filled(home)[0]))


def _filled(settings: Settings) -> list[str]:
    """The domains of the home folder that have an online store, sorted."""
    return sorted(path.parent.name for path in (settings.root / "features").glob("*/state.json"))
