"""Values that arrived under names which no contract knew, for columns that a contract declared later."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pipelines.contracts.model import Contract
from pipelines.tables import RESCUED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: A JSON string, as a regular expression.
_TEXT = r'"(?:[^"\\]|\\.)*"'


def restored(raw: DataFrame, bronze: Contract, *, some: bool = True) -> DataFrame:
    """Rows of bronze with every column that its contract declares.

    A value that a row lacks, and that arrived before its name was declared, comes from `_rescued`, and leaves it there.

    Args:
        raw: Rows of bronze as they are stored.
        bronze: The contract of the bronze table.
        some: Whether a row may have something in `_rescued`.
    """
    from pyspark.sql import functions as F

    names = raw.columns  # a request to the engine, so only once
    if not some:  # a plan without these expressions is faster to make and to run
        absent = [column.name for column in bronze.columns if column.name not in names] + [RESCUED]
        return raw.withColumns({name: F.lit(None).cast("string") for name in absent})
    kept = F.from_json(F.col(RESCUED), "map<string,string>")
    values = {
        column.name: F.coalesce(F.col(column.name), kept[column.delivered_name])
        if column.name in names
        else kept[column.delivered_name]
        for column in bronze.columns
    }
    # Sail cannot stage rows with a function that takes a lambda, so what is declared is cut out of the text.
    members = "|".join(re.escape(json.dumps(c.delivered_name, ensure_ascii=False)) for c in bronze.columns)
    remaining = F.regexp_replace(RESCUED, rf", (?:{members}): {_TEXT}", "")
    remaining = F.regexp_replace(remaining, rf"^\{{(?:{members}): {_TEXT}(, )?", "{")
    further = [name for name in names if name not in values and name != RESCUED]
    return raw.select(
        *[value.alias(name) for name, value in values.items()],
        *further,
        F.when(remaining != "{}", remaining).alias(RESCUED),
    )
