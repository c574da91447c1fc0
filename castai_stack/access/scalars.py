"""Scalars of YAML as go-yaml resolves them, and the values that JSON can hold of them.

Sources: kubernetes-sigs/yaml, yaml.go (YAMLToJSON); yaml/go-yaml v2, resolve.go and decode.go.
"""

import base64
import re
from datetime import date
from functools import lru_cache
from typing import Any

CORE = "tag:yaml.org,2002:"
_NULL, STR, _BOOL, _INT, FLOAT, _TIMESTAMP, _BINARY, MERGE = (
    CORE + name for name in ("null", "str", "bool", "int", "float", "timestamp", "binary", "merge")
)
_JSON_SCALARS = frozenset({_NULL, _BOOL, _INT, FLOAT})
_RESOLVED = frozenset({STR, _TIMESTAMP, *_JSON_SCALARS})
"""Tags whose text go-yaml checks; it accepts any text for every other tag."""
_WORDS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE"), _BOOL),
    **dict.fromkeys(("on", "On", "ON", "n", "N", "no", "No", "NO"), _BOOL),
    **dict.fromkeys(("false", "False", "FALSE", "off", "Off", "OFF"), _BOOL),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), _NULL),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), FLOAT),
    **dict.fromkeys((f"{s}.{i}" for s in ("", "+", "-") for i in ("inf", "Inf", "INF")), FLOAT),
}
_INTEGER = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BINARY_INTEGER = re.compile(r"0b([+-]?)([01]+)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DATE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d))"
    r"|(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?))?",
    re.ASCII,
)
_SIGNED, _UNSIGNED = 1 << 63, 1 << 64
_LONGEST_INTEGER = 100


Scalar = str | tuple[str, str]
"""Text, or the tag and the text of everything else."""


def text_of(value: Any) -> str | None:
    """Return the text that JSON holds for a scalar; None for every other value."""
    if isinstance(value, str):
        return value
    if not isinstance(value, tuple) or value[0] in _JSON_SCALARS:
        return None
    tag, text = value
    if tag == _BINARY:
        return base64.b64decode(text).decode(errors="replace")
    return text


def is_null(value: Any) -> bool:
    """Return True for YAML's null."""
    return isinstance(value, tuple) and value[0] == _NULL


@lru_cache(maxsize=4096)
def plain_tag(text: str) -> str:
    """Return the tag that go-yaml gives to an unquoted scalar; dates are text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return FLOAT if _is_float(text) else STR
    if text[0] not in "+-0123456789":
        return STR
    digits = text.replace("_", "")
    if _integer(digits) is not None:
        return _INT
    return FLOAT if _is_float(digits) else STR


def _is_float(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and float(text) not in {float("inf"), float("-inf")}


def _integer(digits: str) -> int | None:
    """Return an integer that fits into 64 bits, signed or, without a sign, unsigned; else None."""
    if len(digits) > _LONGEST_INTEGER:
        return None
    if match := _INTEGER.fullmatch(digits):
        sign, hexadecimal, binary, octal, decimal = match.groups()
        bases = ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
        value = next(int(number, base) for number, base in bases if number)
    elif match := _BINARY_INTEGER.fullmatch(digits):
        sign, value = match[1], int(match[2], 2)
    else:
        return None
    value = -value if sign == "-" else value
    fits = -_SIGNED <= value < (_SIGNED if sign else _UNSIGNED)
    return value if fits else None


def _is_timestamp(text: str) -> bool:
    if not (match := _DATE.fullmatch(text)):
        return False
    year, month, day, *times = match.groups()
    clock = [int(each) for each in times if each] or [0, 0, 0]
    try:
        date(int(year) or 4, int(month), int(day))
    except ValueError:
        return False
    return all(each < most for each, most in zip(clock, (24, 60, 60), strict=True))


def tagged(tag: str, text: str) -> Scalar:
    """Resolve a scalar with a tag of its own; raises ValueError where go-yaml fails."""
    if tag == _BINARY:
        base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
        return tag, text.replace("\r", "").replace("\n", "")
    if tag not in _RESOLVED:
        return tag, text
    if tag == STR:
        return text
    if tag == _TIMESTAMP:
        if not _is_timestamp(text):
            raise ValueError
        return tag, text
    plain = plain_tag(text)
    digits = text.replace("_", "")
    if tag == FLOAT and plain == _INT and (_integer(digits) or 0) < _SIGNED:
        plain = FLOAT
    if plain != tag:
        raise ValueError
    return tag, text


def is_merge(value: Any) -> bool:
    """Return True for the key `<<`, which copies the keys of other mappings."""
    return isinstance(value, tuple) and value[0] == MERGE and value[1] == "<<"


def is_finite(text: str) -> bool:
    """Return False for `.inf` and `.nan`, which JSON has no numbers for."""
    return _WORDS.get(text) != FLOAT


def is_json_key(key: Any) -> bool:
    """Return True if sigs.k8s.io/yaml turns this scalar into a key of JSON."""
    if not isinstance(key, tuple):
        return True
    tag, text = key
    digits = text.replace("_", "")
    return tag != _NULL and (tag != _INT or (_integer(digits) or 0) < _SIGNED)


def fits_json(root: Any) -> bool:
    """Return True if JSON can hold the value; no recursion, and each shared part once."""
    parts, visited = [root], set()
    while parts:
        part = parts.pop()
        if isinstance(part, tuple) and part[0] == FLOAT and not is_finite(part[1]):
            return False
        if not isinstance(part, dict | list) or id(part) in visited:
            continue
        visited.add(id(part))
        if isinstance(part, dict):
            if not all(map(is_json_key, part)):
                return False
            parts += part.values()
        else:
            parts += part
    return True
