"""Reads what a contract says of the files that are delivered: their names, their format, and when one is complete."""

from __future__ import annotations

import codecs
import contextlib
import re
from pathlib import Path
from typing import Any, get_args

from pipelines.contracts.model import DeliveryContent, Format, ManifestUse
from pipelines.contracts.nodes import mapping, number, one_of, refuse, text
from pipelines.tables import TableId

#: The custom properties that are about deliveries, and so for bronze alone.
DELIVERY_PROPERTIES = ("delimiter", "encoding", "linePattern", "manifest", "settleSeconds", "delivery")
#: The properties of a server that are acted on, or describe it for people.
_SERVER = ("id", "server", "type", "description", "environment", "roles", "path", "format")
_DEFAULT_PATTERN = "*"
_SPELLED_TAB = "\\t"


def read(path: Path, table: TableId, document: dict[str, Any], custom: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Contract` about deliveries.

    Args:
        path: The contract file.
        table: The contract's table.
        document: The document, with every property of the standard.
        custom: The table's custom properties.

    Raises:
        ContractError: if a value is not valid.
    """
    servers = document["servers"] or []
    if len(servers) > 1:
        refuse(path, ["servers", 1], servers[1]["server"], "one server at most: the landing folder of the table")
    server = {key: value for key, value in (servers[0] if servers else {}).items() if value is not None}
    mapping(path, server, ["servers", 0], _SERVER)
    reader = _Reader(path, table, custom)
    format = reader.format(server.get("format"))
    return {
        "format": format,
        "file_pattern": reader.file_pattern(server.get("path")),
        "delimiter": reader.delimiter(custom.get("delimiter")),
        "encoding": reader.encoding(custom.get("encoding")),
        "line_pattern": reader.line_pattern(custom.get("linePattern"), format),
        "manifest": reader.word("manifest", ManifestUse, "optional"),
        "delivery": reader.word("delivery", DeliveryContent, "increment"),
        "settle_seconds": reader.settle_seconds(custom.get("settleSeconds")),
    }


class _Reader:
    """Reads one property each; `custom` are the table's custom properties."""

    def __init__(self, path: Path, table: TableId, custom: dict[str, Any]) -> None:
        self.path = path
        self.table = table
        self.custom = custom

    def format(self, value: Any) -> Format | None:
        required = self.table.zone == "bronze"
        if value not in get_args(Format) and (required or value is not None):
            refuse(self.path, ["servers", 0, "format"], value, f"one of {', '.join(get_args(Format))}")
        return value

    def file_pattern(self, value: Any) -> str:
        """The pattern of the names of deliveries: what follows the folder of the interval in the server's path."""
        if value is None or self.table.zone != "bronze":
            return _DEFAULT_PATTERN
        folder = f"{self.table.table}/dt=*/"
        pattern = value.removeprefix("./").removeprefix(f"{self.table.domain}/").removeprefix(folder)
        if pattern == value or not pattern or "/" in pattern:
            refuse(
                self.path, ["servers", 0, "path"], value, f"{self.table.domain}/{folder} and a pattern, such as *.csv"
            )
        return pattern

    def delimiter(self, value: Any) -> str:
        value = "\t" if value == _SPELLED_TAB else "," if value is None else value
        is_character = isinstance(value, str) and len(value) == 1 and value.isascii()
        if not is_character or value.isalnum() or value in '"\r\n\0':
            allowed = r"one ASCII character, such as ; or | or \t for a tab, and no letter, digit, quote or line end"
            refuse(self.path, ["customProperties", "delimiter"], value, allowed)
        return value

    def encoding(self, value: Any) -> str:
        name, sample, decoded = "utf-8" if value is None else value, "id,1", ""
        with contextlib.suppress(LookupError, ValueError, TypeError):
            decoded = sample.encode(name).decode(name)
        if decoded != sample:
            refuse(self.path, ["customProperties", "encoding"], value, "a text encoding, such as utf-8 or latin-1")
        return codecs.lookup(name).name

    def line_pattern(self, value: Any, format: Format | None) -> str | None:
        at, allowed = ["customProperties", "linePattern"], "a pattern with a named group for each column"
        try:
            groups = re.compile("" if value is None else text(self.path, value, at, allowed)).groupindex
        except (re.error, RecursionError, OverflowError) as error:
            refuse(self.path, at, value, f"a pattern: {error}")
        if (format == "log") != bool(groups):
            refuse(self.path, at, value, f"{allowed}, for the format log only")
        return value

    def settle_seconds(self, value: Any) -> int:
        at = ["customProperties", "settleSeconds"]
        return 0 if value is None else int(number(self.path, value, at, minimum=0, maximum=1e9))

    def word(self, name: str, allowed: Any, default: str) -> Any:
        """A custom property that is one of the Literal type `allowed`; the default where it is missing."""
        return one_of(self.path, self.custom.get(name), ["customProperties", name], allowed, default)
