"""Feast's own web pages over the features of a home folder: `python -m feature_repo.web_pages SOCKET`.

They listen on a Unix socket in a folder of this account; `goldpath dev` shows them through its door.
"""

from __future__ import annotations

import sys

import uvicorn

from feature_repo.feast_api import FeatureStore
from pipelines.settings import PROJECT


def serve(unix_socket: str) -> None:
    """Answers until SIGINT or SIGTERM."""
    from feast.ui_server import get_app  # it has an import of its own, which Feast's other parts do without

    store = FeatureStore(repo_path=str(PROJECT / "feature_repo"))
    uvicorn.run(get_app(store, store.project), uds=unix_socket, log_level="warning")


if __name__ == "__main__":
    serve(sys.argv[1])
