"""Where the cluster admits the node role and CAST AI's user, and how their mapping is taken over.

EKS reads both aws-auth and access entries in the mode `API_AND_CONFIG_MAP`, and for one ARN the
access entry counts: https://docs.aws.amazon.com/eks/latest/userguide/setting-up-access-entries.html
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from castai_stack import arn
from castai_stack.access.modes import AccessMode
from castai_stack.adopt.observations import AccessEntry, Observations, Place, Principal
from castai_stack.adopt.rows import LEFT, NEW, TAKEN, Row

_UNREAD = "the cluster reads access entries only, so it admits nobody"
_BESIDE = "the access entry counts before it; a destroy leaves it"
_ROLE = "this program does not map CAST AI's role; a destroy leaves it"
_ADMIN = "AmazonEKSClusterAdminPolicy"

Where = Literal["aws-auth", "access-entries"]


@dataclass(slots=True)
class MappingTakeover:
    """The mapping as the stack file takes it over."""

    where: Where
    mode: AccessMode = "auto"
    """Value of `access.mode`; `auto` comes to `where` by itself."""
    adopts: bool = False
    """Whether `access.adopt` is needed: an entry of aws-auth, or an access entry made anew."""
    imports: dict[str, str] = field(default_factory=dict)
    arns: list[str] = field(default_factory=list)
    """ARNs that the stack maps, as aws-auth spells them."""
    rows: list[Row] = field(default_factory=list)

    @property
    def access(self) -> dict[str, Any]:
        """The section `access` of the stack file."""
        mode = {} if self.mode == "auto" else {"mode": self.mode}
        return mode | ({"adopt": True} if self.adopts else {})


def take(
    observed: Observations, node_role: Principal | None, principal: Principal | None
) -> MappingTakeover:
    """Decide on the mapping; the principals are those that are taken over, None for others."""
    place = observed.place
    own = [one for one in (node_role, principal) if one is not None]
    user = principal if principal is not None and principal.kind == "user" else None
    result = MappingTakeover(
        *_place(observed, [one for one in (node_role, user) if one is not None])
    )
    for suffix, one in (("node-role", node_role), ("user", user)):
        if one is not None:
            _one(result, observed, suffix, one)
    result.rows += _of_role(observed, [one for one in own if one not in (node_role, user)])
    result.arns = [map_arn(place, one) for one in (node_role, user) if one is not None]
    return result


def map_arn(place: Place, principal: Principal) -> str:
    """Return the ARN as aws-auth has it: a role's without its path."""
    path = "/" if principal.kind == "role" else principal.path
    return _iam(place, principal, path)


def entry_arn(place: Place, principal: Principal) -> str:
    """Return the ARN as an access entry has it: with the path."""
    return _iam(place, principal, principal.path)


def _iam(place: Place, principal: Principal, path: str) -> str:
    resource = f"{principal.kind}{path}{principal.name}"
    return arn.iam(place.partition, place.account_id, resource)


def _place(observed: Observations, own: list[Principal]) -> tuple[Where, AccessMode]:
    """Return what the stack maps with, and the setting for it.

    Where the cluster reads both, the mapping stays where it is.
    """
    place = observed.place
    if place.authentication_mode == "CONFIG_MAP":
        return "aws-auth", "auto"
    in_map = any(map_arn(place, one) in observed.cluster.mapped for one in own)
    has_entry = any(_entry(observed, one) is not None for one in own)
    if place.authentication_mode == "API" or has_entry or not in_map:
        return "access-entries", "auto"
    return "aws-auth", "aws-auth"


def _entry(observed: Observations, principal: Principal) -> AccessEntry | None:
    wanted = entry_arn(observed.place, principal)
    return next((one for one in observed.aws.access_entries if one.arn == wanted), None)


def _one(
    result: MappingTakeover, observed: Observations, suffix: str, principal: Principal
) -> None:
    in_map = map_arn(observed.place, principal) in observed.cluster.mapped
    name = map_arn(observed.place, principal)
    if result.where == "aws-auth":
        result.adopts |= in_map
        fate, remark = (TAKEN, "its entry of aws-auth") if in_map else (NEW, "an entry of aws-auth")
        result.rows.append(Row("mapping", name, fate, remark))
        return
    entry = _entry(observed, principal)
    if entry is None:
        result.rows.append(Row("mapping", name, NEW, "an access entry"))
    else:
        _take_entry(result, observed.place, suffix, principal, entry)
    if in_map:
        only = observed.place.authentication_mode == "API"
        result.rows.append(Row("entry of aws-auth", name, LEFT, _UNREAD if only else _BESIDE))


def _take_entry(
    result: MappingTakeover, place: Place, suffix: str, principal: Principal, entry: AccessEntry
) -> None:
    wanted = "EC2_LINUX" if suffix == "node-role" else "STANDARD"
    if why := _unusable(principal, entry, wanted):
        result.adopts = True
        result.rows.append(
            Row("mapping", entry.arn, NEW, f"{why}; `up` deletes it and creates it anew")
        )
        return
    result.imports[f"access-{suffix}-access"] = f"{place.cluster}:{entry.arn}"
    result.rows.append(Row("mapping", entry.arn, TAKEN, f"its access entry, type {entry.type}"))
    if suffix != "user":
        return
    for policy_arn in entry.policies:
        policy = policy_arn.rpartition("/")[2]
        if policy == _ADMIN:
            identifier = f"{place.cluster}#{entry.arn}#{policy_arn}"
            result.imports["access-user-cluster-admin"] = identifier
        else:
            why = "on the user's access entry; it goes with the entry"
            result.rows.append(Row("access policy", policy, LEFT, why))


def _unusable(principal: Principal, entry: AccessEntry, wanted: str) -> str:
    """Return why an entry cannot stay, empty if it can; its type never changes."""
    if entry.type != wanted:
        return f"its access entry has the type {entry.type}"
    dates = entry.created, principal.created
    if dates[0] is not None and dates[1] is not None and dates[0] < dates[1]:
        return f"its access entry is older than the {principal.kind}, which it does not admit"
    return ""


def _of_role(observed: Observations, roles: list[Principal]) -> Iterator[Row]:
    for role in roles:
        name = map_arn(observed.place, role)
        if name in observed.cluster.mapped:
            yield Row("entry of aws-auth", name, LEFT, _ROLE)
        if (entry := _entry(observed, role)) is not None:
            yield Row("access entry", entry.arn, LEFT, _ROLE)
