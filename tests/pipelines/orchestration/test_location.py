"""A domain that Dagster refuses, alone or beside the others, is left out with its place; the others stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

from pipelines.contracts.domain import CostTags, Domain
from pipelines.contracts.load import Contracts
from pipelines.errors import DefinitionError, GoldpathError
from pipelines.governed.asset import governed_asset
from pipelines.governed.declaration import PRIORITY, GovernedRun, Written
from pipelines.orchestration.location import misfits, parts
from pipelines.orchestration.members import Members, members
from tests.pipelines.toy_contracts import TAGS

HOURLY = "0 * * * *"


def asset(key: str, *deps: str) -> dg.AssetsDefinition:
    def work(run: GovernedRun) -> Iterator[Written]:
        """Writes nothing. Grain: none."""
        yield from ()

    parents = [dep.split("/") for dep in deps]
    return governed_asset(key=key.split("/"), kind="ops", owner="toy-data", tags=TAGS, kinds=("json",), deps=parents)(
        work
    )


def domain(name: str, *declared: Any) -> Members:
    """The members of a domain whose module has these objects, and an asset `ops/<name>/x` if there are none."""
    module = ModuleType(f"assets.{name}.made_by_hand")
    own = Domain(name, "toy-data", CostTags("cc-1", "toys", "toys", "toys"), Contracts())
    for number, each in enumerate((own, *(declared or [asset(f"ops/{name}/x")]))):
        setattr(module, f"thing_{number}", each)
    return members(name, [module])


def refused(*found: Members) -> dict[str, GoldpathError]:
    return misfits({each.domain.name: each for each in found}, taken=["replay_quarantine"])


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ([asset("ops/toys/a", "ops/toys/b"), asset("ops/toys/b", "ops/toys/a")], "in a circle: ops/toys/"),
        ([asset("ops/toys/a", "ops/bricks/typed_wrongly")], "no asset of the domain bricks is.*such as ops/bricks/x"),
        ([asset("ops/toys/a"), dg.define_asset_job("bricks_deploy", ["ops/toys/a"])], "does not begin with toys_"),
        ([asset("ops/toys/a"), dg.define_asset_job("toys_eu_job", ["ops/toys/a"])], "those of the domain toys_eu"),
        ([asset("ops/toys/a"), dg.define_asset_job("toys_job", ["ops/toys/none"])], r"\['ops/toys/none'\] were selec"),
        ([asset("features/toys/a"), dg.define_asset_job("toys_online", ["features/toys/a"])], "two of this name"),
        ([dg.ScheduleDefinition(name="toys_s", cron_schedule=HOURLY, job_name="toys_none")], "toys_none.*not found"),
        ([dg.ScheduleDefinition(name="s", cron_schedule=HOURLY, job_name="bricks_deploy")], "does not begin with toys"),
    ],
)  # fmt: skip
def test_a_domain_that_does_not_fit_is_refused_alone(declared: list[Any], words: str) -> None:
    errors = refused(domain("bricks"), domain("toys", *declared), domain("toys_eu"))
    assert list(errors) == ["toys"]
    with pytest.raises(DefinitionError, match=words):
        raise errors["toys"]


def test_a_job_of_a_domain_has_no_name_that_the_platform_gives() -> None:
    job = dg.define_asset_job("replay_quarantine", ["ops/replay/a"])
    assert "the platform has one of this name" in str(refused(domain("replay", asset("ops/replay/a"), job))["replay"])


def test_domains_in_a_circle_are_refused_and_those_that_read_them_are_not() -> None:
    circle = domain("one", asset("ops/one/a", "ops/two/a")), domain("two", asset("ops/two/a", "ops/one/a"))
    errors = refused(*circle, domain("third", asset("ops/third/a", "ops/one/a")))
    assert sorted(errors) == ["one", "two"]
    assert "ops/one/a -> ops/two/a" in str(errors["one"]) or "ops/two/a -> ops/one/a" in str(errors["one"])


def test_what_follows_from_domains_with_alike_names_has_names_of_its_own() -> None:
    names = ("shop", "shop_online", "shop_", "shop_new", "shop_outcomes", "Shop", "json", "silver", "ops")
    kinds = ("features", "serving", "landing", "training")
    found = [domain(name, *(asset(f"{zone}/{name}/online") for zone in kinds)) for name in names]
    assert refused(*found) == {}


@pytest.mark.parametrize("key", [["landing", "bricks", "parts"], ["silver", "bricks", "parts"], ["parts"]])
def test_an_external_asset_of_another_domain_does_not_load(key: list[str]) -> None:
    with pytest.raises(DefinitionError, match="does not name the domain toys"):
        domain("toys", [dg.AssetSpec(key)])


def test_an_external_asset_that_is_declared_twice_does_not_load() -> None:
    specs = [dg.AssetSpec(["landing", "toys", "parts"], description=text) for text in ("one", "another")]
    with pytest.raises(DefinitionError, match=r"landing/toys/parts.*declared twice"):
        domain("toys", specs)


def test_assets_in_a_list_are_members() -> None:
    found = domain("toys", [asset("ops/toys/a"), asset("ops/toys/b")])
    assert sorted(spec.key.path[2] for spec in found.specs) == ["a", "b"]


def test_the_assets_of_a_domain_have_its_priority_and_one_of_their_own_stays() -> None:
    found = domain("toys")
    assert [asset.tags_by_key[asset.key].get(PRIORITY) for asset in _assets(found)] == [None]
    urgent = replace(found, domain=replace(found.domain, priority=3))
    assert [asset.tags_by_key[asset.key][PRIORITY] for asset in _assets(urgent)] == ["3"]
    [own] = [
        asset.map_asset_specs(lambda spec: spec.replace_attributes(tags={PRIORITY: "7"})) for asset in urgent.assets
    ]
    assert [asset.tags_by_key[asset.key][PRIORITY] for asset in _assets(replace(urgent, assets=(own,)))] == ["7"]


def _assets(found: Members) -> list[dg.AssetsDefinition]:
    return [asset for asset in parts(found).assets if isinstance(asset, dg.AssetsDefinition)]
