"""Builds Great Expectations' Data Docs, HTML pages with each table's rules and their results, from recorded verdicts.

Runs record verdicts as JSON without Great Expectations, whose import takes seconds. This module turns the JSON into
objects of Great Expectations, in the stores of a project in `<home>/quality/gx` that any of its tools can open.

Great Expectations writes some texts into its pages as they are, the names of columns among them. So while the pages are
built, each character of HTML in a verdict has a stand-in; then it is escaped in the pages, and itself in the stores.
"""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipelines.errors import NotFoundError
from pipelines.machine import files

#: How many of each table's newest verdicts get a page.
VERDICTS_SHOWN = 20
_STAMP = "%Y%m%dT%H%M%S%f"
#: The stand-ins: characters of Unicode's private use area, which mean nothing.
_STAND_INS = {character: chr(0xF5A0 + place) for place, character in enumerate("<>&\"'")}


def data_docs(folder: Path, *, verdicts: int = VERDICTS_SHOWN) -> Path:
    """Builds the pages; replaces those of an earlier call.

    Args:
        folder: `<home>/quality`, with one folder of verdicts for each table.
        verdicts: How many of each table's newest verdicts to show.

    Returns:
        The path of the index page.

    Raises:
        NotFoundError: if no verdict is recorded in the folder.
    """
    recorded = {path: sorted(path.glob("*.json"))[-verdicts:] for path in sorted(folder.glob("*")) if path.name != "gx"}
    if not any(recorded.values()):
        raise NotFoundError(
            object=str(folder),
            observed="no recorded verdict",
            expected="the verdict of at least one run",
            next_step="goldpath materialize a silver or gold table of `goldpath tables`, or goldpath demo",
        )
    import great_expectations as gx
    from great_expectations.core import ExpectationSuite, RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    shutil.rmtree(folder / "gx", ignore_errors=True)
    context = gx.get_context(mode="file", project_root_dir=folder)
    for paths in recorded.values():
        result = None
        for path in paths:
            verdict = _replaced(json.loads(path.read_text(encoding="utf-8")), _STAND_INS)
            result = context.validation_results_store.deserialize(json.dumps(verdict))
            result.suite_name = result.suite_name.replace("/", ".")  # the stores use it as the name of a file
            ran_at = datetime.strptime(path.stem, _STAMP).replace(tzinfo=UTC)
            suite = ExpectationSuiteIdentifier(result.suite_name)
            run = RunIdentifier(run_name=path.stem, run_time=ran_at)
            result.meta["run_id"] = run
            identifier = ValidationResultIdentifier(suite, run, batch_identifier=path.parent.name)
            context.validation_results_store.store_validation_results(result, identifier)
        if result is not None:
            rules = [outcome.expectation_config.to_domain_obj() for outcome in result.results]
            context.suites.add(ExpectationSuite(name=result.suite_name, expectations=rules, meta=result.meta))
    [site] = context.build_data_docs().values()
    index = Path(unquote(urlsplit(site).path))
    _restore(folder / "gx", pages=index.parent)
    return index


def _restore(project: Path, *, pages: Path) -> None:
    """Replaces the stand-ins by what they stand for: by its escape in the pages, by itself in the stores."""
    escapes = {stand_in: html.escape(character) for character, stand_in in _STAND_INS.items()}
    for page in pages.rglob("*.html"):
        files.replace(page, page.read_text(encoding="utf-8").translate(str.maketrans(escapes)))
    originals = {stand_in: character for character, stand_in in _STAND_INS.items()}
    for path in project.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        files.replace(path, json.dumps(_replaced(content, originals), indent=2))


def _replaced(value: Any, characters: Mapping[str, str]) -> Any:
    """A JSON value with characters replaced in every text, keys too."""
    if isinstance(value, dict):
        return {_replaced(key, characters): _replaced(item, characters) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, characters) for item in value]
    return value.translate(str.maketrans(dict(characters))) if isinstance(value, str) else value
