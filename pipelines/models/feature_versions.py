"""Which versions of its feature views a model was trained with: those that it goes on reading when it is asked."""

from __future__ import annotations

from pipelines.errors import ModelError
from pipelines.features.declaration import FeatureService, qualified, view_and_version
from pipelines.models.run_record import RunRecord
from pipelines.tables import TableId


def trained_with(record: RunRecord) -> dict[str, int]:
    """The version of each view whose table the training set was computed from, by the view's name."""
    tables = [TableId.parse(table) for table in record.dataset_versions]
    return dict(view_and_version(table) for table in tables if table.zone == "gold")


def as_trained(service: FeatureService, record: RunRecord, *, model: str) -> FeatureService:
    """The service with the versions that a model was trained with; where a view has one version alone, that one.

    Args:
        service: The service that the model's declaration names.
        record: The model's run record.
        model: The model, for the error.

    Raises:
        ModelError: for a version that is no longer declared, and where several are and the record names none.
    """
    trained, chosen = trained_with(record), {}
    for name, declared in service.versions.items():
        numbers = ", ".join(map(str, declared))
        view = qualified(service.domain, name)
        if name not in trained and len(declared) > 1:
            raise ModelError(
                object=f"model {model}",
                observed=f"its run record names no table of the view {view}; declared are the versions {numbers}",
                expected="a training set that `training_set_asset` made, whose tables tell the versions",
                next_step="train the model again",
            )
        chosen[name] = trained.get(name, min(declared))
        if chosen[name] not in declared:
            raise ModelError(
                object=f"model {model}",
                observed=f"it was trained with version {chosen[name]} of the view {view}; declared: {numbers}",
                expected="that version, since other values under the same names would be another question",
                next_step="declare its gold table again, or train the model with a version that is declared",
            )
    return service.at(chosen)
