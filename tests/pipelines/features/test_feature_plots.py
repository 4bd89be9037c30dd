"""Plots of features are SVG images that every browser reads, whatever names, labels and values they show."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from pipelines.features import plots
from pipelines.quality.plots import data_uri

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ['a & b < "c">', "größe\x00\n", "x" * 80]


def drawn(image: bytes, kind: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(image).findall(f"{SVG}{kind}")


def shown(image: bytes) -> list[str | None]:
    return [text.text for text in drawn(image, "text")]


def test_features_over_time_show_each_name_and_break_lines_where_a_period_has_no_values() -> None:
    middle = [1.0, 2.0, math.nan, 4.0, 3.0]
    bands = [
        plots.Band(
            name, [value - 1 for value in middle], middle, [value + 1 for value in middle], [0, 0.5, 1, 0, 0], True
        )
        for name in NAMES
    ]
    image = plots.bands(bands, title="Features & more")
    assert data_uri(image).startswith("data:image/svg+xml;base64,")
    assert {'a & b < "c">', "größe??", "x" * 43 + "…", "0 to 5", "Features & more"} <= set(shown(image))
    lines = [line.attrib["points"] for line in drawn(image, "polyline")]
    assert [len(points.split()) for points in lines] == [2, 2] * 3
    assert [len(drawn(image, kind)) for kind in ("polygon", "circle", "rect")] == [6, 12, 6]
    xs, ys = zip(*[map(float, point.split(",")) for point in lines[0].split()], strict=True)
    assert (xs[0] < xs[1], ys[0] > ys[1]) == (True, True)


@pytest.mark.parametrize("values", [[math.nan] * 3, [7.0] * 3, [math.inf, 1.0, -math.inf]])
def test_a_feature_without_a_spread_is_drawn(values: list[float]) -> None:
    image = plots.bands([plots.Band("x", values, values, values, [1, 1, 1], False)], title="")
    assert shown(image)[-1] in ("no value", "7 to 7", "1 to 1")
    assert drawn(plots.bands([], title="none"), "polyline") == []


def test_pairs_of_distributions_show_reference_now_and_labels() -> None:
    pair = plots.Pair("colour", [0.5, 0.5, 0.0], [0.1, 0.2, 0.7], ("blue & green", "red"), True)
    image = plots.pairs([pair] * 12, title="Drift")
    assert (len(drawn(image, "rect")), len(drawn(image, "polyline"))) == (24, 12)
    assert {"colour", "blue & green", "red"} <= set(shown(image))
    assert drawn(plots.pairs([plots.Pair("x", [0, 0], [0, 0], ("a", "a"), False)], title=""), "polyline")


def test_durations_are_drawn_over_time_on_a_logarithmic_scale() -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    points = [(begin + timedelta(minutes=minute), seconds) for minute, seconds in ((0, 0.02), (30, 0.2), (60, 2.0))]
    image = plots.seconds_over_time({"filled p50": points, "filled p99": points[:1]}, title="Freshness")
    assert {"0.01 s", "0.1 s", "1 s", "10 s", "filled p50", "2026-03-01 00:00:00", "2026-03-01 01:00:00"} <= set(
        shown(image)
    )
    [curve] = [line for line in drawn(image, "polyline") if len(line.attrib["points"].split()) == 3]
    ys = [float(point.split(",")[1]) for point in curve.attrib["points"].split()]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
    assert shown(plots.seconds_over_time({"zero": [(begin, 0.0)]}, title="Freshness"))
