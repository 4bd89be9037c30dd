"""What a silver contract masks stands in no version of its table, nor in what is shown of the rows behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from pipelines.commands.quarantine_report import show_record
from pipelines.engine.session import Engine
from pipelines.quarantine.table import Quarantine
from pipelines.verdict import event, masking, verdict
from tests.pipelines import toy_contracts
from tests.pipelines.toy_contracts import integer, text
from tests.pipelines.toy_pipeline import MakePipeline, as_arrived, redeclared_silver
from tests.pipelines.verdict.judged_blocks import bronze, in_order

EMAIL = {"customProperties": [{"property": "mask", "value": ["email"]}]}
#: A text, and what stands in its place.
ADDRESSES = {
    "write to john.doe@example.org.": "write to [email].",
    "Ann <ann+tag@sub.example.co.uk>, Bo <bo@x.io>": "Ann <[email]>, Bo <[email]>",
    "a@b.com,c@d.com;e@f.com g@h.com": "[email],[email];[email] [email]",
    "mailto:j@x.org?subject=hi": "mailto:[email]?subject=hi",
    "https://user:secret@host.com/x": "https://user:[email]/x",
    "O'BRIEN@X.IE": "[email]",
    "jörg@müller.de": "[email]",
    "用户@例子.公司": "[email]",
    "j@xn--fsq.xn--p1ai": "[email]",
    "j\uff4fhn\uff20example\u3002com": "[email]",
    "john [at] example [dot] com": "[email]",
    "john(at)example.com": "[email]",
    "john {@} example {.} com": "[email]",
    "john at example dot co dot uk": "[email]",
    "John AT Example DOT com": "[email]",
    "john%40example.com": "[email]",
    "john&#64;example&#46;com": "[email]",
    "john&#x40;example.com": "[email]",
    '"john doe"@example.org': "[email]",
    "j@[192.168.0.1]": "[email]",
    "root@localhost": "[email]",
    "x\nfoo@bar.com\ty": "x\n[email]\ty",
    json.dumps({"a": "x\nfoo@bar.com"}): json.dumps({"a": "x\n[email]"}),
    json.dumps({"a": "\u00e9a@bar.com"}): json.dumps({"a": "[email]"}),
}
OTHERS = [
    "", "x @ y", "a@b", "@pytest.fixture", "pkg@1.2.3", "pip @ https://x.org/y", "look at docs.python.org", "50% at 4.5",
    "f(at)", "dot com", "a" * 500,
]  # fmt: skip


def test_addresses_of_every_form_are_masked_and_other_texts_are_kept(each_engine: Engine) -> None:
    expected = ADDRESSES | {other: other for other in OTHERS}
    rows = [{"part": value} for value in expected]
    frame = bronze(each_engine, rows).select("_record_id", masking.masked(F.col("part"), ("email",)).alias("part"))
    masked = [row["part"] for row in sorted(frame.collect(), key=lambda row: row["_record_id"])]
    assert masked == list(expected.values())
    assert [masking.masked_text(value, ("email",)) for value in expected] == masked
    assert [masking.masked_text(value, ("email",)) for value in masked] == masked


def test_a_masked_text_takes_time_that_is_linear_in_its_length(sail: Engine) -> None:
    long = "a" * 2_000_000 + " @ " + "x@" + "a." * 1_000_000
    frame = bronze(sail, [{"part": long}]).select(masking.masked(F.col("part"), ("email",)).alias("part"))
    assert masking.masked_text(long, ("email",)) == frame.collect()[0]["part"]


def people(folder: Path, **more: Any) -> Any:
    columns = [
        text("name", primaryKey=True, primaryKeyPosition=1),
        text("contact", logicalTypeOptions={"maxLength": 10}, **EMAIL),
        integer("age"),
        text("note", logicalTypeOptions={"pattern": "^[a-z ]*$"}),
    ]
    return toy_contracts.contract(folder, "silver/toys/people", columns, **more)


ROWS = [
    {"name": "ann", "contact": "ann@example.org", "age": "5", "note": "fine"},
    {"name": "bo", "contact": "see bo(at)example.org", "age": "5", "note": "fine"},
    {"name": "cy", "contact": None, "age": "cy@example.org", "note": "fine"},
    {"name": "di", "contact": "x", "age": "5", "note": "Di@example.org"},
]


def test_an_event_is_judged_by_the_masked_value_as_in_silver(sail: Engine, tmp_path: Path) -> None:
    contract = people(tmp_path)
    rows = masking.masked_columns(contract, verdict.typed(_bronze_of(sail), contract))
    judged = in_order(verdict.judge(rows, contract, {}))
    for sent, row in zip(ROWS, judged, strict=True):
        values, broken = event.check(sent, contract)
        assert [(rule.code, "@" in rule.observed) for rule in broken] == [
            (reason["code"], False) for reason in row["_reasons"]
        ]
        assert values["contact"] == row["contact"]
    assert [row["contact"] for row in judged] == ["[email]", "see [email]", None, "x"]


def _bronze_of(engine: Engine) -> Any:
    frame = bronze(engine, [{"part": json.dumps(row)} for row in ROWS])
    texts = [F.get_json_object("part", f"$.{name}").alias(name) for name in ROWS[0]]
    return frame.select(*texts, *[name for name in frame.columns if name.startswith("_")])


LANDED = (
    "name,contact,age,note\nann,ann@example.org,5,fine\nbo,bo@example.org and more,5,fine\n"
    "cy,x,cy@example.org,fine\ndi,x,5,Di@example.org\nel,el@example.org\n"
)


@pytest.fixture(params=["increment", "snapshot"])
def landed(request: pytest.FixtureRequest, make_pipeline: MakePipeline, tmp_path: Path) -> Any:
    columns = [column for column in _document(tmp_path) if column["name"] != "note"]
    pipeline = make_pipeline(columns=[*columns, text("note")], delivery=request.param, silver={"quality": []})
    pipeline.land(LANDED)
    return pipeline


def _document(folder: Path) -> list[dict[str, Any]]:
    return [
        text("name", primaryKey=True, primaryKeyPosition=1),
        text("contact", logicalTypeOptions={"maxLength": 12}),
        integer("age"),
        text("note"),
    ]


def test_no_version_and_nothing_shown_holds_what_is_masked_and_bronze_does(
    landed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = redeclared_silver(landed, None)(as_arrived)
    assert landed.run(landed.bronze, before).success
    assert "ann@example.org" not in str(landed.rows("silver"))
    assert "ann@example.org" in str(landed.rows("quarantine"))  # too long, since nothing is masked yet
    name, columns = landed.contract.table, _document(tmp_path)
    columns[1] |= EMAIL
    contract = toy_contracts.contract(tmp_path, str(name), columns, winner="_ingest_id desc", nullTokens=["NA"])
    landed.platform.contracts[name] = contract
    assert landed.run(redeclared_silver(landed, None, contract)(_with_copy)).success
    clean = {row["name"]: row["contact"] for row in landed.rows("silver")}
    assert clean == {"ann": "[email]", "di": "x"}
    rejected = landed.rows("quarantine")
    assert sorted(reason["code"] for row in rejected for reason in row["_reasons"]) == [
        "age_type", "contact_length", "malformed_row",
    ]  # fmt: skip
    assert "@" not in str(rejected)
    assert json.loads(rejected[0]["_row"])["contact"] == "[email] and more"
    quarantine = Quarantine.of(landed.platform, name)
    for row in rejected:
        record = quarantine.record(row["_record_id"])
        show_record(record)
        assert "@example.org" not in str(record)
        assert "[email]" in str(record["source"]["line"])
    assert "@example.org" not in capsys.readouterr().out
    assert "ann@example.org" in str(landed.rows("bronze"))


def _with_copy(rows: Any) -> Any:
    """What a transform computes into a masked column is masked too."""
    return rows.withColumn("contact", F.concat(F.col("contact"), F.lit("")))
