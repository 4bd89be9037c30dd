"""A plan that runs one thing and declares another: what lineage reads in place of a function that hides columns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_declared: ContextVar[bool] = ContextVar("declared_plans", default=False)


@contextlib.contextmanager
def declared_plans() -> Iterator[None]:
    """While the block runs, plans are made as they are declared."""
    token = _declared.set(True)
    try:
        yield
    finally:
        _declared.reset(token)


def declared_as(declared: Callable[[], DataFrame], runs: DataFrame, keeps: object) -> DataFrame:
    """A DataFrame whose plan is that of `runs`, and for lineage that of another.

    Args:
        declared: Makes the other: of the same columns and rows, and without a function that hides columns.
        runs: What the engine computes.
        keeps: An object that lives as long as the plan, and those that are derived from it.
    """
    from pyspark.sql.connect.dataframe import DataFrame as ConnectFrame
    from pyspark.sql.connect.plan import LogicalPlan

    class DeclaredPlan(LogicalPlan):
        def __init__(self) -> None:
            super().__init__(None)
            self.keeps = keeps

        def plan(self, session: Any) -> Any:
            frame: Any = declared() if _declared.get() else runs
            relation = frame._plan.plan(session)
            relation.common.plan_id = self._plan_id  # by which a column of the DataFrame is found
            return relation

    session: Any = runs.sparkSession
    frame: Any = ConnectFrame(DeclaredPlan(), session)
    return frame
