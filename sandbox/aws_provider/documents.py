"""When two JSON documents say the same, though they are spelled differently.

IAM treats one text and a list of that one text alike, and the order of actions, resources,
principals and statements does not matter; the provider shows no difference for either.
"""

import json
import re
from typing import Any

_ROOT = re.compile(r"^arn:aws[\w-]*:iam::(\d{12}):root$")


def text(value: Any) -> str:
    """Spell a document that was given as an object; text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def normalised(document: str) -> str:
    """Spell a document as the provider does after a refresh: compact, keys sorted."""
    try:
        return json.dumps(json.loads(document), separators=(",", ":"), sort_keys=True)
    except ValueError:
        return document


def same(one: str, other: str) -> bool:
    """Whether two documents mean the same; text that is no JSON is compared as text."""
    if one == other:
        return True
    try:
        first, second = json.loads(one), json.loads(other)
    except ValueError:
        return False
    return _meaning(first) == _meaning(second)


def _meaning(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _meaning(item) for key, item in value.items()}
    if isinstance(value, list):
        items = sorted(
            (_meaning(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True)
        )
        return items[0] if len(items) == 1 else items
    if isinstance(value, str) and (match := _ROOT.match(value)):
        return match[1]
    return value
