"""Whether a model's files may serve: what a version is in the registry, or which one has the alias, is not enough.

Whoever can write to the registry can give the alias `champion` to any files. So whoever serves asks here before loading
them: their digest, and beside them the run record with their checksums, a gate that they passed, and their card.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.errors import GoldpathError, ModelError
from pipelines.models import gate, model_files
from pipelines.models.evidence import CARD_FILE, GATE_FILE
from pipelines.models.registry import ABSENT, EVIDENCE_FOLDER, RegisteredModel, Registry
from pipelines.models.run_record import RunRecord


def champion(registry: Registry, name: str) -> tuple[RegisteredModel, Path]:
    """The champion of a model, and the folder with its files, which may serve.

    Raises:
        ModelError: if there is no champion, or it may not serve.
    """
    from mlflow.exceptions import MlflowException

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
    require(folder, name=name, digest=model.digest)
    return model, folder


def require(folder: Path, *, name: str, digest: str) -> None:
    """Raises ModelError unless a model may serve.

    Args:
        folder: The model's files; the evidence lies beside it, in `evidence`.
        name: The model's name in the registry.
        digest: Of the files, as they were registered.
    """
    model_files.verify(folder, digest)
    evidence = folder.parent / EVIDENCE_FOLDER
    links = [path.name for path in [evidence, *sorted(evidence.rglob("*"))] if path.is_symlink()]
    if links:
        raise _refused(name, digest, f"{', '.join(links)} among its evidence is a link", "plain files")
    if RunRecord.read(evidence).artifacts != model_files.checksums(folder):
        raise _refused(name, digest, "its files are not those of its run record", "the files that were trained")
    if not _passed(evidence, name, digest):
        raise _refused(name, digest, "it did not pass the gate", f"a model that won every comparison in {GATE_FILE}")
    card = evidence / CARD_FILE
    if not card.is_file() or card.read_text(encoding="utf-8").partition("\n")[0] != f"# {name}":
        raise _refused(name, digest, f"no {CARD_FILE} of this model", f"a card whose title is {name}")


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
        next_step="do not serve it: find out who gave it the alias `champion`, and give that to a version that the "
        "model's assets trained and registered",
    )
