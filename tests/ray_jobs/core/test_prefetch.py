"""Items that a thread gets ahead of their use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ray_jobs.core.prefetch import ahead


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_all_items_come_in_their_order(number: int) -> None:
    assert list(ahead(iter(range(number)))) == list(range(number))


def test_an_error_comes_at_the_place_of_its_item() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second item")

    fetched = ahead(items())
    assert next(fetched) == 1
    with pytest.raises(ValueError, match="the second item"):
        next(fetched)


def test_no_more_than_the_depth_is_got_ahead() -> None:
    got: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            got.append(number)
            yield number

    fetched = ahead(items(), depth=2)
    next(fetched)
    fetched.close()
    assert len(got) <= 4
