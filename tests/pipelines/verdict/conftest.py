"""The contract of toy blocks, and functions that judge rows by it, on the suite's engine or on both in turn."""

from __future__ import annotations

import pytest

from pipelines.contracts.model import Contract
from pipelines.engine.session import Engine
from tests.pipelines.verdict.judged_blocks import Judge, blocks, judging


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return blocks(tmp_path_factory.mktemp("contracts"))


@pytest.fixture(scope="session")
def judged(engine: Engine, contract: Contract) -> Judge:
    """Judges rows on the engine of the suite."""
    return judging(engine, contract)


@pytest.fixture(scope="session")
def judged_on_each(each_engine: Engine, contract: Contract) -> Judge:
    """Judges rows on both engines in turn."""
    return judging(each_engine, contract)
