"""Placement: what lies in landing where no run takes it, as findings, so that nothing waits there unseen.

Symbolic links are never followed. A name that no table can hold (bytes that are not UTF-8, control characters) is not
taken; every other name is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from pipelines.landing import interval
from pipelines.landing.findings import Finding
from pipelines.landing.stores import Entry, Store
from pipelines.machine.terminal import printable

_MOVE = "move it to such a folder; until then it stays where it is, and no run takes it"


def is_hidden(name: str) -> bool:
    """Whether a name says that a file is not complete."""
    return name[:1] in ("", ".", "_")


def is_text(name: str) -> bool:
    """Whether a name is text without control characters; bytes that are not UTF-8 are surrogates in it."""
    return name.isprintable() or all(unicodedata.category(character) not in ("Cc", "Cs") for character in name)


def misplaced(store: Store, domain: str, source: str, intervals: Collection[str] | None = None) -> list[Finding]:
    """What no run takes of one source: in its folder, and in those of the given intervals; None for all of them."""
    folder = f"{domain}/{source}"
    entries, findings = _listed(store, folder)
    names = set()
    for entry in entries:
        name = entry.name.removeprefix(interval.INTERVAL)
        if entry.kind == "folder" and name != entry.name and interval.start(name):
            names.add(name)
        elif entry.kind == "folder" and visible(store, entry.path):
            findings.append(_finding(entry, "a folder whose name is no interval", interval.EXPECTED))
    findings += _irregular(entries) + in_no_interval(store, folder)
    for name in sorted(names if intervals is None else names & set(intervals), key=interval.order):
        entries, unreadable = _listed(store, f"{folder}/{interval.INTERVAL}{name}")
        findings += unreadable + _irregular(entries)
        findings += [
            _finding(entry, "a folder within the folder of an interval", "files directly in the folder of an interval")
            for entry in entries
            if entry.kind == "folder"
        ]
    return findings


def in_no_interval(store: Store, folder: str) -> list[Finding]:
    """One finding for all files directly in the folder of a domain or of a source, or in the root (``); else none."""
    files = [entry for entry in visible(store, folder) if entry.kind == "file"]
    if not files:
        return []
    others = f", and {len(files) - 1:,} more" if files[1:] else ""
    return [_finding(files[0], f"it lies in no interval{others}", f"DOMAIN/SOURCE/NAME in {interval.EXPECTED}")]


def visible(store: Store, folder: str) -> list[Entry]:
    """The entries of a folder whose names do not say that they are incomplete; none if this user may not read it."""
    return _listed(store, folder)[0]


def _listed(store: Store, folder: str) -> tuple[list[Entry], list[Finding]]:
    """The visible entries of a folder; if this user may not read it none, and a finding."""
    try:
        return [entry for entry in store.entries(folder) if not is_hidden(entry.name)], []
    except PermissionError:
        step = "give this user the right to read it; until then no run takes what it holds"
        return [], [
            Finding(printable(folder), "unreadable", "waiting", "no right to read it", "a readable folder", step)
        ]


def _irregular(entries: list[Entry]) -> list[Finding]:
    """The links, and the files whose name is no text."""
    links = [
        Finding(printable(entry.path), "link", "skipped", "a symbolic link", "a file", "deliver the file itself")
        for entry in entries
        if entry.kind == "link"
    ]
    names = [
        Finding(
            printable(entry.path),
            "name",
            "waiting",
            "a name with control characters, or bytes that are not UTF-8",
            "a name that is text",
            "rename it; until then no run takes it",
        )
        for entry in entries
        if entry.kind == "file" and not is_text(entry.name)
    ]
    return links + names


def _finding(entry: Entry, observed: str, expected: str) -> Finding:
    return Finding(printable(entry.path), "misplaced", "waiting", observed, expected, _MOVE)
