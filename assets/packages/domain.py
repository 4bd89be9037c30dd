"""The packages domain: who answers and pays for it, and its contracts. Its tables have no days."""

from __future__ import annotations

from pipelines.contracts.domain import CostTags, Domain

packages = Domain.at(
    __file__,
    owner="package-data",
    cost=CostTags("cc-1400", "engineering", "package-texts", "summaries", data_class="internal"),
)
contract = packages.contract
