"""Feast's own web pages over the features of a home folder: `python -m feature_repo.web_pages SOCKET`.

They listen on a Unix socket in a folder of this account; `goldpath dev` shows them through its door.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from feature_repo.feast_api import FeatureStore
from pipelines.settings import PROJECT


def serve(unix_socket: str) -> None:
    """Answers until SIGINT or SIGTERM."""
    from feast.ui_server import get_app  # it has an import of its own, which Feast's other parts do without

    store = FeatureStore(repo_path=str(PROJECT / "feature_repo"))
    uvicorn.run(ReadAlone(get_app(store, store.project)), uds=unix_socket, log_level="warning")


class ReadAlone:
    """Wraps Feast's pages: what they offer to create, the registry refuses, and they would show it until they end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            words = (
                "These pages read alone. Declare it in the domain's features.py; its next run writes the registry.\n"
            )
            await PlainTextResponse(words, 405, headers={"Allow": "GET, HEAD"})(scope, receive, send)
        else:
            await self._app(scope, receive, send)


if __name__ == "__main__":
    serve(sys.argv[1])
