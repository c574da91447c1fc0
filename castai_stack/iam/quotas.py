"""Sizes of IAM documents and IAM's quotas for them.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["managed", "role inline", "user inline", "trust"]

QUOTAS: dict[Kind, int] = {
    "managed": 6144,
    "role inline": 10240,
    "user inline": 2048,
    "trust": 2048,
}

_WAYS_OUT: dict[Kind, str] = {
    "managed": (
        "shorten iam.path, list fewer ids, names or keys under iam, "
        "or switch off an iam.manage… grant that is not used"
    ),
    "role inline": (
        "shorten iam.path, list fewer ids, names or keys under iam, "
        "or switch off an iam.manage… grant that is not used"
    ),
    "user inline": "attach it as a managed policy",
    "trust": (
        "shorten credentials.externalId, or ask AWS for a higher quota of role trust policy length"
    ),
}


def size(document: Mapping[str, Any]) -> int:
    """Return the number of characters that IAM counts; white space outside of strings is free."""
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False))


def check(name: str, kind: Kind, *documents: Mapping[str, Any]) -> list[str]:
    """Return a sentence if the documents of `name` together exceed the quota of their kind."""
    total, quota = sum(size(document) for document in documents), QUOTAS[kind]
    if total <= quota:
        return []
    return [f"{name}: {total} characters as a {kind} policy; IAM allows {quota}; {_WAYS_OUT[kind]}"]
