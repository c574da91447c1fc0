"""What the service checks before a cluster is ready: that its nodes could be made.

The defaults of the first node configuration are those of
https://docs.cast.ai/docs/node-configuration; the error of a profile that does not exist is
quoted in castai/pulumi-castai (5834f84). The other errors are worded after it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.castai.api import Document

DEFAULT_NAME = "default"


class UnresolvedError(Exception):
    """A part of a node configuration does not exist in the customer's account."""


def first_configuration(cluster_id: str, name: str, suggestions: Mapping[str, Any]) -> Document:
    """Return the node configuration that is made when a cluster is connected.

    `suggestions` come from `Cloud.suggestions`: `instanceProfiles`, `securityGroups`, `subnets`.
    """
    profile = f"cast-{name[:40]}-eks-{cluster_id[:8]}"
    arns = [one["arn"] for one in suggestions["instanceProfiles"] if one["name"] == profile]
    own_tags = {f"kubernetes.io/cluster/{name}", "aws:eks:cluster-name"}
    groups = [
        one["id"]
        for one in suggestions["securityGroups"]
        if one["tags"].get("Name") == f"cast-{name}-cluster/CastNodeSecurityGroup"
        or any(one["tags"].get(key) in ("owned", name) for key in own_tags)
    ]
    subnets = [one["id"] for one in suggestions["subnets"]]
    _require(arns, "instance profile", profile)
    _require(groups, "security groups", f"none is tagged kubernetes.io/cluster/{name}")
    _require(subnets, "subnets", "none has a route to an internet or NAT gateway")
    eks = {"instanceProfileArn": arns[0], "securityGroups": groups}
    return {"name": DEFAULT_NAME, "subnets": subnets, "eks": eks}


def require_resolved(configuration: Mapping[str, Any], suggestions: Mapping[str, Any]) -> None:
    """Raise UnresolvedError for the first part of a node configuration that is not seen."""
    eks = configuration["eks"]
    profiles = {one["arn"] for one in suggestions["instanceProfiles"]}
    _require(profiles & {eks["instanceProfileArn"]}, "instance profile", eks["instanceProfileArn"])
    for what, wanted, key in (
        ("security groups", eks["securityGroups"], "securityGroups"),
        ("subnets", configuration["subnets"], "subnets"),
    ):
        absent = sorted(set(wanted) - {one["id"] for one in suggestions[key]})
        _require(not absent, what, ", ".join(absent))


def _require(there: Iterable[Any] | bool, what: str, which: str) -> None:
    if not there:
        raise UnresolvedError(f"failed to resolve {what}: {which}")
