"""Guards of an edit of aws-auth: the caller, the last masters, size, readability.

They judge what the authenticator makes of the map before and after the edit.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from castai_stack import arn as castai_stack_arn
from castai_stack.access.entries import LIMIT, MASTERS, Grant, Kind, Listing

Guard = Literal["caller", "last-masters", "size", "unreadable"]

Identity = tuple[str, tuple[str, ...]]
"""User name and groups inside Kubernetes."""

# ARNs in the form in which the authenticator compares them: a session is its role, without a path.
# Source: kubernetes-sigs/aws-iam-authenticator, pkg/arn/arn.go (Canonicalize)
_PRINCIPAL = re.compile(
    r"arn:aws[a-z-]*:(iam::[0-9]{12}:(root|role/[\w+=,.@-]+|user/[\w+=,.@/-]+)"
    r"|sts::[0-9]{12}:federated-user/[\w+=,.@-]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class State:
    """Both lists of one state of the map."""

    roles: Listing
    users: Listing

    def of(self, kind: Kind) -> Listing:
        """Return the list of roles or of users."""
        return self.roles if kind == "role" else self.users

    def identities(self, arn: str) -> list[Identity]:
        """Identities that the authenticator may give to a principal; mapRoles comes first.

        Several are possible where user ARNs differ in case only, and where a pattern matches:
        whether an authenticator matches patterns depends on its version and its feature gates.
        """
        principal = arn.lower()
        patterns = [
            grant.identity for grant in self.roles.grants.values() if _may_match(grant, principal)
        ]
        role = self.roles.grants.get(principal)
        if role is not None and not role.sso:
            return sorted({role.identity, *patterns})
        users = [g.identity for key, g in self.users.grants.items() if key.lower() == principal]
        return sorted({*users, *patterns})

    def masters(self) -> Iterator[str]:
        """ARNs that are certain to reach `system:masters`."""
        roles = {key for key, grant in self.roles.grants.items() if not grant.sso}
        for key, grant in self.roles.grants.items():
            if key in roles and MASTERS in grant.groups and _PRINCIPAL.fullmatch(key):
                yield key
        users: dict[str, bool] = {}
        for key, grant in self.users.grants.items():
            principal = key.lower()
            users[principal] = users.get(principal, True) and MASTERS in grant.groups
        for principal, certain in users.items():
            if certain and principal not in roles and _PRINCIPAL.fullmatch(principal):
                yield principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Principal that runs the program, as the API server knows it."""

    arn: str
    """ARN of the role or user; empty when the API server does not know one."""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard that refuses an edit, and why."""

    guard: Guard
    reason: str


def caller_arn(arn: str) -> str:
    """Return the ARN by which a caller is mapped: the role of a session, without its path.

    Source: kubernetes-sigs/aws-iam-authenticator, pkg/arn/arn.go (Canonicalize)
    """
    session = re.fullmatch(r"arn:([^:]+):sts::(\d{12}):assumed-role/(?:.*/)?([^/]+)/[^/]+", arn)
    if session:
        return castai_stack_arn.iam(session[1], session[2], f"role/{session[3]}")
    return castai_stack_arn.without_path(arn)


def refusals(before: State, after: State, caller: Caller) -> list[Refusal]:
    """Return the guards that a write from `before` to `after` violates."""
    return [*_caller(before, after, caller), *_last_masters(before, after)]


def too_large(data: Mapping[str, str]) -> Refusal | None:
    """Return a refusal when these values exceed the limit of a ConfigMap."""
    size = sum(len(value.encode()) for value in data.values())
    if size <= LIMIT:
        return None
    return Refusal(
        "size", f"its values would take {size} bytes, and a ConfigMap holds {LIMIT}; remove entries"
    )


def _caller(before: State, after: State, caller: Caller) -> Iterator[Refusal]:
    current = before.identities(caller.arn) if caller.arn else []
    next_ = after.identities(caller.arn) if caller.arn else []
    if current and current != next_:
        loss = "change" if next_ else "vanish"
        yield Refusal(
            "caller", f"the mapping of {caller.arn}, which runs this program, would {loss}"
        )


def _last_masters(before: State, after: State) -> Iterator[Refusal]:
    if any(before.masters()) and not any(after.masters()):
        yield Refusal(
            "last-masters",
            f"the last mapping to {MASTERS} would vanish, and after that only the cluster's "
            "creator (admitted by EKS without a mapping) and access entries get in",
        )


def _may_match(grant: Grant, principal: str) -> bool:
    pattern = grant.arn.lower()
    return bool(set("*?") & set(pattern)) and fnmatchcase(principal, pattern)
