"""The versions of Delta Lake and Spark in pyproject.toml are those of the JARs that are pinned by digest."""

from __future__ import annotations

import tomllib

from packaging.requirements import Requirement

from pipelines.engine.jars import DELTA_JARS
from pipelines.settings import PROJECT


def _requirements() -> dict[str, Requirement]:
    document = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = map(Requirement, document["project"]["dependencies"])
    return {requirement.name: requirement for requirement in requirements}


def test_every_delta_jar_has_the_version_of_the_delta_spark_package() -> None:
    [pin] = _requirements()["delta-spark"].specifier
    assert {jar.artifact: (pin.operator, jar.version) for jar in DELTA_JARS} == {
        jar.artifact: ("==", pin.version) for jar in DELTA_JARS
    }


def test_the_delta_spark_jar_is_built_for_the_allowed_spark_version() -> None:
    [artifact] = [jar.artifact for jar in DELTA_JARS if jar.artifact.startswith("delta-spark")]
    _, spark, _ = artifact.split("_")  # delta-spark, Spark's version, Scala's version
    assert _requirements()["pyspark"].specifier.contains(f"{spark}.0")
