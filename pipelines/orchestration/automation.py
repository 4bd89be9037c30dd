"""The one door to declarative automation.

`AutomationCondition.eager()` asks for the downstream of a failed blocking check, and a blocking check stops its
downstream only within one run. Every condition made here waits until the checks of all inputs have passed.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

Condition = dg.AutomationCondition[Any]


def when_inputs_are_good() -> Condition:
    """Materialize when an input was updated and every blocking check of every input has passed."""
    condition = dg.AutomationCondition
    asked = condition.any_deps_updated().since_last_handled()
    quiet = ~condition.any_deps_in_progress() & ~condition.in_progress()
    # Not `any_deps_missing`, which `eager` holds against it: the days that have not happened yet are always missing.
    return (asked & quiet & condition.all_deps_blocking_checks_passed()).with_label("inputs updated and good")
