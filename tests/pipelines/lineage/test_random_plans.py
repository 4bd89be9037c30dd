from __future__ import annotations

from collections.abc import Sequence

from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.lineage.column_lineage import Unknown
from tests.pipelines.lineage.changed_tables import (
    FLIGHTS,
    PLANES,
    READ,
    TABLES,
    Versions,
    assert_complete,
    assert_identities,
)

NUMBERS, WORDS = "number", "word"
STEP = st.tuples(st.sampled_from("abcdefghijklmnopqrst"), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))


def kinds(dataset: str) -> dict[str, str]:
    return {name: WORDS if isinstance(values[0], str) else NUMBERS for name, values in TABLES[dataset].items()}


def program(steps: Sequence[tuple[str, int, int, int]], start: str, read: READ) -> DataFrame:
    """A plan of valid steps, whose result is determined by its input."""
    other = PLANES if start == FLIGHTS else FLIGHTS
    df = read(start)
    types: dict[str, str] = kinds(start)
    for at, (step, x, y, z) in enumerate(steps):
        names = list(types)
        one, two, three = (names[i % len(names)] for i in (x, y, z))
        new = f"c{at}"
        number = F.col(one) if types[one] == NUMBERS else F.length(one)
        word = F.col(two) if types[two] == WORDS else F.col(two).cast("int").cast("string")
        window = Window.partitionBy(two)
        theirs = read(other).select(*(F.col(n).alias(f"{n}_{at}") for n in TABLES[other]))
        their_types = {f"{name}_{at}": kind for name, kind in kinds(other).items()}
        key = next((name for name, kind in types.items() if kind == WORDS), "")
        match step:
            case "a":
                df, types[new] = df.withColumn(new, number * 2 + F.length(word)), NUMBERS
            case "b":
                df, types[one] = df.withColumn(one, F.concat(word, F.lit("-"), word)), WORDS
            case "c":
                df, types[new] = (
                    df.withColumn(new, F.when(number > 3, word).otherwise(F.col(three).cast("string"))),
                    WORDS,
                )
            case "d":
                df = df.filter(number > x)
            case "e" if key:
                df = df.join(theirs, F.col(key) == F.col(f"tail_{at}"), ("left", "inner", "full", "right")[y % 4])
                types |= their_types
            case "f" if key:
                df = df.join(theirs.withColumnRenamed(f"tail_{at}", key), key, ("left", "full", "right")[y % 3])
                types = {key: WORDS} | {n: t for n, t in types.items() if n != key}
                types |= {n: t for n, t in their_types.items() if n != f"tail_{at}"}
            case "g" if key:
                df = df.join(theirs, df[key] == theirs[f"tail_{at}"], ("semi", "anti")[y % 2])
            case "h":
                df = df.groupBy(one).agg(F.max(two).alias(new), F.count("*").alias(f"{new}n"))
                types = {one: types[one], new: types[two], f"{new}n": NUMBERS}
            case "i":
                df, types[new] = df.withColumn(new, F.max(one).over(window)), types[one]
            case "j":
                df, types[new] = df.withColumn(new, F.rank().over(window.orderBy(one))), NUMBERS
            case "k":
                df, types = df.select(one, F.col(two).alias(new)), {one: types[one], new: types[two]}
            case "l":
                sql = f"upper(cast({one} as string)) || coalesce(cast({two} as string), 'x') AS {new}"
                df, types[new] = df.selectExpr("*", sql), WORDS
            case "m" if "m" not in [before for before, *_ in steps[:at]]:  # Sail 0.7.2 fails on such a union in another
                df = df.unionByName(df.filter(number < y).withColumn(one, F.col(one)))
            case "n" if types[one] == types[two]:
                df = df.select(one, three).toDF("l", "r").union(df.select(two, three).toDF("r", "l"))
                types = {"l": types[one], "r": types[three]}
            case "o":
                df = df.distinct()
            case "p" if len(names) > 2 and one != two:
                df = df.drop(one).withColumnRenamed(two, new)
                types = {new if n == two else n: t for n, t in types.items() if n != one}
            case "q":
                df, types[new] = df.withColumn(new, F.explode(F.array(number, F.length(word)))), NUMBERS
            case "r":
                df = (
                    df.alias("t")
                    .select(f"t.{one}", F.struct(two, F.col(three).alias("_")).alias("s"))
                    .select(one, F.col(f"s.{two}").alias(new))
                )
                types = {one: types[one], new: types[two]}
            case "s":
                df = df.select(two).filter(number > y).sort(three)
                types = {two: types[two]}
            case "t":
                df = df.fillna(7).dropna(subset=[two])
    return df


@hypothesis_settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
)
@given(steps=st.lists(STEP, min_size=2, max_size=6), start=st.sampled_from([FLIGHTS, PLANES]))
def test_a_column_that_the_lineage_does_not_name_changes_nothing(
    sail_tables: Versions, steps: list[tuple[str, int, int, int]], start: str
) -> None:
    def plan(read: READ) -> DataFrame:
        return program(steps, start, read)

    assert not any(isinstance(sources, Unknown) for sources in sail_tables.lineage(plan).columns.values())
    assert_complete(sail_tables, plan)
    assert_identities(sail_tables, plan)
