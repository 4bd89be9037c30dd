"""The bearer token of the services: configured, or generated once into a file that only its owner may read."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from pydantic import SecretStr

from pipelines.machine import files
from pipelines.settings import Settings

#: The name under which the server of pushed events has its token.
PUSH = "push"


def token(settings: Settings, service: str) -> SecretStr:
    """The token of one service; that of another is refused there.

    Args:
        settings: Their `serving_tokens` may hold it.
        service: `domain.name`, or `PUSH`.

    Returns:
        The configured one, else the content of `<home>/serving/tokens/<service>`, generated on first use.
    """
    if service in settings.serving_tokens:
        return settings.serving_tokens[service]
    return SecretStr(files.secret(token_file(settings, service), lambda: secrets.token_urlsafe(32)))


def token_file(settings: Settings, service: str) -> Path:
    """The file that holds the token of a service for which none is configured."""
    return settings.root / "serving" / "tokens" / service


class TokenCheck:
    """Compares presented tokens with the expected one in constant time. Keeps only the hash of the token."""

    def __init__(self, token: SecretStr) -> None:
        self._expected = _hash(token.get_secret_value().encode())

    def accepts(self, authorization: bytes | None) -> bool:
        """Whether the value of an `Authorization` header is `Bearer` followed by the token."""
        scheme, _, presented = (authorization or b"").partition(b" ")
        return hmac.compare_digest(_hash(presented.strip()), self._expected) and scheme.lower() == b"bearer"


def _hash(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
