"""CastEKSRestrictedAccess: launches, instances, tags and node groups of the cluster."""

from collections.abc import Iterator

from castai_stack import arn
from castai_stack.iam.document import Condition, Flavour, PolicyDocument, Statement, allow, document
from castai_stack.iam.documented import documented_restricted
from castai_stack.iam.scope import (
    EKS_GROUP_TAG,
    EKS_INSTANCE_TAG,
    ID_TAG,
    Scope,
    any_ec2,
    auto_scaling_group,
    cluster_tag,
    eks_cluster,
    no_other_tags,
    node_groups,
    resource_tagged,
)
from castai_stack.iam.settings import Iam

_INSTANCE_ACTIONS = ("ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances")
GROUP_ACTIONS = (
    "autoscaling:DeleteAutoScalingGroup",
    "autoscaling:ResumeProcesses",
    "autoscaling:SuspendProcesses",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
)
SIZES_ONLY = {
    # A launch configuration carries a role of its own, and subnets may lie in another VPC. EC2
    # authorizes a launch template by the caller's RunInstances permissions:
    # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    "autoscaling:LaunchConfigurationName": ["true"],
    "autoscaling:VPCZoneIdentifiers": ["true"],
}


def restricted_policy(scope: Scope, flavour: Flavour, settings: Iam) -> PolicyDocument:
    """`CastEKSRestrictedAccess`: launches, instances, tags, Auto Scaling and node groups."""
    if flavour == "documented":
        return document(*documented_restricted(scope))
    return document(*_scoped_restricted(scope, settings))


def _tag(scope: Scope, settings: Iam) -> Iterator[Statement]:
    calls = ["RunInstances"]
    if settings.manage_security_groups:
        calls += ["CreateSecurityGroup"]
    if settings.manage_key_pairs:
        calls += ["CreateKeyPair", "ImportKeyPair"]
    # EC2 sets the key only while that call creates the resource, so no type needs to be listed:
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
    yield tag_on_creation(scope, "TagOnCreation", calls)
    yield allow(
        "TagOwnResources",
        ["ec2:CreateTags"],
        [any_ec2(scope)],
        {**resource_tagged(scope), **no_other_tags(scope)},
    )


def tag_on_creation(scope: Scope, sid: str, calls: list[str]) -> Statement:
    """Return the permission to tag resources that one of these calls creates."""
    condition: Condition = {
        "StringEquals": {"ec2:CreateAction": calls},
        **no_other_tags(scope),
    }
    return allow(sid, ["ec2:CreateTags"], [any_ec2(scope)], condition)


def _run(scope: Scope, settings: Iam) -> Iterator[Statement]:
    run = ["ec2:RunInstances"]
    in_vpc: Condition = {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}}
    if settings.security_group_ids:
        listed = [scope.own("ec2", f"security-group/{i}") for i in settings.security_group_ids]
        yield allow("RunWithListedSecurityGroups", run, listed)
        yield allow(
            "RunWithOwnSecurityGroups", run, scope.ec2("security-group"), resource_tagged(scope)
        )
        yield allow("RunInVpc", run, scope.ec2("network-interface"), in_vpc)
    else:
        yield allow("RunInVpc", run, scope.ec2("network-interface", "security-group"), in_vpc)
    # A launch creates its volumes and only reads the image. Neither carries a mark of a cluster.
    image = arn.regional(scope.partition, "ec2", scope.region, "", "image/*")
    yield allow("RunWithImagesAndVolumes", run, [image, *scope.ec2("volume")])
    yield allow("RunWithOwnKeyPairs", run, scope.ec2("key-pair"), resource_tagged(scope))


def _scoped_restricted(scope: Scope, settings: Iam) -> Iterator[Statement]:
    run = ["ec2:RunInstances"]
    yield allow(
        "RunInstancesTagRestriction",
        run,
        scope.ec2("instance"),
        {
            "StringEquals": {
                f"aws:RequestTag/{ID_TAG}": [scope.cluster_id],
                f"aws:RequestTag/{cluster_tag(scope)}": ["owned"],
            }
        },
    )
    owner = scope.subnet_owner
    subnets = [
        arn.regional(scope.partition, "ec2", scope.region, owner, f"subnet/{subnet}")
        for subnet in settings.subnet_ids or ["*"]
    ]
    yield allow(
        "RunInstancesVpcRestriction",
        run,
        subnets,
        None if settings.subnet_ids else {"ArnEquals": {"ec2:Vpc": scope.vpc_arns}},
    )
    yield from _run(scope, settings)
    yield from _tag(scope, settings)
    yield allow(
        "InstanceActionsTagRestriction",
        _INSTANCE_ACTIONS,
        scope.ec2("instance"),
        resource_tagged(scope),
    )
    if settings.original_nodes != "none":
        yield from instances_tagged(scope, "OriginalInstance", EKS_INSTANCE_TAG, [scope.cluster])
    yield from _auto_scaling(scope)
    yield from _node_groups(scope, settings)


def instances_tagged(scope: Scope, kind: str, tag: str, values: list[str]) -> Iterator[Statement]:
    """Yield permissions on instances whose tag has one of these values; `kind` is for Sids."""
    condition: Condition = {"StringEquals": {f"aws:ResourceTag/{tag}": values}}
    instances = scope.ec2("instance")
    yield allow(f"{kind}Actions", _INSTANCE_ACTIONS, instances, condition)
    yield allow(f"Tag{kind}s", ["ec2:CreateTags"], instances, {**condition, **no_other_tags(scope)})


def _auto_scaling(scope: Scope) -> Iterator[Statement]:
    all_groups = [auto_scaling_group(scope, "*")]
    tag = {f"aws:ResourceTag/{EKS_GROUP_TAG}": [scope.cluster]}
    yield allow(
        "AutoscalingActionsTagRestriction", GROUP_ACTIONS, all_groups, {"StringEquals": tag}
    )
    yield allow(
        "ResizeAutoScalingGroups",
        ["autoscaling:UpdateAutoScalingGroup"],
        all_groups,
        {"StringEquals": tag, "Null": SIZES_ONLY},
    )


def _node_groups(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield allow("ReadEks", ["eks:Describe*", "eks:List*"], [eks_cluster(scope), node_groups(scope)])
    if settings.manage_node_groups:
        manage = ["eks:DeleteNodegroup", "eks:UpdateNodegroupConfig"]
        yield allow("ManageNodeGroups", manage, [node_groups(scope)])
