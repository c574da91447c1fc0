"""Texts of the policies, by era.

Sources: castai/docs, docs/getting-started/credentials/configuring-eks-credentials (2021);
castai/terraform-provider-castai, castai/policies/{iam,user}-policy.json and its history.
"""

from typing import Any

from sandbox.sources.footprint import Document, Place

_AUTO_SCALING = (
    "UpdateAutoScalingGroup",
    "SuspendProcesses",
    "ResumeProcesses",
    "TerminateInstanceInAutoScalingGroup",
)


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(
    sid: str, actions: Any, resources: Any, equals: dict[str, Any] | None = None
) -> Document:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": {"StringEquals": equals}} if equals else statement


def _pass_role(sid: str, service: str, partition: str) -> Document:
    equals = {"iam:PassedToService": f"{service}.amazonaws.com"}
    return _allow(sid, "iam:PassRole", f"arn:{partition}:iam::*:role/*", equals)


def managed_2021(place: Place) -> Document:
    """Return `CastEKSPolicy` as the script of 2021 and 2022 writes it, for every cluster."""

    def anywhere(kind: str) -> str:
        return f"arn:{place.partition}:ec2:*:{place.account_id}:{kind}/*"

    return _document(
        _pass_role("PassRoleEC2", "ec2", place.partition),
        _pass_role("PassRoleLambda", "lambda", place.partition),
        _allow(
            "NonResourcePermissions",
            [
                "iam:CreateInstanceProfile",
                "iam:DeleteInstanceProfile",
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:AttachRolePolicy",
                "iam:DetachRolePolicy",
                "iam:AddRoleToInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:CreateServiceLinkedRole",
                "iam:DeleteServiceLinkedRole",
                "ec2:CreateSecurityGroup",
                "ec2:CreateKeyPair",
                "ec2:DeleteKeyPair",
                "ec2:CreateTags",
            ],
            "*",
        ),
        _allow(
            "TagOnLaunching",
            "ec2:CreateTags",
            anywhere("instance"),
            {"ec2:CreateAction": "RunInstances"},
        ),
        _allow(
            "TagSecurityGroups",
            "ec2:CreateTags",
            anywhere("security-group"),
            {"ec2:CreateAction": "CreateSecurityGroup"},
        ),
        _run_instances(place, "network-interface", "security-group", "volume", "key-pair"),
        _allow(
            "CreateLambdaFunctionRestriction",
            [
                "lambda:CreateFunction",
                "lambda:UpdateFunctionCode",
                "lambda:AddPermission",
                "lambda:DeleteFunction",
                "events:PutRule",
                "events:PutTargets",
                "events:DeleteRule",
                "events:RemoveTargets",
            ],
            "*",
        ),
    )


def managed_2025(place: Place) -> Document:
    """Return `CastEKSPolicy` as castai/terraform-provider-castai has it since October 2025.

    The script's own text of 2023 to 2025 is not public; that it is this one is inferred.
    """
    return _document(
        _pass_role("PassRoleEC2", "ec2", place.partition),
        _pass_role("PassRoleEKS", "eks", place.partition),
        _allow(
            "NonResourcePermissions",
            [
                "iam:CreateServiceLinkedRole",
                "ec2:CreateKeyPair",
                "ec2:CreateTags",
                "ec2:DeleteKeyPair",
                "ec2:DescribeCapacityReservations",
                "ec2:ImportKeyPair",
            ],
            "*",
        ),
        _run_instances(
            place,
            "capacity-reservation",
            "key-pair",
            "network-interface",
            "security-group",
            "volume",
        ),
    )


def _run_instances(place: Place, *kinds: str) -> Document:
    owned = [f"arn:{place.partition}:ec2:*:{place.account_id}:{kind}/*" for kind in kinds]
    resources = [*owned, f"arn:{place.partition}:ec2:*::image/*"]
    return _allow("RunInstancesPermissions", "ec2:RunInstances", resources)


def _within_cluster(place: Place, *auto_scaling: str) -> list[Document]:
    here = f"arn:{place.partition}:ec2:{place.region}:{place.account_id}"
    groups = f"arn:{place.partition}:autoscaling:{place.region}:{place.account_id}"
    tag = f"kubernetes.io/cluster/{place.cluster}"
    either = ["owned", "shared"]
    return [
        _allow(
            "RunInstancesTagRestriction",
            "ec2:RunInstances",
            f"{here}:instance/*",
            {f"aws:RequestTag/{tag}": "owned"},
        ),
        _allow(
            "RunInstancesVpcRestriction",
            "ec2:RunInstances",
            f"{here}:subnet/*",
            {"ec2:Vpc": f"{here}:vpc/{place.vpc_id}"},
        ),
        _allow(
            "InstanceActionsTagRestriction",
            ["ec2:TerminateInstances", "ec2:StartInstances", "ec2:StopInstances", "ec2:CreateTags"],
            f"{here}:instance/*",
            {f"ec2:ResourceTag/{tag}": either},
        ),
        _allow(
            "AutoscalingActionsTagRestriction",
            [f"autoscaling:{name}" for name in (*_AUTO_SCALING, *auto_scaling)],
            f"{groups}:autoScalingGroup:*:autoScalingGroupName/*",
            {f"autoscaling:ResourceTag/{tag}": either},
        ),
    ]


def _eks(place: Place, *actions: str) -> Document:
    here = f"arn:{place.partition}:eks:{place.region}:{place.account_id}"
    resources = [f"{here}:cluster/{place.cluster}", f"{here}:nodegroup/{place.cluster}/*/*"]
    return _allow("EKS", ["eks:Describe*", "eks:List*", *actions], resources)


def restricted_2021(place: Place) -> Document:
    """Return `CastEKSRestrictedAccess`, the user's inline policy of 2021."""
    vpc = f"arn:{place.partition}:ec2:{place.region}:{place.account_id}:vpc/{place.vpc_id}"
    return _document(
        *_within_cluster(place, "DeleteAutoScalingGroup"),
        _allow(
            "VpcRestrictedActions",
            [
                "ec2:RevokeSecurityGroupIngress",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:DeleteSecurityGroup",
            ],
            "*",
            {"ec2:Vpc": vpc},
        ),
        _eks(place, "eks:DeleteNodegroup", "eks:UpdateNodegroupConfig"),
    )


def restricted_2023(place: Place) -> Document:
    """Return `CastEKSRestrictedAccess` as the script of 2023 to 2025 writes it into the role."""
    return _document(*_within_cluster(place), _eks(place))


def restricted_2025(place: Place) -> Document:
    """Return the inline policy of castai/terraform-castai-eks-role-iam, from the provider."""
    tag = f"kubernetes.io/cluster/{place.cluster}"
    return _document(
        *_within_cluster(place, "CreateAutoScalingGroup", "DeleteAutoScalingGroup"),
        _eks(
            place,
            "eks:TagResource",
            "eks:UntagResource",
            "eks:CreateNodegroup",
            "eks:DeleteNodegroup",
        ),
        _allow(
            "CreateLaunchTemplateWithTag",
            "ec2:CreateLaunchTemplate",
            "*",
            {f"aws:RequestTag/{tag}": "owned"},
        ),
        _allow(
            "ManageLaunchTemplatesAndCreateNodeGroupWithLaunchTemplate",
            [
                "ec2:DescribeLaunchTemplates",
                "ec2:DeleteLaunchTemplate",
                "ec2:CreateLaunchTemplateVersion",
                "ec2:DescribeLaunchTemplateVersions",
            ],
            "*",
            {f"aws:ResourceTag/{tag}": "owned"},
        ),
        _allow(
            "RunInstancesForEKSNodegroups",
            "ec2:RunInstances",
            "arn:aws:ec2:*:*:launch-template/*",
            {f"aws:ResourceTag/{tag}": "owned"},
        ),
    )
