"""Gold tables: two training sets, in each of which a distribution is in one fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.packages.domain import contract
from assets.packages.tables import stripped
from pipelines.medallion.decorators import gold_asset
from pipelines.orchestration.automation import when_inputs_are_good
from pipelines.tables import RECORD_ID

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: The first hexadecimal digits of the hash of a distribution's name, by fold; what is left is trained on.
HOLDOUT, GATE = ("c", "d"), ("e", "f")
#: A topic is learned if so many distributions have it; a distribution has the rarest of its topics.
DISTRIBUTIONS_OF_A_TOPIC = 8
#: Characters of a passage of a description, and how many passages a distribution has at most.
PASSAGE, PASSAGES = 1_000, 8
SHORTEST_PASSAGE = 200
#: Characters of a summary, and of the rest of a docstring.
SUMMARY, BODY = (15, 120), (120, 1_000)
#: Of so many functions of each distribution a model can be trained on two cores in minutes; others are in folds whose
#: names end in MORE.
FEW, MORE = 2, "_more"


@gold_asset(
    contract("gold/topic_training_set"),
    inputs={"metadata": "silver/packages/metadata"},
    automation=when_inputs_are_good(),
)
def topic_training_set(metadata: DataFrame) -> DataFrame:
    """Passages of the descriptions of distributions, each with the topic of its distribution."""
    from pyspark.sql import functions as F

    return (
        _passages(metadata)
        .join(_topics(metadata), "distribution")
        .select(
            F.concat_ws("#", "distribution", "passage").alias("passage_id"),
            "distribution",
            "text",
            "topic",
            fold().alias("fold"),
            RECORD_ID,
        )
    )


@gold_asset(
    contract("gold/summary_training_set"),
    inputs={"docstrings": "silver/packages/docstrings"},
    automation=when_inputs_are_good(),
)
def summary_training_set(docstrings: DataFrame) -> DataFrame:
    """Docstrings that begin with a summary of one line: the rest of each, and the summary.

    A docstring that stands in several places is in the table once, in the fold of one of them, so that no text is both
    trained on and compared on.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    parts = docstrings.select(
        F.concat_ws(":", "distribution", "file", F.col("line").cast("string")).alias("function_id"),
        "distribution",
        "function",
        F.regexp_extract("docstring", rf"^([^\n]{{{SUMMARY[0]},{SUMMARY[1]}}}\.)\n *\n", 1).alias("summary"),
        stripped(F.regexp_replace("docstring", r"^[^\n]*\n *\n", "")).alias("rest"),
        RECORD_ID,
    ).where("summary <> '' AND NOT contains(rest, summary)")
    bodies = parts.withColumn("body", F.substring("rest", 1, BODY[1])).where(F.length("body") >= BODY[0])
    once = bodies.withColumn("place", F.row_number().over(Window.partitionBy("body").orderBy("function_id")))
    once = once.withColumn("again", F.row_number().over(Window.partitionBy("summary", "place").orderBy("function_id")))
    drawn = Window.partitionBy("distribution").orderBy(F.sha2("function_id", 256))
    examples = once.where("place = 1 AND again = 1").withColumn("drawn", F.row_number().over(drawn))
    part = F.concat(fold(), F.when(F.col("drawn") > FEW, MORE).otherwise("")).alias("fold")
    return examples.select("function_id", "distribution", "function", "body", "summary", part, RECORD_ID)


def _topics(metadata: DataFrame) -> DataFrame:
    """The rarest topic of each distribution, of those that enough distributions have."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    by_topic = metadata.select("distribution", F.explode(F.split("topics", "\n")).alias("topic"))
    by_topic = by_topic.withColumn("distributions", F.count("*").over(Window.partitionBy("topic")))
    rarest = F.row_number().over(Window.partitionBy("distribution").orderBy("distributions", "topic"))
    learned = by_topic.where(F.col("distributions") >= DISTRIBUTIONS_OF_A_TOPIC)
    return learned.withColumn("place", rarest).where("place = 1").select("distribution", "topic")


def _passages(metadata: DataFrame) -> DataFrame:
    """The passages of each distribution's summary and description, by their number."""
    from pyspark.sql import functions as F

    without_addresses = F.regexp_replace(F.concat_ws("\n", "summary", "description"), r"https?://[^ \t\r\n)>\]]+", " ")
    words = F.trim(F.regexp_replace(without_addresses, r"[ \t\r\n\x0b\f]+", " "))
    return (
        metadata.select("distribution", RECORD_ID, words.alias("words"))
        .withColumn("passage", F.explode(F.expr(f"sequence(0, {PASSAGES - 1})")))
        .withColumn("text", F.expr(f"substring(words, passage * {PASSAGE} + 1, {PASSAGE})"))
        .where((F.length("text") >= SHORTEST_PASSAGE) | ((F.col("passage") == 0) & (F.col("text") != "")))
    )


def fold() -> Column:
    """The fold of a row, by a hash of its distribution's name, which no version of the table changes."""
    from pyspark.sql import functions as F

    digit = F.substring(F.sha2("distribution", 256), 1, 1)
    return F.when(digit.isin(*HOLDOUT), "holdout").when(digit.isin(*GATE), "gate").otherwise("train")
