"""CastEKSPolicy and the trust policy of CAST AI's role."""

from collections.abc import Iterator

from castai_stack import arn
from castai_stack.iam.document import (
    Flavour,
    PolicyDocument,
    Statement,
    allow,
    document,
    ec2_services,
    pass_role,
)
from castai_stack.iam.documented import documented_castai
from castai_stack.iam.node_role import NODE_MANAGED, node_boundary_arn
from castai_stack.iam.scope import Scope, request_tagged, resource_tagged
from castai_stack.iam.settings import Iam

PRINCIPAL_MANAGED = ("AmazonEC2ReadOnlyAccess", "IAMReadOnlyAccess")
_SPOT_EVENTS = (
    "EC2 Instance Rebalance Recommendation",
    "EC2 Spot Instance Interruption Warning",
)


def principal_trust(castai_principal_arn: str, external_id: str) -> PolicyDocument:
    """Trust policy that lets CAST AI's own user assume the role with the external id.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html
    """
    return document(
        {
            "Sid": "CastaiAssumesWithExternalId",
            "Effect": "Allow",
            "Action": ["sts:AssumeRole"],
            "Principal": {"AWS": [castai_principal_arn]},
            "Condition": {"StringEquals": {"sts:ExternalId": [external_id]}},
        }
    )


def castai_policy(scope: Scope, flavour: Flavour, settings: Iam) -> PolicyDocument:
    """`CastEKSPolicy`: instance profiles, roles, security groups, key pairs, Spot function."""
    if flavour == "documented":
        return document(*documented_castai(scope))
    return document(*_scoped_castai(scope, settings))


# --- scoped -------------------------------------------------------------------------------------


def _scoped_castai(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield pass_role("PassNodeRole", scope.node_role_arn, ec2_services(scope.partition))
    if settings.manage_node_role:
        yield from _manage_node_role(scope, settings)
    if settings.manage_security_groups:
        yield from _manage_security_groups(scope)
    if settings.manage_key_pairs:
        yield from _manage_key_pairs(scope)
    if settings.manage_lambda:
        yield pass_role("PassLambdaRole", scope.lambda_role_arn, ["lambda.amazonaws.com"])
        yield from _manage_lambda(scope)


def _manage_node_role(scope: Scope, settings: Iam) -> Iterator[Statement]:
    yield allow(
        "ManageInstanceProfile",
        [
            "iam:AddRoleToInstanceProfile",
            "iam:CreateInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:RemoveRoleFromInstanceProfile",
        ],
        [scope.iam("instance-profile", scope.instance_profile)],
    )
    boundary = node_boundary_arn(scope, "scoped", settings)
    if boundary is None:
        raise ValueError(
            "iam.manageNodeRole: found true without a boundary, so CAST AI could create a role "
            "that anybody may assume; set iam.nodeBoundary to true or iam.permissionsBoundaryArn, "
            "or iam.manageNodeRole to false"
        )
    # No condition key covers the trust policy, so the boundary must make the role harmless.
    yield allow(
        "CreateNodeRoleWithBoundary",
        ["iam:CreateRole"],
        [scope.node_role_arn],
        {"ArnEquals": {"iam:PermissionsBoundary": [boundary]}},
    )
    yield allow(
        "AttachNodePolicies",
        ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
        [scope.node_role_arn],
        {
            "ArnEquals": {
                "iam:PolicyARN": [arn.managed_policy(scope.partition, n) for n in NODE_MANAGED]
            }
        },
    )
    yield allow("DeleteNodeRole", ["iam:DeleteRole"], [scope.node_role_arn])


def _manage_security_groups(scope: Scope) -> Iterator[Statement]:
    groups = scope.ec2("security-group")
    yield allow("CreateSecurityGroup", ["ec2:CreateSecurityGroup"], groups, request_tagged(scope))
    # CreateSecurityGroup has no key `ec2:Vpc`; the VPC is a resource of the call.
    yield allow("CreateSecurityGroupInVpc", ["ec2:CreateSecurityGroup"], scope.vpc_arns)
    yield allow(
        "ManageOwnSecurityGroups",
        [
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:DeleteSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ],
        groups,
        resource_tagged(scope),
    )


def _manage_key_pairs(scope: Scope) -> Iterator[Statement]:
    pairs = scope.ec2("key-pair")
    yield allow(
        "CreateKeyPairs", ["ec2:CreateKeyPair", "ec2:ImportKeyPair"], pairs, request_tagged(scope)
    )
    yield allow("DeleteOwnKeyPairs", ["ec2:DeleteKeyPair"], pairs, resource_tagged(scope))


def _manage_lambda(scope: Scope) -> Iterator[Statement]:
    function = [scope.function_arn]
    rules = [
        scope.own("events", f"rule/{name}")
        for name in (scope.names.interruption_rule, scope.names.rebalance_rule)
    ]
    # A function in a VPC would create network interfaces there.
    yield allow(
        "CreateSpotFunction",
        ["lambda:CreateFunction"],
        function,
        {"Null": {"lambda:VpcIds": ["true"]}},
    )
    yield allow(
        "ManageSpotFunction", ["lambda:DeleteFunction", "lambda:UpdateFunctionCode"], function
    )
    yield allow(
        "AllowEventsToInvoke",
        ["lambda:AddPermission"],
        function,
        {"StringEquals": {"lambda:Principal": ["events.amazonaws.com"]}},
    )
    # ForAllValues also holds for a request without the key, hence the Null beside it:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    yield allow(
        "PutSpotRules",
        ["events:PutRule"],
        rules,
        {
            "ForAllValues:StringEquals": {
                "events:detail-type": list(_SPOT_EVENTS),
                "events:source": ["aws.ec2"],
            },
            "Null": {"events:detail-type": ["false"], "events:source": ["false"]},
        },
    )
    yield allow(
        "PutSpotTargets",
        ["events:PutTargets"],
        rules,
        {
            "ForAllValues:ArnEquals": {"events:TargetArn": function},
            "Null": {"events:TargetArn": ["false"]},
        },
    )
    yield allow("DeleteSpotRules", ["events:DeleteRule", "events:RemoveTargets"], rules)
