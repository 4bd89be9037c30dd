"""Writes `.env.example` from the settings, so that the file lists all of them.

`python -m pipelines.commands.env_example` writes the file; with `--check` it only checks that the file is up to date.
"""

from __future__ import annotations

import sys
from typing import Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from pipelines.errors import SettingsError
from pipelines.settings import PREFIX, PROJECT, Settings

FILE = PROJECT / ".env.example"

HEAD = """\
# Every setting of Goldpath. A GOLDPATH_ variable that is not here raises an error when anything starts.
# Copy this file to .env, uncomment what you change, and load it: set -a; . ./.env; set +a
# Generated from pipelines/settings.py by `python -m pipelines.commands.env_example`.
"""


def render() -> str:
    """The text of `.env.example`: one commented line for each setting, with its default."""
    parts = [HEAD]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, PydanticUndefined) else str(field.default)
        allowed = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        choices = f" ({', '.join(map(str, allowed))})" if allowed else ""
        parts.append(f"# {field.description}{choices}\n# {PREFIX}{name.upper()}={default}\n")
    return "\n".join(parts)


def check() -> None:
    """Raises SettingsError if the file is not what `render` returns."""
    if not FILE.exists() or FILE.read_text(encoding="utf-8") != render():
        raise SettingsError(
            object=FILE.name,
            observed="it differs from the settings in pipelines/settings.py",
            expected="every setting, with its description and default",
            next_step="run: python -m pipelines.commands.env_example",
        )


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        try:
            check()
        except SettingsError as error:
            sys.exit(str(error))
    else:
        FILE.write_text(render(), encoding="utf-8")
