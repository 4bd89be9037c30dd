"""What policy requires of an asset when it is defined, and when it runs."""

from __future__ import annotations

import pytest

from pipelines.contracts.model import COST_TAGS
from pipelines.errors import DefinitionError
from pipelines.policy import rules
from tests.pipelines.toy_contracts import TAGS


def test_an_asset_with_an_owner_and_all_tags_is_accepted() -> None:
    rules.require_tags("gold/toys/blocks", owner="toy-data", tags=TAGS)


@pytest.mark.parametrize("tag", COST_TAGS)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_tag_is_refused_with_asset_and_tag(tag: str, value: str | None) -> None:
    tags = {name: text for name, text in TAGS.items() if name != tag} | ({} if value is None else {tag: value})
    with pytest.raises(DefinitionError, match=f"asset gold/toys/blocks: tag '{tag}' is {value!r}"):
        rules.require_tags("gold/toys/blocks", owner="toy-data", tags=tags)


def test_a_missing_owner_is_refused_with_the_asset() -> None:
    with pytest.raises(DefinitionError, match="asset gold/toys/blocks: it has no owner"):
        rules.require_tags("gold/toys/blocks", owner="", tags=TAGS)


def test_an_unknown_data_class_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DefinitionError, match="'secret'.*public, internal, confidential, restricted"):
        rules.require_tags("gold/toys/blocks", owner="toy-data", tags=TAGS | {"data_class": "secret"})


@pytest.mark.parametrize("own", rules.DATA_CLASSES)
@pytest.mark.parametrize("input_class", rules.DATA_CLASSES)
def test_only_inputs_that_are_not_more_protected_are_accepted(own: str, input_class: str) -> None:
    tags, classes = TAGS | {"data_class": own}, {"silver/toys/blocks": input_class, "silver/toys/balls": "public"}
    if rules.DATA_CLASSES.index(own) >= rules.DATA_CLASSES.index(input_class):
        rules.require_data_class("gold/toys/blocks", tags=tags, input_classes=classes)
        return
    with pytest.raises(DefinitionError, match=f"{own}.*reads silver/toys/blocks, which is '{input_class}'"):
        rules.require_data_class("gold/toys/blocks", tags=tags, input_classes=classes)
