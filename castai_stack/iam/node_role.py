"""Role of the nodes that CAST AI launches: trust policy, boundary, inline policy."""

from collections.abc import Iterator

from castai_stack import arn
from castai_stack.iam.document import (
    Condition,
    Flavour,
    PolicyDocument,
    Statement,
    allow,
    document,
    ec2_services,
    service_trust,
)
from castai_stack.iam.scope import Scope, no_other_tags, resource_tagged
from castai_stack.iam.settings import Iam

NODE_MANAGED = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEKS_CNI_Policy",
)
_INTERFACE_TAG = "cluster.k8s.amazonaws.com/name"


def node_trust(partition: str) -> PolicyDocument:
    """Trust policy that lets EC2 assume the role for instances."""
    return service_trust("Ec2AssumesForNodes", ec2_services(partition)[-1])


def has_boundaries(flavour: Flavour, settings: Iam) -> bool:
    """Return True for `scoped` without `permissionsBoundaryArn`: roles get boundaries."""
    return flavour == "scoped" and settings.permissions_boundary_arn is None


def has_node_boundary(flavour: Flavour, settings: Iam) -> bool:
    """Return True if the node role gets this program's boundary."""
    return has_boundaries(flavour, settings) and settings.node_boundary


def node_boundary_arn(scope: Scope, flavour: Flavour, settings: Iam) -> str | None:
    """Return the ARN of the node role's boundary, which CAST AI must set when it creates the role.

    A role has one boundary at most, and the operator's comes first. None under `documented`.
    """
    if settings.permissions_boundary_arn is not None:
        return settings.permissions_boundary_arn
    if has_node_boundary(flavour, settings):
        return scope.iam("policy", scope.names.node_boundary)
    return None


def node_inline(scope: Scope, settings: Iam) -> PolicyDocument | None:
    """Return the permissions that the three AWS-managed policies of nodes lack, or None.

    IPv6: AmazonEKS_CNI_Policy does not assign IPv6 addresses.
    Source: https://docs.aws.amazon.com/eks/latest/userguide/cni-iam-role.html
    """
    if not settings.ipv6:
        return None
    return document(
        allow(
            "AssignIpv6InVpc",
            ["ec2:AssignIpv6Addresses"],
            scope.ec2("network-interface"),
            {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}},
        )
    )


def node_boundary(scope: Scope, settings: Iam) -> PolicyDocument:
    """Permissions boundary of the node role: only what a node of this cluster needs, in its VPC.

    AmazonEKS_CNI_Policy alone allows writes to every network interface of the account.
    Source: https://github.com/aws/amazon-vpc-cni-k8s/blob/master/docs/iam-policy.md
    """
    return document(*_node_boundary(scope, settings))


def _node_boundary(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield allow(
        "ReadAsNodesDo",
        [
            "ec2:Describe*",
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:Describe*",
            "ecr:Get*",
            "ecr:List*",
        ],
        ["*"],
    )
    yield allow(
        "JoinTheCluster",
        ["eks-auth:AssumeRoleForPodIdentity", "eks:DescribeCluster"],
        [scope.own("eks", f"cluster/{scope.cluster}")],
    )
    in_vpc: Condition = {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}}
    interface = scope.ec2("network-interface")
    subnets = arn.regional(scope.partition, "ec2", scope.region, scope.subnet_owner, "subnet/*")
    groups = scope.ec2("security-group")
    tagged = settings.node_interface_tags
    writes = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:AttachNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DetachNetworkInterface",
        "ec2:ModifyNetworkInterfaceAttribute",
        "ec2:UnassignPrivateIpAddresses",
        *(["ec2:AssignIpv6Addresses"] if settings.ipv6 else []),
    ]
    interface_tagged = {"StringEquals": {f"aws:ResourceTag/{_INTERFACE_TAG}": [scope.cluster]}}
    request_tags = {"StringEquals": {f"aws:RequestTag/{_INTERFACE_TAG}": [scope.cluster]}}
    yield allow("WriteInterfaces", writes, interface, interface_tagged if tagged else in_vpc)
    # CreateNetworkInterface has the key `ec2:Vpc` for subnet and groups, not for the interface.
    yield allow(
        "CreateInterfaces",
        ["ec2:CreateNetworkInterface"],
        interface,
        request_tags if tagged else None,
    )
    yield allow(
        "CreateInterfacesInVpc",
        ["ec2:CreateNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute"],
        [*groups, subnets],
        in_vpc,
    )
    yield allow(
        "AttachToOwnInstances",
        [
            "ec2:AttachNetworkInterface",
            "ec2:DetachNetworkInterface",
            "ec2:ModifyNetworkInterfaceAttribute",
        ],
        scope.ec2("instance"),
        resource_tagged(scope),
    )
    yield allow(
        "TagNewInterfaces",
        ["ec2:CreateTags"],
        interface,
        {
            "StringEquals": {"ec2:CreateAction": ["CreateNetworkInterface"]},
            **no_other_tags(scope),
        },
    )
    yield allow(
        "TagInterfaces",
        ["ec2:CreateTags"],
        interface,
        {**(interface_tagged if tagged else in_vpc), **no_other_tags(scope)},
    )
