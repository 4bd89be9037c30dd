"""Formats: each name in contracts has its module."""

from __future__ import annotations

from typing import get_args

import pytest

from pipelines.contracts.model import Format
from pipelines.landing.formats.base import file_format


@pytest.mark.parametrize("name", get_args(Format))
def test_every_format_of_contracts_has_its_module(name: Format) -> None:
    module = file_format(name)
    assert callable(module.read)
    assert isinstance(module.NAMES_EVERY_COLUMN, bool)
