"""The outcomes of predictions, read from the gold table that a plan names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pipelines.errors import NotFoundError
from pipelines.lakehouse.catalog import Catalog, text
from pipelines.settings import Settings
from pipelines.tables import TableId


class OutcomeTable:
    """Looks up outcomes; reads the table again only when it has a new version.

    Args:
        settings: Of the home folder.
        declared: The plan's `outcomes`: the names of the table and of the label's column.
    """

    def __init__(self, settings: Settings, declared: Mapping[str, Any]) -> None:
        self._catalog = Catalog(settings.lakehouse)
        self._table, self._label = TableId.parse(declared["table"]), declared["label"]
        self._seen = -1

    def known(self, predictions: Collection[str]) -> dict[str, Any]:
        """The labels of those predictions that are known by now, by id; empty if nothing changed since the last call.

        A table that does not exist yet has no outcomes.
        """
        if not predictions:
            return {}
        try:
            snapshot = self._catalog.snapshot(self._table)
        except NotFoundError:
            return {}
        if snapshot.at.version == self._seen:
            return {}
        rows = snapshot.arrow(
            columns=["prediction_id", self._label], where=text("prediction_id").isin(list(predictions))
        )
        self._seen = snapshot.at.version
        labels = zip(rows["prediction_id"].to_pylist(), rows[self._label].to_pylist(), strict=True)
        return {prediction: label for prediction, label in labels if label is not None}
