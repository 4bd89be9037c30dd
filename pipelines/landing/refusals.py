"""Why the edge refuses a delivery whose bytes are not those that were announced or taken."""

from __future__ import annotations

from pipelines.errors import LandingError
from pipelines.landing.delivery import Delivery, Manifest


def changed(delivery: Delivery, before: Delivery) -> LandingError:
    """The error of a file whose content is not the one that was taken from it before."""
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"its content changed after it was taken (sha256 now {str(delivery.sha256)[:12]})",
        expected=f"sha256 {str(before.sha256)[:12]}: what has landed is never changed",
        next_step="deliver the correction under another name and restore the first file",
        code="changed",
    )


def gone_or_changed(delivery: Delivery, now: Delivery | None) -> LandingError:
    """The error of a file that is to be read again, and is gone (None) or has another content now."""
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"it was to be read again, and {'cannot be read' if now is None else 'has other content now'}",
        expected=f"the file that was taken, sha256 {str(delivery.sha256)[:12]}",
        next_step=f"put that file back, then: goldpath landing retake {'/'.join(delivery.uri.split('/')[:2])}",
        code="retake",
    )


def differs(delivery: Delivery, manifest: Manifest) -> LandingError:
    """The error of a file that is not the one that its manifest describes."""
    return LandingError(
        object=f"delivery {delivery.uri}",
        observed=f"{delivery.bytes} bytes with sha256 {str(delivery.sha256)[:12]}",
        expected=f"{manifest.bytes} bytes with sha256 {manifest.sha256[:12]}, as its manifest says",
        next_step="ask the source for it again: it was damaged on its way, or its manifest belongs to another file",
        code="checksum",
    )
