"""The errors of serving.

    TerminalError (pipelines.errors)
    ├── RequestError              a question that cannot be answered as it is asked; the caller corrects it
    └── DeploymentError           a service that did not become ready; what served before still serves
    TransientError (pipelines.errors)
    └── ServiceUnavailable        the service cannot answer now; the same question may be answered later
        ├── FeatureStoreUnavailable   the online store does not answer, or was not filled yet
        ├── PredictionNotRecorded     the prediction log could not be written, so nothing was answered
        └── PushRefused               an event could not be made durable now, so it was not acknowledged

A model that may not be served is a `ModelError`.
"""

from __future__ import annotations

from pipelines.errors import TerminalError, TransientError


class RequestError(TerminalError):
    """A question that cannot be answered as it is asked; `object` is the field that is wrong."""


class DeploymentError(TerminalError):
    """A service did not become ready; what served before still serves."""


class ServiceUnavailable(TransientError):
    """The service cannot answer now; the same question may be answered later."""


class FeatureStoreUnavailable(ServiceUnavailable):
    """The online store does not answer, or was not filled yet."""


class PredictionNotRecorded(ServiceUnavailable):
    """The prediction log could not be written, so nothing was answered."""


class PushRefused(ServiceUnavailable):
    """An event could not be made durable now, so it was not acknowledged."""
