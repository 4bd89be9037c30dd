"""The token is generated once, only its owner may read it, and it is never shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from pipelines.settings import Settings
from serving.door.access import TokenCheck, token, token_file

SERVICE = "shop.returns"


def test_a_token_is_generated_once_and_only_its_owner_may_read_it(make_settings: Callable[[], Settings]) -> None:
    settings = make_settings()
    first = token(settings, SERVICE)
    file = token_file(settings, SERVICE)
    assert len(first.get_secret_value()) >= 40
    assert token(settings, SERVICE) == first
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_configured_token_takes_precedence_and_is_not_written(make_settings: Callable[[], Settings]) -> None:
    settings = make_settings().model_copy(update={"serving_tokens": {SERVICE: SecretStr("chosen")}})
    assert token(settings, SERVICE).get_secret_value() == "chosen"
    assert not (token_file(settings, SERVICE)).exists()


def test_the_token_is_in_no_repr(make_settings: Callable[[], Settings]) -> None:
    settings = make_settings().model_copy(update={"serving_tokens": {SERVICE: SecretStr("chosen")}})
    shown = repr(settings) + repr(token(settings, SERVICE)) + repr(vars(TokenCheck(token(settings, SERVICE))))
    assert "chosen" not in shown


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Bearer chose", b"Basic chosen", b"chosen"])
def test_only_bearer_with_the_token_is_accepted(header: bytes | None) -> None:
    assert not TokenCheck(SecretStr("chosen")).accepts(header)
    assert TokenCheck(SecretStr("chosen")).accepts(b"Bearer chosen")


def test_each_service_has_a_token_of_its_own(make_settings: Callable[[], Settings]) -> None:
    settings = make_settings()
    assert token(settings, "shop.returns") != token(settings, "shop.fraud")
