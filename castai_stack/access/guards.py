"""Guards of an edit of aws-auth: the caller, the last masters, size, readability."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from castai_stack import arn as castai_stack_arn
from castai_stack.access.entries import KEYS, LIMIT, MASTERS, Kind, Listing

# --- guards -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class State:
    """Both lists of one state of the map."""

    roles: Listing
    users: Listing

    def of(self, kind: Kind) -> Listing:
        """Return the list of roles or of users."""
        return self.roles if kind == "role" else self.users


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, as the API server sees them."""

    arn: str
    """ARN of the role or user; empty when the API server does not know one."""
    groups: tuple[str, ...] = ()


Guard = Literal["caller", "last-masters", "size", "unreadable"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard that stands in the way, and why."""

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
    """Say what a write from `before` to `after` would take from its owners."""
    found = []
    if caller.arn and (was := mapping_of(before, caller.arn)) is not None:
        becomes = mapping_of(after, caller.arn)
        if was != becomes:
            loss = "vanish" if becomes is None else "change"
            found.append(
                Refusal(
                    "caller",
                    f"the mapping of {caller.arn}, which is who runs this, would {loss}",
                )
            )
    if _masters(before) and not _masters(after):
        found.append(
            Refusal(
                "last-masters",
                f"the last mapping to {MASTERS} would vanish, and after that only the cluster's "
                "creator (whom EKS lets in without a mapping) and access entries get in",
            )
        )
    return found


def too_large(data: Mapping[str, str]) -> Refusal | None:
    """Say whether these values would pass what a ConfigMap holds."""
    size = sum(len(value.encode()) for value in data.values())
    if size <= LIMIT:
        return None
    return Refusal(
        "size", f"its values would take {size} bytes, and a ConfigMap holds {LIMIT}; remove entries"
    )


def mapping_of(state: State, arn: str) -> list[tuple[str, tuple[str, ...]]] | None:
    """Effects of everything that matches the ARN; newer authenticators also match wildcards."""
    wanted = arn.lower()
    found = [
        item.effect
        for kind in KEYS
        for pattern, item in state.of(kind).effective.items()
        if pattern == wanted
        or (kind == "role" and set("*?") & set(pattern) and fnmatchcase(wanted, pattern))
    ]
    return sorted(found) or None


def _masters(state: State) -> bool:
    return any(
        MASTERS in item.groups
        for kind in KEYS
        for item in state.of(kind).items
        if not item.arn or state.of(kind).effective[item.arn] is item
    )
