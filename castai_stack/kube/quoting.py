"""Texts of other programs, fit for a message: one line, short, without what may be a key."""

import re

_LENGTH = 300
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{32,}")
_OBJECT_NAME = re.compile(r"[a-z0-9]{1,31}(-[a-z0-9]{1,31})+")


def quote(text: str) -> str:
    """Return the text in one line of at most 300 characters, without what may be a key.

    Names of objects have dashes between short words and stay.
    """
    one_line = " ".join(text.split())
    masked = _LONG_TOKEN.sub(_mask, one_line)
    return masked if len(masked) <= _LENGTH else f"{masked[:_LENGTH]}…"


def _mask(match: re.Match[str]) -> str:
    return match[0] if _OBJECT_NAME.fullmatch(match[0]) else "[hidden]"
