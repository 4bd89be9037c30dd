"""The demo of the packages: SmolLM2 learns to sum up docstrings, from the installed packages to a registered model."""

from __future__ import annotations

import dagster as dg

from assets.packages.domain import packages
from assets.packages.model import SUMMARIES
from pipelines.orchestration.demo_story import LanguageDemo

language = dg.define_asset_job(
    "packages_language",
    selection=dg.AssetSelection.assets(SUMMARIES.key("models")).upstream().required_multi_asset_neighbors(),
    description="Everything from the installed packages to the registered model of summaries.",
    tags={"goldpath/domain": packages.name},
)
DEMO = LanguageDemo(
    domain=packages,
    title="SmolLM2 learns to sum up docstrings, by adapters, from the packages that are installed",
    model=SUMMARIES,
    job="packages_language",
    duration="About 8 minutes on two cores.",
)
