"""Whether a model's files may serve: what a version is in the registry, or which one has the alias, is not enough.

Whoever can write to the registry can give the alias `champion` to any files. So whoever serves asks here before loading
them: their digest, their signature, and beside them the run record with their checksums, a gate that they passed, and
their complete card.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.errors import GoldpathError, ModelError
from pipelines.models import card_check, gate, model_files, signature
from pipelines.models.evidence import CARD_FILE, GATE_FILE
from pipelines.models.registry import ABSENT, EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.models.run_record import RunRecord
from pipelines.settings import Settings


def champion(settings: Settings, name: str) -> tuple[RegisteredModel, Path]:
    """The champion of a model, and the folder with its files, which may serve.

    Raises:
        ModelError: if there is no champion, or it may not serve.
    """
    from mlflow.exceptions import MlflowException

    registry = Registry(settings)
    model = registry.champion(name)
    if model is None:
        raise ModelError(
            object=f"model {name}",
            observed="it has no champion",
            expected="a version that passed the gate",
            next_step=f"goldpath materialize models/{name.replace('.', '/')}; its check says what the model lacks",
        )
    try:
        folder = registry.download_run(model.run_id)
    except (OSError, MlflowException) as error:
        if isinstance(error, MlflowException) and error.error_code not in ABSENT:
            raise  # the registry did not answer
        observed = f"version {model.version} lacks its files or its evidence: {error}"
        raise _refused(name, model.digest, observed, "a model with the evidence of its training") from None
    require(settings, folder, name=name, digest=model.digest)
    return model, folder


def objection(settings: Settings, model: RegisteredModel) -> str | None:
    """Why a registered version may not serve, such as an incomplete card; None if it may."""
    try:
        folder = Registry(settings).download_run(model.run_id)
        require(settings, folder, name=model.name, digest=model.digest)
    except ModelError as error:
        return error.observed
    return None


def require(settings: Settings, folder: Path, *, name: str, digest: str) -> None:
    """Raises ModelError unless a model may serve.

    Args:
        settings: They name the key that signatures are verified with.
        folder: The model's files; the evidence lies beside it in `evidence`, the signature of both in `signature`.
        name: The model's name in the registry.
        digest: Of the files, as they were registered.
    """
    model_files.verify(folder, digest)
    signature.verify(settings, folder.parent)
    evidence = folder.parent / EVIDENCE_FOLDER
    if RunRecord.read(evidence).artifacts != model_files.checksums(folder):
        raise _refused(name, digest, "its files are not those of its run record", "the files that were trained")
    if not _passed(evidence, name, digest):
        raise _refused(name, digest, "it did not pass the gate", f"a model that won every comparison in {GATE_FILE}")
    card = evidence / CARD_FILE
    missing = card_check.missing(card.read_text(encoding="utf-8") if card.is_file() else "", name)
    if missing:
        raise _refused(name, digest, f"its {CARD_FILE} lacks {missing[0]}", "a complete card of this model")


def _passed(evidence: Path, name: str, digest: str) -> bool:
    """Whether the verdict is a pass. It is computed again from the figures, and refused if it differs."""
    try:
        return gate.read(json.loads((evidence / GATE_FILE).read_text(encoding="utf-8"))).passed
    except (OSError, ValueError, KeyError, TypeError, GoldpathError) as error:
        observed = f"no complete {GATE_FILE}: {type(error).__name__}: {error}"
        raise _refused(name, digest, observed, "the gate's verdict with the figures that it follows from") from None


def _refused(name: str, digest: str, observed: str, expected: str) -> ModelError:
    return ModelError(
        object=f"model {name} ({digest[:12]})",
        observed=observed,
        expected=expected,
        next_step="do not serve it: goldpath model show lists the versions, and goldpath model card has the figures of "
        "one; if it has the alias `champion`, find out who gave it that, and promote a version that may serve",
    )
