"""What is printed for people: texts from outside as they are, without markup, and with no power over the terminal.

Names of files and columns, values and messages may hold what Rich takes for markup (`[/x]`, `:cat:`), codes that move
the cursor or recolour the screen, marks that reverse the reading direction, and bytes that are no text.
"""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

#: Control characters except newline and tab, marks of direction, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""A text whose control characters and bytes that are no text are written as escapes, such as `\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class Terminal(Console):
    """A Rich console that prints each `str`, in tables and trees too, as the text that it is.

    What is to be styled is passed as a `rich.text.Text`, or with `style`.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        literally: dict[str, Any] = options | {"markup": False, "emoji": False}
        return super().render_str(printable(text), **literally)
