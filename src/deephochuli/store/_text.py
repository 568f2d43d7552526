"""Text that every reader of UTF-8 takes."""

from __future__ import annotations


def as_utf8(text: str) -> str:
    r"""Spell out halves of surrogate pairs, which Python has in odd names and UTF-8 does not allow.

    Example:
        >>> as_utf8("half \ud83d")
        'half \\ud83d'
    """
    return text.encode("utf-8", "backslashreplace").decode()
