"""CastEKSFeatures: writes that a setting switches on."""

from collections.abc import Iterator

from castai_stack import arn, naming
from castai_stack.iam.document import Flavour, PolicyDocument, Statement, allow, document, pass_role
from castai_stack.iam.restricted_policy import (
    GROUP_ACTIONS,
    SIZES_ONLY,
    instances_tagged,
    tag_on_creation,
)
from castai_stack.iam.scope import (
    Scope,
    auto_scaling_group,
    cluster_tag,
    eks_cluster,
    groups,
    request_tagged,
    resource_tagged,
)
from castai_stack.iam.settings import Iam

SERVICE_LINKED = (
    "autoscaling.amazonaws.com",
    "eks-nodegroup.amazonaws.com",
    "spot.amazonaws.com",
)


def feature_policy(scope: Scope, flavour: Flavour, settings: Iam) -> PolicyDocument | None:
    """`CastEKSFeatures`: what switches add to the page's grants, or None without any.

    A document of its own, so that the other two stay below the quota whatever is switched on.
    """
    statements = [*_keys(scope, settings)]
    if flavour == "scoped":
        statements += _features(scope, settings)
    return document(*statements) if statements else None


def has_features(flavour: Flavour, settings: Iam) -> bool:
    """Whether there is a `feature_policy`; that depends on the switches alone."""
    names = naming.names("", "suffixed")
    anywhere = Scope("aws", "", "", "", naming.PLACEHOLDER_CLUSTER_ID, "", names)
    return feature_policy(anywhere, flavour, settings) is not None


def _features(scope: Scope, settings: Iam) -> Iterator[Statement]:
    if settings.create_node_groups:
        yield from _create_node_groups(scope)
    if settings.original_nodes == "by-cluster-tag":
        shared = ["owned", "shared"]
        yield from instances_tagged(scope, "ClusterTaggedInstance", cluster_tag(scope), shared)
    if settings.auto_scaling_group_names:
        listed = [auto_scaling_group(scope, n) for n in settings.auto_scaling_group_names]
        yield allow("ListedAutoScalingGroups", GROUP_ACTIONS, listed)
        yield allow(
            "ResizeListedAutoScalingGroups",
            ["autoscaling:UpdateAutoScalingGroup"],
            listed,
            {"Null": SIZES_ONLY},
        )
    if settings.capacity_reservation_ids:
        yield allow(
            "RunInCapacityReservations",
            ["ec2:RunInstances"],
            [
                scope.own("ec2", f"capacity-reservation/{i}")
                for i in settings.capacity_reservation_ids
            ],
        )
    if settings.service_linked_roles:
        yield allow(
            "CreateServiceLinkedRoles",
            ["iam:CreateServiceLinkedRole"],
            [
                arn.iam(scope.partition, scope.account_id, f"role/aws-service-role/{service}/*")
                for service in SERVICE_LINKED
            ],
        )


def _create_node_groups(scope: Scope) -> Iterator[Statement]:
    templates = scope.ec2("launch-template")
    yield pass_role("PassNodeRoleToEks", scope.node_role_arn, ["eks.amazonaws.com"])
    yield allow("CreateNodeGroups", ["eks:CreateNodegroup"], [eks_cluster(scope)])
    tag = ["eks:TagResource", "eks:UntagResource"]
    yield allow("TagNodeGroups", tag, [groups(scope)])
    yield allow(
        "CreateLaunchTemplates", ["ec2:CreateLaunchTemplate"], templates, request_tagged(scope)
    )
    yield tag_on_creation(scope, "TagNewLaunchTemplates", ["CreateLaunchTemplate"])
    yield allow(
        "UseOwnLaunchTemplates",
        ["ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate", "ec2:RunInstances"],
        templates,
        resource_tagged(scope),
    )


def _keys(scope: Scope, settings: Iam) -> Iterator[Statement]:
    """Volumes under a customer-managed key.

    Source: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
    """
    if not settings.kms_key_arns:
        return
    suffix = "amazonaws.com.cn" if scope.partition == "aws-cn" else "amazonaws.com"
    via = {"kms:ViaService": [f"ec2.{scope.region}.{suffix}"]}
    yield allow(
        "UseVolumeKeys",
        [
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ],
        settings.kms_key_arns,
        {"StringEquals": via},
    )
    yield allow(
        "GrantVolumeKeys",
        ["kms:CreateGrant"],
        settings.kms_key_arns,
        {"Bool": {"kms:GrantIsForAWSResource": ["true"]}, "StringEquals": via},
    )
