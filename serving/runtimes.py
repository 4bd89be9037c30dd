"""The programs that a service's declaration can name. Imports no heavy library."""

from __future__ import annotations

from pipelines.models.service import Runtime

#: Answers each question over HTTP, on Ray Serve, from the features that the online store holds.
PREDICTION = Runtime("serving.predict.deploy:deploy_champion", "serving.predict.arms")
