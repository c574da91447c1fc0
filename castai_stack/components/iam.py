"""CAST AI's access to AWS, for other programs."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi

from castai_stack import arn
from castai_stack.components.arguments import Checked, Shape, checked
from castai_stack.components.eks_cluster import EksCluster, claim
from castai_stack.config.typed import CredentialsMode, Names, Permissions
from castai_stack.fields import ExternalId, UserArn, Uuid, VpcId
from castai_stack.iam import component
from castai_stack.iam.typed import IamSettings


class CastIamArgs(TypedDict):
    """Inputs of CastIamComponent."""

    cluster: EksCluster
    """The cluster that CAST AI may change."""
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster, a UUID."""
    vpc_id: pulumi.Input[str]
    """VPC of the cluster."""
    vpc_account_id: NotRequired[str]
    """Owner of a shared VPC when it is another account."""
    mode: NotRequired[CredentialsMode]
    """`user`: an IAM user. `role`: a role that CAST AI assumes. Default: `user`."""
    castai_principal_arn: NotRequired[pulumi.Input[str]]
    """CAST AI's own user, which a role trusts; needed with `role`."""
    external_id: NotRequired[pulumi.Input[str]]
    """External id of the role's trust policy. Default: the cluster id, as CAST AI sends it."""
    permissions: NotRequired[Permissions]
    """`scoped`: every write within this cluster. `documented`: as CAST AI publishes them.
    Default: `scoped`.
    """
    names: NotRequired[Names]
    """`suffixed`: names end in `-<cluster>`. `regional`: and in a hash of region and name.
    `documented`: bare, as on CAST AI's page. Default: `suffixed`.
    """
    iam: NotRequired[IamSettings]
    """Path, boundary, and what the scoped permissions include."""
    tags: NotRequired[dict[str, str]]
    """AWS tags on everything that can carry them."""


def _rules(args: Checked) -> Iterator[str]:
    if args.settings.principal is None:
        yield "credentials.mode: found 'none'; allowed: user or role, or leave the component out"
    elif args.settings.principal.trusts_castai and "castai_principal_arn" not in args.inputs:
        yield "castaiPrincipalArn: required while credentials.mode is role, and not given"


_SHAPE = Shape(
    "CastIamComponent",
    settings={
        "cluster": "cluster",
        "vpc_account_id": "cluster.vpcAccountId",
        "mode": "credentials.mode",
        "permissions": "permissions",
        "names": "names",
        "iam": "iam",
        "tags": "tags",
    },
    inputs={
        "cluster_id": Uuid,
        "vpc_id": VpcId,
        "castai_principal_arn": UserArn,
        "external_id": ExternalId,
    },
    required=frozenset({"cluster_id", "vpc_id"}),
    rules=_rules,
)


class CastIamComponent(component.CastIamComponent):
    """CAST AI's user, or the role that it assumes, with its policies; and the role of its nodes."""

    principal_arn: pulumi.Output[str]
    """ARN of the user or role; known before the policies are attached."""
    ready_principal_arn: pulumi.Output[str]
    """ARN of the user or role; known once every policy is attached, to hand over."""
    principal_name: pulumi.Output[str]
    """Name of the user or role."""
    principal_unique_id: pulumi.Output[str]
    """IAM's unique id of the user or role."""
    node_role_arn: pulumi.Output[str]
    """ARN of the role of the nodes."""
    node_role_unique_id: pulumi.Output[str]
    """IAM's unique id of that role, to which an access entry is bound."""
    instance_profile_arn: pulumi.Output[str]
    """ARN of the instance profile of the nodes."""

    def __init__(
        self, name: str, args: CastIamArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create the objects through the AWS provider of `opts`.

        Raises ArgumentError with every wrong argument before a resource is registered.
        """
        given = checked(_SHAPE, name, args)
        settings, inputs = given.settings, given.inputs
        claim(_SHAPE.component, name, settings)
        cluster, principal = settings.cluster, settings.principal
        super().__init__(
            name,
            {
                "partition": arn.partition(cluster.region),
                "region": cluster.region,
                "account_id": cluster.account_id,
                "cluster_name": cluster.name,
                "cluster_id": inputs["cluster_id"],
                "vpc_id": inputs["vpc_id"],
                "vpc_account_id": cluster.vpc_account_id or cluster.account_id,
                "names": settings.resource_names,
                "mode": principal.kind if principal else "user",
                "flavour": settings.permissions,
                "castai_principal_arn": inputs.get("castai_principal_arn", ""),
                "external_id": inputs.get("external_id", inputs["cluster_id"]),
                "settings": settings.iam,
                "tags": settings.tags,
            },
            opts,
        )
