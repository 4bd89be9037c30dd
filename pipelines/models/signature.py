"""Signatures of models: this home registered these files with this evidence, and no byte of them changed since.

A signature is a Sigstore bundle over a model's files and its evidence, as OpenSSF Model Signing defines it; other tools
verify it with the public key: `model_signing verify key`. The pair of keys is made with the first signature. Whoever
registers needs both keys; whoever serves needs the public one.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import ModelError, SettingsError
from pipelines.machine import files, locks
from pipelines.settings import Settings

SIGNATURE_FOLDER, SIGNATURE_FILE = "signature", "model.sig"
PRIVATE_KEY, PUBLIC_KEY = "model_signing.pem", "model_signing.pub.pem"


def sign(settings: Settings, folder: Path, *, into: Path) -> Path:
    """Signs everything below a folder, which holds a model and its evidence.

    Args:
        settings: They name the folder of the keys.
        folder: The parent of the model's folder and of its evidence.
        into: Where the signature is written, outside of `folder`.

    Returns:
        The signature's file.

    Raises:
        ModelError: for a link among the files.
        SettingsError: if there is a public key without its private key: this home may verify only.
    """
    from model_signing import hashing, signing

    into.mkdir(parents=True, exist_ok=True)
    hashes = hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE_FOLDER], ignore_git_paths=False)
    config = signing.Config().use_elliptic_key_signer(private_key=_private_key(settings))
    try:
        config.set_hashing_config(hashes).sign(folder, into / SIGNATURE_FILE)
    except ValueError as error:
        raise _refused(folder, f"it cannot be signed: {error}", "train it again; a model holds plain files") from None
    return into / SIGNATURE_FILE


def verify(settings: Settings, folder: Path) -> None:
    """Checks the signature in a model's folder; `folder` is the parent of the model's files and of its evidence.

    Raises:
        ModelError: if there is none, it was made with another key, or a file differs, is absent or was added.
    """
    from model_signing import verifying

    signature, public = folder / SIGNATURE_FOLDER / SIGNATURE_FILE, _keys(settings) / PUBLIC_KEY
    if not signature.is_file() or signature.is_symlink():
        raise _refused(folder, "it is not signed", "register it again: goldpath materialize its asset models/…")
    if not public.is_file():
        raise _refused(folder, f"there is no public key {public}", "copy the key from where models are registered")
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(folder, signature)
    except Exception as error:  # noqa: BLE001  whatever a forged bundle makes the library raise, it is no signature
        observed = f"its signature does not hold: {type(error).__name__}: {str(error).strip() or 'no match'}"
        raise _refused(folder, observed, "do not use these files: find out who changed them") from None


def _private_key(settings: Settings) -> Path:
    """The private key's file; makes the pair of keys if there is none."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = _keys(settings)
    private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    with locks.held(settings.root / "locks" / "model_keys.lock", purpose="the keys that sign models"):
        if public.exists() and not private.exists():
            raise SettingsError(
                object=f"file {private}",
                observed="it does not exist, and the public key does: models can be verified here, not registered",
                expected="the private key that belongs to it",
                next_step="register where the private key is, or restore it from a backup of the home folder",
            )
        if not private.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            files.secret(private, pem.decode)
        loaded = serialization.load_pem_private_key(private.read_bytes(), None)
        pem = loaded.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if not public.exists() or public.read_bytes() != pem:
            files.replace(public, pem)
    return private


def _keys(settings: Settings) -> Path:
    return settings.model_keys or settings.root / "keys"


def _refused(folder: Path, observed: str, next_step: str) -> ModelError:
    return ModelError(
        object=f"model in {folder}",
        observed=observed,
        expected="a signature over its files and its evidence, made with the key of this home when it was registered",
        next_step=next_step,
    )
