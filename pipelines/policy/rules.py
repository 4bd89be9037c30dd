"""What policy requires of an asset: an owner, cost tags, and a data class not below that of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.contracts.model import COST_TAGS
from pipelines.errors import DefinitionError

#: From the least to the most protected.
DATA_CLASSES = ("public", "internal", "confidential", "restricted")


def require_tags(asset: str, *, owner: str, tags: Mapping[str, str]) -> None:
    """Checks, when an asset is defined, that it has an owner, every cost tag and a known data class.

    Args:
        asset: The asset's key, slash-joined.
        owner: The owning team.
        tags: Its cost tags.

    Raises:
        DefinitionError: naming the asset, and the tag that is missing or wrong.
    """
    if not owner:
        raise DefinitionError(
            object=f"asset {asset}",
            observed="it has no owner",
            expected="the team that is responsible for it",
            next_step="set the team in the contract (team.name) or in the decorator (owner=…)",
        )
    for tag in COST_TAGS:
        if not tags.get(tag):
            raise DefinitionError(
                object=f"asset {asset}",
                observed=f"tag {tag!r} is {tags.get(tag)!r}",
                expected=f"a value for each of {', '.join(COST_TAGS)}",
                next_step=f"set {tag!r} in the contract's customProperties.tags, or in the decorator's tags",
            )
    if tags["data_class"] not in DATA_CLASSES:
        raise DefinitionError(
            object=f"asset {asset}",
            observed=f"tag 'data_class' is {tags['data_class']!r}",
            expected=f"one of {', '.join(DATA_CLASSES)}",
            next_step="correct the tag in the contract's customProperties.tags, or in the decorator's tags",
        )


def require_data_class(asset: str, *, tags: Mapping[str, str], input_classes: Mapping[str, str]) -> None:
    """Checks, when an asset runs, that it does not read a table that is more protected than itself.

    Args:
        asset: The asset's key, slash-joined.
        tags: Its cost tags.
        input_classes: The data class of each table that it reads, by table name.

    Raises:
        DefinitionError: if an input is more protected than the asset.
    """
    for name, data_class in input_classes.items():
        if DATA_CLASSES.index(data_class) > DATA_CLASSES.index(tags["data_class"]):
            raise DefinitionError(
                object=f"asset {asset}",
                observed=f"its data class is {tags['data_class']!r}, and it reads {name}, which is {data_class!r}",
                expected=f"at least {data_class!r}",
                next_step="raise the asset's data_class, or read a table without the protected columns",
            )
