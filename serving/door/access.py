"""The bearer token of the services: configured, or generated once into a file that only its owner may read."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from pydantic import SecretStr

from pipelines.machine import files
from pipelines.settings import Settings


def token(settings: Settings) -> SecretStr:
    """The value of GOLDPATH_SERVING_TOKEN, else the content of `<home>/serving/token`, generated on first use."""
    if settings.serving_token:
        return settings.serving_token
    return SecretStr(files.secret(settings.root / "serving" / "token", lambda: secrets.token_urlsafe(32)))


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
