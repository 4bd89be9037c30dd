"""Which request ids and trace contexts of callers are taken over."""

from __future__ import annotations

import pytest

from serving.door.tracing import from_headers

PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


def test_a_valid_trace_context_and_request_id_are_taken_over() -> None:
    trace = from_headers({b"traceparent": PARENT.encode(), b"x-request-id": b"call-7"})
    assert (trace.traceparent, trace.request_id) == (PARENT, "call-7")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00-x",
        PARENT.upper(),
        PARENT + "-more",
        f"ff-{'ab' * 16}-{'cd' * 8}-01",
        f"00-{'00' * 16}-{'cd' * 8}-01",
        f"00-{'ab' * 16}-{'00' * 8}-01",
    ],
)
def test_an_invalid_trace_context_is_dropped(traceparent: str) -> None:
    assert from_headers({b"traceparent": traceparent.encode()}).traceparent is None


def test_a_trace_context_of_a_later_version_is_passed_on_in_version_00() -> None:
    assert from_headers({b"traceparent": f"01-{PARENT[3:]}-more".encode()}).traceparent == PARENT


@pytest.mark.parametrize("request_id", [b"", b"a b", b"a" * 129, b"\xff"])
def test_a_request_without_a_valid_id_gets_a_new_one(request_id: bytes) -> None:
    first, second = (from_headers({b"x-request-id": request_id}).request_id for _ in range(2))
    assert len(first) == 36
    assert first != second
