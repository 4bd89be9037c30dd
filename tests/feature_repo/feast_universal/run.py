"""Runs Feast's own tests of offline stores, from a checkout of its repository, against Goldpath's.

    git clone --depth 1 https://github.com/feast-dev/feast
    .venv/bin/python tests/feature_repo/feast_universal/run.py feast [--engine spark]

The suite does not run them, since it has no checkout; what they found is among the tests of the offline store.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]
#: Packages that Feast's test modules import for stores of other kinds, which start servers in containers.
FOR_OTHER_STORES = ("testcontainers", "minio", "keycloak")
TESTS = "tests/integration/offline_store"
#: A test or a file of tests, and why it cannot apply; docs/features.md has the reasons too.
NOT_FOR_US = {
    "test_dqm_validation.py": "imports a module that Great Expectations no longer has",
    "test_registration_and_retrieval_from_custom_s3_endpoint": "Feast itself skips it",
    "test_non_entity_mode_preserves_multiple_timestamps": "of Feast's store on Ray: a range of time asks for each row, "
    "where all other stores ask for each entity at the end of the range",
    "test_reorder_columns": "writes doubles to a column of type float, which would round them",
    "test_writing_consecutively_to_offline_store": "writes maps and structs, which no contract has",
}


def stand_in(name: str) -> type[MagicMock]:
    """A class of a package that is not there."""
    if name.startswith("__"):
        raise AttributeError(name)
    return MagicMock


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets the packages for stores of other kinds be imported where they are not installed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in FOR_OTHER_STORES:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        module.__getattr__ = stand_in  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="the folder of Feast's repository")
    parser.add_argument("--engine", choices=("embedded", "spark"), default="embedded")
    parser.add_argument("tests", nargs="*", default=[TESTS], help=f"of sdk/python [{TESTS}]")
    options, further = parser.parse_known_args(arguments)
    python = options.checkout.resolve() / "sdk" / "python"
    # Feast is the installed one, and of the packages `tests` that of the checkout.
    sys.path.insert(0, str(PROJECT))
    import feature_repo.feast_api  # noqa: F401

    sys.path[:] = [
        str(python),
        str(HERE),
        *(path for path in sys.path if path not in ("", str(PROJECT), str(HERE))),
        str(PROJECT),
    ]
    sys.meta_path.append(StandIns())
    os.environ |= {
        "IS_TEST": "True",
        "FEAST_IS_LOCAL_TEST": "True",
        "FULL_REPO_CONFIGS_MODULE": "goldpath_sources",
        "GOLDPATH_ENGINE": options.engine,
        "GOLDPATH_HOME": tempfile.mkdtemp(prefix="feast-universal-"),
        "GOLDPATH_PROFILE": "test",
    }
    os.chdir(python)
    own = ["-c", os.devnull, f"--rootdir={python}", "-p", "no:cacheprovider", "--integration", "--tb=short", "-q"]
    files = [f"--ignore-glob=*/{name}" for name in NOT_FOR_US if name.endswith(".py")]
    tests = " and ".join(f"not {name}" for name in NOT_FOR_US if not name.endswith(".py"))
    return pytest.main([*own, *files, "-k", tests, *further, *options.tests])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
