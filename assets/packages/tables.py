"""Bronze and silver: the documents and docstrings as they arrived, and typed, checked, without people's addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.packages.domain import contract
from pipelines.medallion.decorators import bronze_asset, silver_asset
from pipelines.orchestration.automation import when_inputs_are_good

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

bronze_metadata = bronze_asset(contract("bronze/metadata"), automation=when_inputs_are_good())
bronze_docstrings = bronze_asset(contract("bronze/docstrings"), automation=when_inputs_are_good())

#: Between the header fields of a document and its text, as in an e-mail.
_HEADER_END = r"\r?\n\r?\n"


@silver_asset(contract("silver/metadata"), automation=when_inputs_are_good())
def silver_metadata(metadata: DataFrame) -> DataFrame:
    """The newest metadata of each distribution: what its authors say of it, and the topics that they chose."""
    from pyspark.sql import functions as F

    parts = F.split("content", _HEADER_END, 2)
    body = F.nullif(stripped(F.get(parts, F.lit(1))), F.lit(""))
    # Before version 2.1 of the format the text was a header field, and its further lines are indented.
    folded = F.regexp_extract("header", r"(?:^|\n)Description: *([^\n]*(?:\n[ \t][^\n]*)*)", 1)
    unfolded = F.regexp_replace(folded, r"\n(?:        |       \||\t)", "\n")
    description = F.coalesce(body, F.nullif(stripped(unfolded), F.lit("")))
    topics = F.regexp_extract_all("header", F.lit(r"(?:^|\n)Classifier: *Topic :: ([^:\r\n]*[^: \r\n])"), F.lit(1))
    return metadata.withColumn("header", F.get(parts, F.lit(0))).select(
        "*",
        _field("Summary").alias("summary"),
        F.when(description != "UNKNOWN", description).alias("description"),
        F.coalesce(_field("License-Expression"), _field("License")).alias("licence"),
        F.nullif(F.array_join(F.array_sort(F.array_distinct(topics)), "\n"), F.lit("")).alias("topics"),
    )


@silver_asset(contract("silver/docstrings"), automation=when_inputs_are_good())
def silver_docstrings(docstrings: DataFrame) -> DataFrame:
    """Public functions of the installed distributions with their docstrings."""
    return docstrings


def stripped(text: Column) -> Column:
    """The text without space around it; the classes of space in regular expressions differ between engines."""
    from pyspark.sql import functions as F

    return F.regexp_replace(text, r"^[ \t\r\n]+|[ \t\r\n]+\z", "")


def _field(name: str) -> Column:
    """The first line of a header field; null where the document lacks it, or says that it is unknown."""
    from pyspark.sql import functions as F

    value = F.trim(F.regexp_extract("header", rf"(?:^|\n){name}: *([^\r\n]*)", 1))
    return F.when(~value.isin("", "UNKNOWN"), value)
