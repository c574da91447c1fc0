"""The aws-auth ConfigMap as data: parse, merge, remove, guard. No Pulumi, no cluster.

The authenticator is the specification of this map: kubernetes-sigs/aws-iam-authenticator,
pkg/mapper/configmap/configmap.go (ParseMap), pkg/config/mapper.go and pkg/config/types.go.

Foreign entries keep their text, byte for byte: only the lines (or, inside brackets, the characters)
of our own entry are added, replaced or cut out. What an edit yields is parsed again and compared;
where the text does not allow such an edit, it is written anew, every entry whole and in its order.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from castai_stack import arn as castai_stack_arn

NAMESPACE = "kube-system"
NAME = "aws-auth"
WHERE = f"{NAMESPACE}/{NAME}"

NODE_USERNAME = "system:node:{{EC2PrivateDNSName}}"
NODE_GROUPS = ("system:bootstrappers", "system:nodes")
MASTERS = "system:masters"

LIMIT = 1024 * 1024
"""Bytes that all values of a ConfigMap may take together.

Source: https://kubernetes.io/docs/concepts/configuration/configmap/
"""

Kind = Literal["role", "user"]
KEYS: dict[Kind, str] = {"role": "mapRoles", "user": "mapUsers"}
ARN_FIELDS: dict[Kind, str] = {"role": "rolearn", "user": "userarn"}


class AwsAuthError(ValueError):
    """The live aws-auth content cannot be read, or cannot be changed without losing something."""


class UnreadableError(AwsAuthError):
    """The text is not what the authenticator could read; the guard `unreadable` lets us pass."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One mapping that this program owns."""

    kind: Kind
    arn: str
    username: str
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what the authenticator would never match."""
        resource = self.arn.split(":", 5)[-1]
        if not all(text and text.isprintable() for text in (self.username, *self.groups)):
            raise AwsAuthError(f"{self.arn!r}: its user name and groups must be printable text")
        if not re.fullmatch(rf"arn:[\w-]+:iam::\d{{12}}:{self.kind}/\S+", self.arn):
            raise AwsAuthError(f"{self.arn!r} is not the ARN of an IAM {self.kind}")
        if self.kind == "role" and resource.count("/") != 1:
            raise AwsAuthError(
                f"{self.arn!r} carries a path, which the authenticator never sees in a role; "
                f"map {castai_stack_arn.without_path(self.arn)!r}"
            )

    @property
    def key(self) -> str:
        """Name of the list that the entry belongs to."""
        return KEYS[self.kind]

    @property
    def identity(self) -> str:
        """What makes two entries the same one: the list, and the ARN without case."""
        return f"{self.kind} {self.arn.lower()}"

    def as_item(self) -> dict[str, Any]:
        """Spell the mapping the way the map does."""
        return {
            ARN_FIELDS[self.kind]: self.arn,
            "username": self.username,
            "groups": list(self.groups),
        }

    def is_met_by(self, item: "Item") -> bool:
        """Tell whether the item says the same; case of the ARN and order of groups mean nothing."""
        found = dict(item.folded)
        groups = found.pop("groups", None) or []
        found_arn = found.pop(ARN_FIELDS[self.kind], "")
        return (
            isinstance(groups, list)
            and all(isinstance(group, str) for group in groups)
            and str(found_arn).lower() == self.arn.lower()
            and sorted(groups) == sorted(self.groups)
            and found == {"username": self.username}
        )


def role(arn: str, username: str, groups: Iterable[str]) -> Entry:
    """Return the entry of a role, its path left out."""
    return Entry("role", castai_stack_arn.without_path(arn), username, tuple(groups))


def user(arn: str, username: str, groups: Iterable[str]) -> Entry:
    """Return the entry of a user; a user's path is part of what the authenticator compares."""
    return Entry("user", arn, username, tuple(groups))


@dataclass(frozen=True)
class Item:
    """One entry of the live list and where its text lies."""

    kind: Kind
    value: Any
    start: int
    end: int
    arn: str
    """ARN in lower case; empty for entries that match by `sso`."""

    @cached_property
    def folded(self) -> dict[str, Any]:
        """The entry with keys as the authenticator reads them: case does not count."""
        if not isinstance(self.value, dict):
            return {}
        return {str(key).lower(): self.value[key] for key in sorted(self.value, key=str)}

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that are text."""
        found = self.folded.get("groups")
        return tuple(g for g in found if isinstance(g, str)) if isinstance(found, list) else ()

    @property
    def effect(self) -> tuple[str, tuple[str, ...]]:
        """Who the principal becomes inside Kubernetes."""
        return str(self.folded.get("username", "")), tuple(sorted(self.groups))


@dataclass(frozen=True)
class Listing:
    """One list of the map as it was read."""

    kind: Kind
    text: str
    """The value of the key; empty when the key is absent."""
    items: tuple[Item, ...]
    form: Literal["empty", "block", "flow"]
    span: tuple[int, int]
    """Where the list, or the spelling of nothing, lies in the text."""

    def of(self, arn: str) -> list[Item]:
        """Items that map this ARN."""
        return [item for item in self.items if item.arn == arn.lower()]

    @cached_property
    def effective(self) -> dict[str, Item]:
        """What counts: of several items with one ARN the last."""
        return {item.arn: item for item in self.items if item.arn}
