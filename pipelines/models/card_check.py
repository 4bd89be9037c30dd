"""Whether a model card is complete: every section of it says something."""

from __future__ import annotations

import re

#: The sections of a card, in the order in which people read them.
SECTIONS = ("Data", "Figures on the gate window", "Limits", "Risk", "Origin")


def missing(card: str, name: str) -> list[str]:
    """What the card of a model lacks, in words; nothing for a complete one.

    Args:
        card: The text of the card, Markdown.
        name: The model's name in the registry.
    """
    head, *parts = re.split(r"^## +(.+?) *$", card, flags=re.MULTILINE)
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    title, _, question = head.strip().partition("\n")
    lacks = [] if title == f"# {name}" else [f"the title {name}"]
    lacks += [] if question.strip() else ["the question that it answers"]
    return lacks + [f"the section {section}" for section in SECTIONS if not _says(texts.get(section, ""))]


def _says(text: str) -> bool:
    """Whether a section holds a word or a number, beside marks of Markdown."""
    return bool(re.search(r"\w", text))
