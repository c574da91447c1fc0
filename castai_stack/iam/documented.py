"""CastEKSPolicy and CastEKSRestrictedAccess as CAST AI publishes them."""

from collections.abc import Iterator

from castai_stack import arn
from castai_stack.iam.document import Condition, Statement, allow, ec2_services
from castai_stack.iam.scope import Scope, auto_scaling_group, cluster_tag


def documented_castai(scope: Scope) -> Iterator[Statement]:
    """Yield the statements of CastEKSPolicy as CAST AI publishes them."""
    everywhere = arn.iam(scope.partition, "*", "role/*")
    for service, sid in (
        ("ec2", "PassRoleEC2"),
        ("lambda", "PassRoleLambda"),
        ("eks", "PassRoleEKS"),
    ):
        services = (
            ec2_services(scope.partition) if service == "ec2" else [f"{service}.amazonaws.com"]
        )
        yield allow(
            sid,
            ["iam:PassRole"],
            [everywhere],
            {"StringEquals": {"iam:PassedToService": services}},
        )
    yield allow(
        "NonResourcePermissions",
        [
            "ec2:CreateKeyPair",
            "ec2:CreateSecurityGroup",
            "ec2:CreateTags",
            "ec2:DeleteKeyPair",
            "ec2:DescribeCapacityReservations",
            "ec2:ImportKeyPair",
            "iam:AddRoleToInstanceProfile",
            "iam:AttachRolePolicy",
            "iam:CreateInstanceProfile",
            "iam:CreateRole",
            "iam:CreateServiceLinkedRole",
            "iam:DeleteInstanceProfile",
            "iam:DeleteRole",
            "iam:DeleteServiceLinkedRole",
            "iam:DetachRolePolicy",
            "iam:RemoveRoleFromInstanceProfile",
        ],
        ["*"],
    )
    for sid, kind, call in (
        ("TagOnLaunching", "instance", "RunInstances"),
        ("TagSecurityGroups", "security-group", "CreateSecurityGroup"),
    ):
        yield allow(
            sid,
            ["ec2:CreateTags"],
            [_anywhere(scope, kind)],
            {"StringEquals": {"ec2:CreateAction": [call]}},
        )
    kinds = ("capacity-reservation", "key-pair", "network-interface", "security-group", "volume")
    image = arn.regional(scope.partition, "ec2", "*", "", "image/*")
    yield allow(
        "RunInstancesPermissions",
        ["ec2:RunInstances"],
        [*(_anywhere(scope, kind) for kind in kinds), image],
    )
    yield allow(
        "CreateLambdaFunctionRestriction",
        [
            "events:DeleteRule",
            "events:PutRule",
            "events:PutTargets",
            "events:RemoveTargets",
            "lambda:AddPermission",
            "lambda:CreateFunction",
            "lambda:DeleteFunction",
            "lambda:UpdateFunctionCode",
        ],
        ["*"],
    )


def documented_restricted(scope: Scope) -> Iterator[Statement]:
    """Yield the statements of CastEKSRestrictedAccess as CAST AI publishes them."""
    tag, owned = cluster_tag(scope), ["owned"]
    vpc_owner = scope.subnet_owner
    vpc = arn.regional(scope.partition, "ec2", scope.region, vpc_owner, f"vpc/{scope.vpc_id}")
    in_vpc: Condition = {"StringEquals": {"ec2:Vpc": [vpc]}}
    yield allow(
        "RunInstancesTagRestriction",
        ["ec2:RunInstances"],
        scope.ec2("instance"),
        {"StringEquals": {f"aws:RequestTag/{tag}": owned}},
    )
    yield allow(
        "RunInstancesVpcRestriction",
        ["ec2:RunInstances"],
        [arn.regional(scope.partition, "ec2", scope.region, vpc_owner, "subnet/*")],
        in_vpc,
    )
    yield allow(
        "InstanceActionsTagRestriction",
        ["ec2:CreateTags", "ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"],
        scope.ec2("instance"),
        {"StringEquals": {f"ec2:ResourceTag/{tag}": ["owned", "shared"]}},
    )
    yield allow(
        "VpcRestrictedActions",
        [
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:DeleteSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ],
        ["*"],
        in_vpc,
    )
    yield allow(
        "AutoscalingActionsTagRestriction",
        [
            "autoscaling:CreateAutoScalingGroup",
            "autoscaling:DeleteAutoScalingGroup",
            "autoscaling:ResumeProcesses",
            "autoscaling:SuspendProcesses",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            "autoscaling:UpdateAutoScalingGroup",
        ],
        [auto_scaling_group(scope, "*")],
        {"StringEquals": {f"autoscaling:ResourceTag/{tag}": ["owned", "shared"]}},
    )
    yield allow(
        "EKS",
        [
            "eks:CreateNodegroup",
            "eks:DeleteNodegroup",
            "eks:Describe*",
            "eks:List*",
            "eks:TagResource",
            "eks:UntagResource",
            "eks:UpdateNodegroupConfig",
        ],
        [
            scope.own("eks", f"cluster/{scope.cluster}"),
            scope.own("eks", f"nodegroup/{scope.cluster}/*/*"),
        ],
    )
    yield allow(
        "CreateLaunchTemplateWithTag",
        ["ec2:CreateLaunchTemplate"],
        ["*"],
        {"StringEquals": {f"aws:RequestTag/{tag}": owned}},
    )
    yield allow(
        "ManageLaunchTemplatesAndCreateNodeGroupWithLaunchTemplate",
        [
            "ec2:CreateLaunchTemplateVersion",
            "ec2:DeleteLaunchTemplate",
            "ec2:DescribeLaunchTemplateVersions",
            "ec2:DescribeLaunchTemplates",
        ],
        ["*"],
        {"StringEquals": {f"aws:ResourceTag/{tag}": owned}},
    )
    yield allow(
        "RunInstancesForEKSNodegroups",
        ["ec2:RunInstances"],
        [arn.regional(scope.partition, "ec2", "*", "*", "launch-template/*")],
        {"StringEquals": {f"aws:ResourceTag/{tag}": owned}},
    )


def _anywhere(scope: Scope, kind: str) -> str:
    return arn.regional(scope.partition, "ec2", "*", scope.account_id, f"{kind}/*")
