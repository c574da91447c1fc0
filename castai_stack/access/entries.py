"""Entries of the aws-auth ConfigMap and the lists that hold them: values only.

The authenticator is the specification of this map: kubernetes-sigs/aws-iam-authenticator,
pkg/mapper/configmap/configmap.go (ParseMap), pkg/config/mapper.go and pkg/config/types.go.
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
    """aws-auth cannot be read, or cannot be changed without losing an entry or a byte of others."""


class UnreadableError(AwsAuthError):
    """The authenticator reads nothing of this list; the guard `unreadable` covers it."""


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
        """Identity of an entry: the list, and the ARN without case."""
        return f"{self.kind} {self.arn.lower()}"

    def as_item(self) -> dict[str, Any]:
        """Spell the mapping the way the map does."""
        return {
            ARN_FIELDS[self.kind]: self.arn,
            "username": self.username,
            "groups": list(self.groups),
        }

    def is_met_by(self, item: "Item") -> bool:
        """Return True if the item grants the same, in any case of the ARN and order of groups."""
        grant = item.grant
        return (
            grant is not None
            and not grant.sso
            and grant.arn.lower() == self.arn.lower()
            and grant.username == self.username
            and sorted(grant.groups) == sorted(self.groups)
            and item.folded.keys() <= {ARN_FIELDS[self.kind], "username", "groups"}
        )


def role(arn: str, username: str, groups: Iterable[str]) -> Entry:
    """Return the entry of a role, its path left out."""
    return Entry("role", castai_stack_arn.without_path(arn), username, tuple(groups))


def user(arn: str, username: str, groups: Iterable[str]) -> Entry:
    """Return the entry of a user; a user's path is part of what the authenticator compares."""
    return Entry("user", arn, username, tuple(groups))


@dataclass(frozen=True, slots=True)
class Grant:
    """Identity that the authenticator gives to the principals that an item matches."""

    arn: str
    """As the item spells it; with `sso`, the pattern of the permission set's roles."""
    username: str
    groups: tuple[str, ...]
    sso: bool = False
    """Matched only by an authenticator whose feature gate SSORoleMatch is on (off by default)."""

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """User name and groups inside Kubernetes."""
        return self.username, tuple(sorted(self.groups))


@dataclass(frozen=True)
class Item:
    """One entry of the live list and where its text lies."""

    kind: Kind
    index: int
    value: Any
    start: int
    end: int
    arn: str
    """ARN that the entry spells, in lower case; empty for entries that match by `sso`."""
    grant: Grant | None
    """None when the authenticator leaves the entry out."""

    @cached_property
    def folded(self) -> dict[str, Any]:
        """The entry with keys as the authenticator reads them: case does not count."""
        if not isinstance(self.value, dict):
            return {}
        return {str(key).lower(): self.value[key] for key in sorted(self.value, key=str)}

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """User name and groups inside Kubernetes; empty for an entry that is left out."""
        return self.grant.identity if self.grant else ("", ())


@dataclass(frozen=True)
class Listing:
    """One list of the map as the authenticator reads it."""

    kind: Kind
    text: str
    """The value of the key; empty when the key is absent."""
    items: tuple[Item, ...]
    form: Literal["empty", "block", "flow"]
    span: tuple[int, int]
    """Where the list, or the spelling of nothing, lies in the text."""
    depth: int = 0
    """Levels of nesting."""
    alone: bool = True
    """Nothing follows the list; the authenticator reads the first YAML document only."""

    def of(self, arn: str) -> list[Item]:
        """Items that spell this ARN."""
        return [item for item in self.items if item.arn == arn.lower()]

    @cached_property
    def grants(self) -> dict[str, Grant]:
        """Grants in force, by the key that the authenticator keeps them under.

        Of several items with one key the last counts. The key of a role is in lower case, the key
        of a user is spelled as in the item (RoleMapping.Key, UserMapping.Key).
        """
        grants = (item.grant for item in self.items if item.grant)
        return {g.arn.lower() if self.kind == "role" else g.arn: g for g in grants}
