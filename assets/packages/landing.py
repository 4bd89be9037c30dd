"""Landing assets: what the Python environment of the platform holds, extracted when it has changed."""

from __future__ import annotations

from assets.packages.domain import contract
from pipelines.medallion.landing_assets import landing_asset
from pipelines.sources.distributions import DistributionMetadata
from pipelines.sources.docstrings import Docstrings

landed_metadata = landing_asset(contract("bronze/metadata"), DistributionMetadata())
landed_docstrings = landing_asset(contract("bronze/docstrings"), Docstrings(functions=100, modules=20))
