"""What a run leaves that refuses a version: the good days, and the rejected rows to look at; never a row twice."""

from __future__ import annotations

import json

import pytest

from pipelines.medallion.decorators import silver_asset
from pipelines.quarantine.table import Quarantine
from tests.pipelines.toy_pipeline import (
    DAY,
    DAYS,
    LIGHT,
    NEXT,
    MakePipeline,
    ToyPipeline,
    as_arrived,
    contract_check,
    failure_message,
    redeclared_silver,
)

GOOD, BAD = "part,holes,weight\nbrick,4,2.5\n", "part,holes,weight\nbad,0,1\nworse,-1,1\n"


def rejected(pipeline: ToyPipeline) -> list[str]:
    """The column `part` of the rows in quarantine."""
    return [json.loads(row["_row"])["part"] for row in pipeline.rows("quarantine")]


def test_an_empty_day_beside_a_full_one_is_refused_and_the_full_one_is_published(make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(partitions=DAYS)
    silver = silver_asset(pipeline.contract, partitions=DAYS)(as_arrived)
    pipeline.land(GOOD)
    pipeline.land("part,holes,weight\n", name="empty.csv", day=NEXT)
    for stays in ("the other days are published", "the version before stays published"):
        message = failure_message(pipeline.run(pipeline.bronze, silver, start=DAY, end=NEXT))
        assert "some saw 0.0 on 2013-01-02" in message
        assert stays in message
        assert pipeline.parts("silver") == ["brick"]
    assert pipeline.run(silver, start=DAY).success
    pipeline.land("part,holes,weight\nplate,1,1\n", day=NEXT)
    assert pipeline.run(pipeline.bronze, silver, start=DAY, end=NEXT).success
    assert sorted(pipeline.parts("silver")) == ["brick", "plate"]


@pytest.mark.parametrize("days", [True, False])
def test_rows_of_a_first_version_that_is_refused_are_in_quarantine_to_look_at(
    make_pipeline: MakePipeline, days: bool
) -> None:
    pipeline = make_pipeline(partitions=DAYS if days else None)
    silver = silver_asset(pipeline.contract, partitions=DAYS if days else None)(as_arrived)
    pipeline.land(BAD)
    for _ in range(2):
        result = pipeline.run(pipeline.bronze, silver, start=DAY if days else None)
        assert f"`goldpath quarantine list toys/{pipeline.name}` shows the rejected rows" in failure_message(result)
        assert "some saw 0.0" in str(contract_check(result).description)
        assert (rejected(pipeline), pipeline.version("silver")) == (["bad", "worse"], None)
    quarantine = Quarantine.of(pipeline.platform, pipeline.contract.table)
    assert [reason["reason"] for reason in quarantine.reasons()] == ["holes_range"]
    assert set(quarantine.places([row["record_id"] for row in quarantine.rows()]).values()) == {(DAY, "quarantined")}
    pipeline.land(GOOD, name="b.csv")
    assert pipeline.run(pipeline.bronze, silver, start=DAY if days else None).success
    assert (rejected(pipeline), pipeline.parts("silver")) == (["bad", "worse"], ["brick"])


def test_rejected_rows_of_a_refused_batch_are_in_quarantine_once_also_after_the_batch_is_merged(
    make_pipeline_each_engine: MakePipeline,
) -> None:
    pipeline = make_pipeline_each_engine(silver={"quality": [LIGHT]})
    silver = silver_asset(pipeline.contract)(as_arrived)
    pipeline.land(GOOD + "first,0,1\n")
    assert pipeline.run(pipeline.bronze, silver).success
    pipeline.land(BAD + "heavy,1,900\n", name="b.csv", day=NEXT)
    for _ in range(2):
        assert not pipeline.run(pipeline.bronze, silver).success
        assert (rejected(pipeline).count("bad"), len(rejected(pipeline)), pipeline.parts("silver")) == (1, 3, ["brick"])
    pipeline.land("part,holes,weight\nplate,1,1\nheavy,1,1\n", name="c.csv", day=NEXT)
    assert pipeline.run(pipeline.bronze, silver).success
    assert (sorted(rejected(pipeline)), sorted(pipeline.parts("silver"))) == (
        ["bad", "first", "worse"],
        ["brick", "heavy", "plate"],
    )
    assert pipeline.run(pipeline.bronze, redeclared_silver(pipeline, None)(as_arrived)).success
    assert sorted(rejected(pipeline)) == ["bad", "first", "worse"]
