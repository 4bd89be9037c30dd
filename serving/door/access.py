"""The bearer token of the service: configured, or made once and readable by its owner alone."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from pipelines.settings import Settings


def token(settings: Settings) -> SecretStr:
    """GOLDPATH_SERVING_TOKEN, else what `<home>/serving/token` holds, which is made on first use."""
    if settings.serving_token:
        return settings.serving_token
    path = _file(settings)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
        # A link fails where another process was first; its token then holds.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
        temporary.unlink()
    return SecretStr(path.read_text(encoding="ascii").strip())


class TokenCheck:
    """Compares what a caller presents with the token, in a time that tells nothing about it. Holds only its hash."""

    def __init__(self, token: SecretStr) -> None:
        self._expected = _hash(token.get_secret_value().encode())

    def accepts(self, authorization: bytes | None) -> bool:
        """Whether an `Authorization` header is `Bearer` and the token."""
        scheme, _, presented = (authorization or b"").partition(b" ")
        return hmac.compare_digest(_hash(presented.strip()), self._expected) and scheme.lower() == b"bearer"


def _hash(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _file(settings: Settings) -> Path:
    return settings.root / "serving" / "token"
