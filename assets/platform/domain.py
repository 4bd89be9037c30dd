"""The platform's own domain: upkeep, quality pages, the list of sources."""

from __future__ import annotations

from pipelines.contracts.domain import CostTags, Domain

platform = Domain.at(__file__, owner="platform", cost=CostTags("cc-1000", "platform", "goldpath", "upkeep"))
