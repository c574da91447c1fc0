"""The mappings that the authenticator decodes from the items of a list.

Sources: kubernetes-sigs/aws-iam-authenticator, pkg/config/mapper.go (Validate); the Go standard
library, encoding/json (Unmarshal).
"""

import re
from collections.abc import Iterator
from typing import Any

from castai_stack.access.entries import Grant, Kind
from castai_stack.access.scalars import is_null, text_of

_ROLE_FIELDS = frozenset({"rolearn", "sso", "username", "groups", "userid"})
_USER_FIELDS = frozenset({"userarn", "username", "groups", "userid"})
_SSO_FIELDS = frozenset({"permissionsetname", "accountid", "partition"})
_ACCOUNT = re.compile(r"[0-9]{12}")
_PERMISSION_SET = re.compile(r"[\w+=,.@-]{1,32}", re.ASCII)
_SSO_PARTITIONS = frozenset({"", "aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b"})


def decoded(kind: Kind, value: Any) -> tuple[str, Grant | None]:
    """Return the item's ARN in lower case, and the mapping that the authenticator decodes from it.

    A field that is not text counts as absent. Of two spellings of a field the one that sorts later
    by its characters wins.
    """
    if not isinstance(value, dict):
        return "", None
    texts: dict[str, str] = {}
    groups: list[str] = []
    sso: dict[str, str] | None = None
    for name, each in _fields(value, _ROLE_FIELDS if kind == "role" else _USER_FIELDS):
        if name == "groups":
            groups = _groups(each, groups)
        elif name == "sso":
            sso = None if is_null(each) else {**(sso or {}), **_sso(each)}
        elif (text := text_of(each)) is not None:
            texts[name] = text
    arn = texts.get("rolearn" if kind == "role" else "userarn", "")
    pattern = None if sso is None or arn else _sso_pattern(sso)
    accepted = pattern if sso is not None else arn
    if not accepted:
        return arn.lower(), None
    grant = Grant(accepted, texts.get("username", ""), tuple(groups), sso=sso is not None)
    return arn.lower(), grant


def _fields(value: dict[Any, Any], names: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of these names, in any case, in the order of encoding/json."""
    texts = [(text, key) for key in value if (text := text_of(key)) is not None]
    for text, key in sorted(texts, key=lambda pair: pair[0]):
        # encoding/json folds the long s and the Kelvin sign as well.
        folded = text.lower().replace("\u017f", "s").replace("\u212a", "k")
        if folded in names:
            yield folded, value[key]


def _groups(value: Any, current: list[str]) -> list[str]:
    if is_null(value):
        return []
    if not isinstance(value, list):
        return current
    texts = [text_of(each) for each in value]
    # A group that is not text keeps the value of the earlier field at its position.
    return [
        text if text is not None else (current[index] if index < len(current) else "")
        for index, text in enumerate(texts)
    ]


def _sso(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    fields = ((name, text_of(each)) for name, each in _fields(value, _SSO_FIELDS))
    return {name: text for name, text in fields if text is not None}


def _sso_pattern(sso: dict[str, str]) -> str | None:
    """Return the ARN pattern of a permission set's roles; None if the authenticator refuses it."""
    account, name = sso.get("accountid", ""), sso.get("permissionsetname", "")
    partition = sso.get("partition", "")
    valid = _ACCOUNT.fullmatch(account) and _PERMISSION_SET.fullmatch(name)
    if not valid or partition not in _SSO_PARTITIONS:
        return None
    # With a given partition the authenticator's pattern has none, and matches no ARN.
    written = "" if partition else "aws"
    return f"arn:{written}:iam::{account}:role/AWSReservedSSO_{name}_*".lower()
