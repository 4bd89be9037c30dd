"""Services of models that read texts: one writes a summary, one tells the topic. They read no features."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from pydantic import Field

from assets.packages.model import SUMMARIES, TOPIC
from pipelines.models.question import Column, Question
from pipelines.models.service import ServiceSpec
from serving.runtimes import PREDICTION


class TextQuestion(Question):
    """What is this text about?"""

    nobody: ClassVar[dict[str, object]] = {"text": "Nothing."}

    text: str = Field(min_length=1, max_length=2_000, description="a text of 1 to 2000 characters")

    @property
    def subject(self) -> str:
        """The checksum of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def columns(self) -> dict[str, Column]:
        return {"text": self.text, "body": self.text}


summaries_service = ServiceSpec(SUMMARIES, TextQuestion, PREDICTION)
topic_service = ServiceSpec(TOPIC, TextQuestion, PREDICTION)
