"""Regular expressions that mean the same on both engines, whose dialects are Java's and Rust's."""

from __future__ import annotations

import re

#: Lookaround, atomic groups, conditions, back references and possessive quantifiers: Rust's dialect lacks them.
_NOT_ON_BOTH = re.compile(r"\(\?(<?[=!]|>|P=|\()|(?<!\\)(\\\\)*\\[1-9]|[*+?}]\+")


def expected_instead(pattern: str) -> str | None:
    """What an error about this pattern says is expected; None if the pattern is valid on both engines."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"a pattern: {error}"
    if _NOT_ON_BOTH.search(pattern):
        return "a pattern without lookaround, atomic group, back reference or possessive quantifier"
    return None


def portable(pattern: str) -> str:
    r"""The pattern with everything written out that Java's and Rust's dialects interpret differently.

    `\d`, `\w` and `\s` become ASCII classes, `.` any character but a newline, and `$` the very end of the text.
    """
    classes = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\r\f\x0b"}
    parts, open_brackets = [], 0
    for token in re.findall(r"\\.|.", pattern, re.DOTALL):
        letter = token[-1]
        if token.startswith("\\") and letter.lower() in classes:
            characters = classes[letter.lower()]
            negated, inside = letter.isupper(), open_brackets > 0
            parts.append(f"[^{characters}]" if negated else characters if inside else f"[{characters}]")
            continue
        open_brackets += (token == "[") - (token == "]" and open_brackets > 0)
        outside = not open_brackets
        parts.append(r"\z" if token == "$" and outside else r"[^\n]" if token == "." and outside else token)
    return "".join(parts)
