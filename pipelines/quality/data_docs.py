"""Builds Great Expectations' Data Docs, HTML pages with each table's rules and their results, from recorded verdicts.

Runs record verdicts as JSON without Great Expectations, whose import takes seconds. This module turns the JSON into
objects of Great Expectations, in the stores of a project in `<home>/quality/gx` that any of its tools can open.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.errors import NotFoundError

#: How many of each table's newest verdicts get a page.
VERDICTS_SHOWN = 20
_STAMP = "%Y%m%dT%H%M%S%f"


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
            result = context.validation_results_store.deserialize(path.read_text(encoding="utf-8"))
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
    return Path(unquote(urlsplit(site).path))
