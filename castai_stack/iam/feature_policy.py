"""CastEKSFeatures: writes beyond CAST AI's page, each enabled by a setting."""

from collections.abc import Iterator

from castai_stack import arn
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
    node_groups,
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
    """`CastEKSFeatures`: permissions that settings add to those of the page; None without any.

    A separate document keeps the other two below their quota under all settings.
    """
    statements = [*_keys(scope, settings)]
    if flavour == "scoped":
        statements += _features(scope, settings)
    return document(*statements) if statements else None


def has_features(flavour: Flavour, settings: Iam) -> bool:
    """Return True if `feature_policy` returns a document for these settings."""
    if settings.kms_key_arns:
        return True
    return flavour == "scoped" and (
        settings.create_node_groups
        or settings.service_linked_roles
        or settings.original_nodes == "by-cluster-tag"
        or bool(settings.auto_scaling_group_names)
        or bool(settings.capacity_reservation_ids)
    )


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
    yield allow("TagNodeGroups", tag, [node_groups(scope)])
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
    """Permissions to use volumes under customer-managed keys.

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
