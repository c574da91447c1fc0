"""Choice among candidates: which cluster, principal, node role and group are this cluster's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from castai_stack import naming
from castai_stack.adopt.observations import (
    AtCastai,
    Choices,
    Group,
    Observations,
    Place,
    Policy,
    Principal,
)
from castai_stack.castai.model import Cluster

Candidate = TypeVar("Candidate", Principal, Group)


EARLIER = (
    "a stack of this program created it: if its state exists, go on with that stack and throw "
    "these files away, because two stacks would fight"
)
"""Remark on an object that a stack of this program created, whose state is gone."""


class AmbiguousError(Exception):
    """The answers do not say which object is the cluster's; the message is a sentence."""


def principal_names(cluster: str) -> tuple[str, ...]:
    """Return the names of a user that other installers create for a cluster.

    Sources: castai/docs (the script), castai/terraform-castai-eks-iam.
    """
    return (f"cast-eks-{cluster}", f"castai-eks-{cluster}")


def node_role_names(cluster: str, cluster_id: str) -> tuple[str, ...]:
    """Return the names of a node role: the script's and castai/terraform-castai-eks-role-iam's."""
    return (naming.node_role(cluster, cluster_id), f"castai-eks-instance-{cluster[:44]}")


def registration(castai: AtCastai, place: Place, wanted: str | None) -> Cluster:
    """Return the live cluster of this name, region and account.

    Raises AmbiguousError if there is none, or more than one without a choice.
    """
    where = (place.cluster, place.region, place.account_id)
    same = [one for one in castai.clusters if one.is_at(*where)]
    live = [one for one in same if not one.archived]
    if wanted is not None:
        live = [one for one in live if one.id == wanted]
        if not live and same:
            listed = ", ".join(f"{one.id} ({one.status})" for one in same)
            raise AmbiguousError(
                f"CAST AI has no live cluster {wanted} of this name, region and account, but "
                f"{listed}; correct --cluster-id"
            )
    what = f"cluster {place.cluster} ({place.region}, account {place.account_id})"
    if len(live) > 1:
        listed = ", ".join(f"{one.id} ({one.status})" for one in live)
        raise AmbiguousError(
            f"CAST AI has {what} {len(live)} times: {listed}; choose with --cluster-id, "
            "and remove the others in the console first, because `pulumi up` finds it by its name"
        )
    if not live:
        archived = f"; {len(same)} of that name are archived" if same else ""
        raise AmbiguousError(
            f"CAST AI has no live {what}{archived}; there is nothing to take over: "
            "`pulumi up` connects it"
        )
    (cluster,) = live
    if cluster.disconnected:
        raise AmbiguousError(
            f"{what} is disconnected at CAST AI (status {cluster.status}); there is nothing to "
            "take over: `pulumi up` connects it again"
        )
    if not cluster.credentials_id:
        raise AmbiguousError(
            f"CAST AI has no credentials of {what}: the installer ended before the hand-over. Run "
            "it again to its end, or delete what it created (`audit` lists it) and run "
            "`pulumi up`; with the agent alone, agent.adopt: true takes it over in a new stack"
        )
    return cluster


def principal(observed: Observations, cluster: Cluster, choices: Choices) -> Principal:
    """Return the user or role whose credentials CAST AI uses.

    CAST AI names a role. It does not tell the owner of a key.
    """
    if cluster.assume_role_arn:
        name = cluster.assume_role_arn.rpartition("/")[2]
        if choices.principal not in (None, name):
            raise AmbiguousError(
                f"CAST AI assumes role {name}, and --principal names {choices.principal}; leave "
                "it out, because it chooses among users"
            )
        return _one(
            [one for one in observed.aws.principals if one.kind == "role" and one.name == name],
            f"CAST AI assumes role {cluster.assume_role_arn}, which AWS does not have; "
            "create it again with the installer, or hand other credentials over",
            "--principal",
        )
    users = [
        one
        for one in observed.aws.principals
        if one.kind == "user" and choices.principal in (None, one.name)
    ]
    names = choices.principal or " or ".join(principal_names(observed.place.cluster))
    return _one(
        users,
        f"CAST AI has an access key, and there is no user {names}; name its user with --principal",
        "--principal",
    )


def sharers(castai: AtCastai, cluster: Cluster) -> tuple[str, ...]:
    """Return the other clusters for which CAST AI assumes the same role."""
    arn = cluster.assume_role_arn
    return tuple(
        sorted(
            one.name
            for one in castai.clusters
            if arn and one.assume_role_arn == arn and one.id != cluster.id and not one.archived
        )
    )


@dataclass(frozen=True, slots=True)
class NodeRole:
    """The node role, and why it is not taken over if it is shared."""

    role: Principal | None
    shared_with: tuple[str, ...] = ()


def node_role(observed: Observations, cluster: Cluster, choices: Choices) -> NodeRole:
    """Return the node role; none if no candidate exists."""
    candidates = [one for one in observed.aws.node_roles if choices.node_role in (None, one.name)]
    configured = _configured_profile(observed)
    named = [one for one in candidates if configured in one.profiles]
    if choices.node_role is not None and not candidates:
        raise AmbiguousError(f"there is no role {choices.node_role}; correct --node-role")
    if configured and not named and choices.node_role is None:
        listed = ", ".join(map(str, candidates)) or "none of the names that installers give"
        raise AmbiguousError(
            f"CAST AI's default node configuration names the instance profile {configured}, and it "
            f"does not hold the role of the nodes ({listed}); name its role with --node-role, if "
            "only CAST AI's nodes use it, or correct the node configuration"
        )
    if not candidates:
        return NodeRole(None)
    role = _one(named or candidates, "", "--node-role")
    users = observed.castai.profile_users
    others = {
        name
        for arn, names in users.items()
        if arn.rpartition("/")[2] in role.profiles
        for name in names
        if name != cluster.name
    }
    return NodeRole(role, tuple(sorted(others)))


def _configured_profile(observed: Observations) -> str:
    eks = (observed.castai.configuration or {}).get("eks") or {}
    return str(eks.get("instanceProfileArn") or "").rpartition("/")[2]


def security_group(groups: Sequence[Group], cluster_id: str, wanted: str | None) -> Group | None:
    """Return the group of CAST AI's nodes; one of another cluster's id does not count."""
    own = [one for one in groups if one.cluster_id in ("", cluster_id) and wanted in (None, one.id)]
    if wanted is not None and not own:
        raise AmbiguousError(
            f"security group {wanted} has neither the name nor the tag of CAST AI's group of this "
            "cluster; correct --security-group"
        )
    return _one(own, "", "--security-group") if own else None


def _one(several: Sequence[Candidate], otherwise: str, option: str) -> Candidate:
    if len(several) == 1:
        return several[0]
    if not several:
        raise AmbiguousError(otherwise)
    listed = ", ".join(map(str, several))
    raise AmbiguousError(f"there are {len(several)} candidates, {listed}; choose with {option}")


def is_earlier(observed: Observations, principal: Principal) -> bool:
    """Return True if a stack of this program created CAST AI's user or role of this cluster."""
    return principal.stack_of == observed.place.cluster


def restricted_policy(observed: Observations, principal: Principal) -> Policy | None:
    """Return the user's cluster-scoped managed policy, unless somebody else has it, too.

    A stack of this program created it.
    """
    name = naming.names(observed.place.cluster, "suffixed").restricted_policy
    if principal.kind == "role":
        return None
    policies = (one for one in observed.aws.policies if one.used_by == (str(principal),))
    return next((one for one in policies if one.name == name), None)
