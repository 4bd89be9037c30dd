"""The errors of serving.

    TerminalError (pipelines.errors)
    ├── RequestError              a request that is wrong; its caller has to correct it
    │   └── WrongTime                 a question about a time that cannot be predicted now
    ├── NotANumber                an answer of the model with a number that is infinite or none
    └── DeploymentError           a service that did not become ready; the previous one goes on serving
    TransientError (pipelines.errors)
    └── ServiceUnavailable        the service cannot answer now; the same request may be answered later
        ├── FeatureStoreUnavailable   the online store does not answer, or was not filled yet
        ├── PredictionNotRecorded     the prediction log could not be written, so nothing was answered
        └── PushRefused               an event could not be made durable now, so it was not acknowledged

A model that may not be served is a `ModelError`.
"""

from __future__ import annotations

from pipelines.errors import TerminalError, TransientError


class RequestError(TerminalError):
    """A request is wrong, and its caller has to correct it; `object` is the wrong field."""


class WrongTime(RequestError):
    """A question is about a time that cannot be predicted now: it is past, or too far ahead."""


class NotANumber(TerminalError):
    """A model answered with a number that is infinite, or that is none (NaN)."""


class DeploymentError(TerminalError):
    """A service did not become ready; the previous one goes on serving."""


class ServiceUnavailable(TransientError):
    """The service cannot answer now; the same request may be answered later."""


class FeatureStoreUnavailable(ServiceUnavailable):
    """The online store does not answer, or was not filled yet."""


class PredictionNotRecorded(ServiceUnavailable):
    """The prediction log could not be written, so nothing was answered."""


class PushRefused(ServiceUnavailable):
    """An event could not be made durable now, so it was not acknowledged."""
