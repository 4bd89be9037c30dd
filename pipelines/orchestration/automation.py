"""The automation conditions of all assets.

`AutomationCondition.eager()` also requests assets whose inputs failed a blocking check, and a blocking check stops its
downstream assets only within one run. The conditions here wait until the blocking checks of all inputs have passed.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

Condition = dg.AutomationCondition[Any]


def when_inputs_are_good() -> Condition:
    """Materialize after an input was updated, once all blocking checks of all inputs have passed.

    Nothing is requested while the asset or an input is in progress.
    """
    condition = dg.AutomationCondition
    updated = condition.any_deps_updated().since_last_handled()
    idle = ~condition.any_deps_in_progress() & ~condition.in_progress()
    # Without the `~any_deps_missing` of `eager`: partitions of days in the future are always missing.
    return (updated & idle & condition.all_deps_blocking_checks_passed()).with_label("inputs updated and good")


def every_night() -> Condition:
    """Materialize once after each 03:00 UTC, once all blocking checks of all inputs have passed."""
    condition = dg.AutomationCondition
    due = condition.cron_tick_passed("0 3 * * *").since_last_handled()
    return (due & ~condition.in_progress() & condition.all_deps_blocking_checks_passed()).with_label("every night")
