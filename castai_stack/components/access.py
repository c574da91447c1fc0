"""Mapping of principals into the cluster, for other programs."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi

from castai_stack import arn
from castai_stack.access import component
from castai_stack.access.typed import AccessSettings
from castai_stack.components.arguments import Checked, Shape, checked
from castai_stack.components.eks_cluster import EksCluster, claim
from castai_stack.fields import RoleArn, Text, UserArn
from castai_stack.spot import rbac


class AwsAuthMappingArgs(TypedDict):
    """Inputs of AwsAuthMapping."""

    cluster: EksCluster
    """The cluster whose API the principals may use."""
    access: AccessSettings
    """How they are mapped; `mode` is `aws-auth` or `access-entries`."""
    node_role_arn: pulumi.Input[str]
    """Role of the nodes that CAST AI starts."""
    node_role_unique_id: pulumi.Input[str]
    """IAM's unique id of that role, to which EKS binds an access entry."""
    user_arn: NotRequired[pulumi.Input[str]]
    """CAST AI's user; absent with a role, which does nothing in the cluster."""
    user_unique_id: NotRequired[pulumi.Input[str]]
    """IAM's unique id of the user; needed with `userArn`."""
    spot_role_arn: NotRequired[pulumi.Input[str]]
    """Role of the Spot function, for `spot.drain`."""
    spot_role_unique_id: NotRequired[pulumi.Input[str]]
    """IAM's unique id of that role; needed with `spotRoleArn`."""
    tags: NotRequired[dict[str, str]]
    """AWS tags on access entries."""


def mode_problems(args: Checked) -> Iterator[str]:
    """Yield that the mapping has to be chosen: it decides which resources there are."""
    if args.settings.access.mode == "auto":
        yield (
            "access.mode: found 'auto'; allowed: access-entries or aws-auth. A component asks AWS "
            "nothing before it is created: take access-entries unless the cluster's authentication "
            "mode is CONFIG_MAP"
        )


def _rules(args: Checked) -> Iterator[str]:
    yield from mode_problems(args)
    for principal, key in (("user", "user"), ("spot_role", "spotRole")):
        given = {
            suffix for suffix in ("arn", "unique_id") if f"{principal}_{suffix}" in args.inputs
        }
        if given == {"arn"}:
            yield f"{key}UniqueId: required with {key}Arn, and not given"
        elif given == {"unique_id"}:
            yield f"{key}Arn: required with {key}UniqueId, and not given"


_SHAPE = Shape(
    "AwsAuthMapping",
    settings={"cluster": "cluster", "access": "access", "tags": "tags"},
    inputs={
        "node_role_arn": RoleArn,
        "node_role_unique_id": Text,
        "user_arn": UserArn,
        "user_unique_id": Text,
        "spot_role_arn": RoleArn,
        "spot_role_unique_id": Text,
    },
    required=frozenset({"node_role_arn", "node_role_unique_id"}),
    rules=_rules,
)


class AwsAuthMapping(component.AwsAuthMapping):
    """Maps the role of the nodes, and in user mode CAST AI's user, into the cluster."""

    ready: pulumi.Output[bool]
    """True once all principals are mapped."""

    def __init__(
        self, name: str, args: AwsAuthMappingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create access entries through the AWS provider of `opts`, or edit aws-auth.

        Raises ArgumentError with every wrong argument before a resource is registered.
        """
        given = checked(_SHAPE, name, args)
        settings, inputs = given.settings, given.inputs
        claim(_SHAPE.component, name, settings)
        cluster, mode = settings.cluster, settings.access.mode
        mapped: component.AwsAuthMappingArgs = {
            "cluster_name": cluster.name,
            "region": cluster.region,
            "partition": arn.partition(cluster.region),
            "mode": "aws-auth" if mode == "aws-auth" else "access-entries",
            "node_role_arn": inputs["node_role_arn"],
            "node_role_unique_id": inputs["node_role_unique_id"],
            "settings": settings.access,
            "tags": settings.tags,
        }
        if "user_arn" in inputs:
            mapped["user_arn"] = inputs["user_arn"]
            mapped["user_unique_id"] = inputs["user_unique_id"]
            mapped["user_name"] = settings.resource_names.principal
        if "spot_role_arn" in inputs:
            mapped["roles"] = {
                "spot": {
                    "arn": inputs["spot_role_arn"],
                    "unique_id": inputs["spot_role_unique_id"],
                    "username": rbac.USERNAME,
                    "groups": [rbac.GROUP],
                }
            }
        super().__init__(name, mapped, opts)
