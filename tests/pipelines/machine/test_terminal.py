from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.tree import Tree

from pipelines.machine.terminal import Terminal, printable
from pipelines.settings import PROJECT

UNRULY = [
    "[/x].csv",
    "[red]a[/red]",
    ":cat:",
    "[link=http://x]y[/link]",
    "\\[",
    "a\x1b[31mb",
    "\x9b2J",
    "a\rb",
    "a\u202eb",
    "\udce9",
    "é",
]


@pytest.mark.parametrize("text", UNRULY)
def test_texts_are_printed_as_they_are_in_lines_tables_and_trees(text: str) -> None:
    table = Table(text, title=text)
    table.add_row(text)
    tree = Tree(text)
    tree.add(text)
    out = io.StringIO()
    console = Terminal(file=out, width=100, force_terminal=True, color_system=None)
    for renderable in (text, table, tree):
        console.print(renderable)
    assert out.getvalue().count(printable(text)) == 1 + 3 + 2
    assert not set("\x1b\x9b\r\u202e\udce9") & set(out.getvalue())


def test_control_characters_become_escapes_and_lines_and_tabs_stay() -> None:
    assert printable("a\x1b[0m\udce9\u202e\r\n\té") == "a\\x1b[0m\\udce9\\u202e\\r\n\té"


def test_commands_print_by_the_terminal_alone() -> None:
    folder = PROJECT / "pipelines/commands"
    modules = {path.name: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.py")}
    assert [name for name, text in modules.items() if "import Console" in text and "TYPE_CHECKING" not in text] == []
    assert [name for name, text in modules.items() if "typer.echo(" in text] == ["invocation.py"]
