"""Numbers of pushed events."""

from __future__ import annotations

import ast
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.push import body


@pytest.mark.parametrize(
    "text", ["1.50", "-0.0", "1e3", "0.30000000000000004", "5e-324", "1E+22", "12345678901234567890"]
)
def test_a_number_that_a_float_holds_is_kept(text: str) -> None:
    assert body.events(b'{"x": [%s]}' % text.encode(), "application/json") == [{"x": [ast.literal_eval(text)]}]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_as_it_is_written_is_kept(value: float) -> None:
    [event] = body.events(b'{"x": %s}' % repr(value).encode(), "application/json")
    assert event["x"] == value
    assert math.copysign(1, event["x"]) == math.copysign(1, value)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_a_decimal_is_kept_exactly_or_refused(value: Decimal) -> None:
    text = f"{value:f}"
    pushed = b'{"x": %s}' % text.encode()
    if "." in text and Decimal(repr(float(text))) != value:
        with pytest.raises(RequestError, match="send it as a text"):
            body.events(pushed, "application/json")
    else:
        [event] = body.events(pushed, "application/json")
        assert Decimal(repr(event["x"])) == value
