"""Regular expressions that mean the same on both engines, whose dialects are Java's and Rust's."""

from __future__ import annotations

import re

#: Lookaround, atomic groups, conditions, back references and possessive quantifiers: Rust has none of them.
_NOT_ON_BOTH = re.compile(r"\(\?(<?[=!]|>|P=|\()|(?<!\\)(\\\\)*\\[1-9]|[*+?}]\+")


def fault(pattern: str) -> str | None:
    """What is expected in its place of a text that is no pattern on both engines; None where it is one."""
    try:
        re.compile(pattern)
    except re.error as error:
        return f"a pattern: {error}"
    if _NOT_ON_BOTH.search(pattern):
        return "a pattern without lookaround, atomic group, back reference or possessive quantifier"
    return None


def portable(pattern: str) -> str:
    """The pattern with what Java's and Rust's dialects read differently written out, as ASCII and to the very end."""
    classes = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\r\f\x0b"}
    parts, within = [], 0
    for token in re.findall(r"\\.|.", pattern, re.DOTALL):
        letter = token[-1]
        if token.startswith("\\") and letter.lower() in classes:
            named = classes[letter.lower()]
            parts.append(f"[^{named}]" if letter.isupper() else named if within else f"[{named}]")
            continue
        within += (token == "[") - (token == "]" and within > 0)
        parts.append(r"\z" if token == "$" and not within else r"[^\n]" if token == "." and not within else token)
    return "".join(parts)
