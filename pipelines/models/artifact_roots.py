"""Where the files of tracked runs are, for the MLflow database of a home folder: below `<home>/mlflow/artifacts` only.

MLflow stores absolute locations. In a home that was moved or copied they would lead into the former one; they are
rebased when the database is opened. Any other location outside the home's root is refused.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.errors import ModelError
from pipelines.settings import Settings

#: The columns of MLflow's tables that hold a location.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
_BELOW_HOME = "/mlflow/artifacts/"


def root(settings: Settings) -> Path:
    """The folder that holds the files of all runs."""
    return settings.root / "mlflow" / "artifacts"


def rebase(settings: Settings) -> None:
    """Lets every location that lies in another home folder lead to the same place in this one."""
    database = settings.root / "mlflow" / "mlflow.db"
    if settings.mlflow_uri or not database.exists():
        return
    here = root(settings).as_uri() + "/"
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, column in LOCATIONS:
            if table not in present:
                continue
            elsewhere = connection.execute(
                f"SELECT DISTINCT {column} FROM {table} WHERE instr({column}, ?) > 0 AND instr({column}, ?) != 1",
                [_BELOW_HOME, here],
            ).fetchall()
            for (location,) in elsewhere:
                rebased = here + location.partition(_BELOW_HOME)[2]
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", [rebased, location])


def require_inside(settings: Settings, uri: str, *, run_id: str) -> None:
    """Checks that the files of a run lie below the home's root, and that no link among them leads elsewhere.

    Raises:
        ModelError: if they do not. Locations on a server that GOLDPATH_MLFLOW_URI names are the server's.
    """
    if settings.mlflow_uri:
        return
    folder = Path(unquote(urlsplit(uri).path))
    inside = urlsplit(uri).scheme in ("", "file") and folder.resolve().is_relative_to(root(settings).resolve())
    link = next((path for path in folder.rglob("*") if path.is_symlink()), None) if inside else None
    if not inside or link is not None:
        raise ModelError(
            object=f"files of the MLflow run {run_id}",
            observed=f"{link} is a link" if link else f"their location is {uri}",
            expected=f"plain files below {root(settings)}",
            next_step="do not use this run: somebody changed it; train the model again",
        )
