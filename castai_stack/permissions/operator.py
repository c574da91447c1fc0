"""Permissions that the operator of a stack needs in AWS, as data: to preview, and to apply.

The preflight asks for exactly these, and docs/operator-permissions.md is generated from them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from castai_stack import arn, naming
from castai_stack.config.model import StackConfig
from castai_stack.config.principals import Principal
from castai_stack.iam import document, feature_policy, node_role
from castai_stack.spot import alarms as spot_alarms
from castai_stack.spot import events

_READS = re.compile(r":(Get|List|Describe|Simulate)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """Actions on one group of resources."""

    part: str
    """Name of the group in messages and in the policy's `Sid`."""
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    boundary: str | None = None
    """ARN of the permissions boundary that the stack sets on these principals."""
    passed_to: str | None = None
    """Service that receives a passed role."""
    conditions: tuple[tuple[str, str], ...] = ()
    """Keys and values that every request carries, where AWS makes the resource's name up."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Actions that change nothing; a preview needs no others."""
        return tuple(action for action in self.actions if _READS.search(action))


_DETERMINED = re.compile(
    r"aws:(RequestedRegion|TagKeys|RequestTag/.+)|iam:(PermissionsBoundary|PassedToService)",
    re.IGNORECASE,
)


def request_context(requirement: Requirement, settings: StackConfig) -> dict[str, tuple[str, ...]]:
    """Condition keys of the stack's requests, as far as the settings determine them.

    All calls of a requirement share one context: a key that only some of the calls carry, such as
    `aws:RequestTag/…`, is there for all of them.
    Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html,
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
    """
    region = settings.cluster.region
    if requirement.actions[0].startswith("iam:"):
        region = arn.iam_region(region)
    tags = {naming.CLUSTER_TAG: settings.cluster.name, **settings.tags}
    context = {"aws:RequestedRegion": (region,), "aws:TagKeys": tuple(tags)}
    for key, value in tags.items():
        context[f"aws:RequestTag/{key}"] = context[f"aws:ResourceTag/{key}"] = (value,)
    if requirement.boundary is not None:
        context["iam:PermissionsBoundary"] = (requirement.boundary,)
    if requirement.passed_to is not None:
        context["iam:PassedToService"] = (requirement.passed_to,)
    return context | {key: (value,) for key, value in requirement.conditions}


def is_determined(condition_key: str) -> bool:
    """Return True if the settings determine a condition key, also where a request has none."""
    return _DETERMINED.fullmatch(condition_key) is not None


def _iam(*names: str) -> tuple[str, ...]:
    return tuple(f"iam:{name}" for name in names)


_USER = _iam(
    "CreateUser", "DeleteUser", "GetUser", "TagUser", "UntagUser", "UpdateUser",
    "AttachUserPolicy", "DetachUserPolicy", "ListAttachedUserPolicies", "ListUserPolicies",
    "PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary", "ListGroupsForUser",
    "CreateAccessKey", "DeleteAccessKey", "UpdateAccessKey", "ListAccessKeys",
    "ListMFADevices", "ListSSHPublicKeys", "ListSigningCertificates",
    "ListServiceSpecificCredentials", "GetLoginProfile", "DeleteLoginProfile",
)  # fmt: skip
_ROLE = _iam(
    "CreateRole", "DeleteRole", "GetRole", "TagRole", "UntagRole", "UpdateRole",
    "UpdateRoleDescription", "UpdateAssumeRolePolicy",
    "AttachRolePolicy", "DetachRolePolicy", "ListAttachedRolePolicies",
    "PutRolePolicy", "DeleteRolePolicy", "GetRolePolicy", "ListRolePolicies",
    "PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary", "ListInstanceProfilesForRole",
)  # fmt: skip
_POLICY = _iam(
    "CreatePolicy", "DeletePolicy", "GetPolicy", "GetPolicyVersion", "ListPolicyVersions",
    "CreatePolicyVersion", "DeletePolicyVersion", "TagPolicy", "UntagPolicy",
)  # fmt: skip
_PROFILE = _iam(
    "CreateInstanceProfile", "DeleteInstanceProfile", "GetInstanceProfile",
    "TagInstanceProfile", "UntagInstanceProfile",
    "AddRoleToInstanceProfile", "RemoveRoleFromInstanceProfile",
)  # fmt: skip
_FUNCTION = (
    "lambda:CreateFunction", "lambda:DeleteFunction", "lambda:GetFunction",
    "lambda:GetFunctionCodeSigningConfig", "lambda:ListVersionsByFunction",
    "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
    "lambda:TagResource", "lambda:UntagResource", "lambda:ListTags",
    "lambda:AddPermission", "lambda:RemovePermission", "lambda:GetPolicy",
    "lambda:PutFunctionEventInvokeConfig", "lambda:GetFunctionEventInvokeConfig",
    "lambda:DeleteFunctionEventInvokeConfig",
)  # fmt: skip
_CONCURRENCY = ("lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency")
_RULE = (
    "events:PutRule", "events:DeleteRule", "events:DescribeRule",
    "events:PutTargets", "events:RemoveTargets", "events:ListTargetsByRule",
    "events:TagResource", "events:UntagResource", "events:ListTagsForResource",
)  # fmt: skip
_LOG_GROUP = (
    "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy",
    "logs:DeleteRetentionPolicy", "logs:TagResource", "logs:UntagResource",
    "logs:ListTagsForResource",
)  # fmt: skip
_QUEUE = (
    "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:GetQueueAttributes", "sqs:SetQueueAttributes",
    "sqs:GetQueueUrl", "sqs:TagQueue", "sqs:UntagQueue", "sqs:ListQueueTags",
)  # fmt: skip
_ALARM = (
    "cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms",
    "cloudwatch:TagResource", "cloudwatch:UntagResource", "cloudwatch:ListTagsForResource",
)  # fmt: skip
_SECRET = (
    "secretsmanager:CreateSecret", "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy", "secretsmanager:GetSecretValue",
    "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecret",
    "secretsmanager:TagResource", "secretsmanager:UntagResource",
    "secretsmanager:ListSecretVersionIds",
)  # fmt: skip
_NETWORK_READS = (
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
)  # fmt: skip
_GROUP = (
    "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress",
    "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
    "ec2:DeleteSecurityGroup", "ec2:CreateTags", "ec2:DeleteTags",
)  # fmt: skip
_NEW_GROUP = ("ec2:CreateSecurityGroup",)
_ENTRY_ON_CLUSTER = ("eks:CreateAccessEntry",)
_ENTRY = (
    "eks:DeleteAccessEntry", "eks:DescribeAccessEntry", "eks:UpdateAccessEntry",
    "eks:AssociateAccessPolicy", "eks:DisassociateAccessPolicy",
    "eks:ListAssociatedAccessPolicies", "eks:TagResource", "eks:UntagResource",
)  # fmt: skip


def requirements(settings: StackConfig, *, access_entries: bool) -> tuple[Requirement, ...]:
    """Every call of `pulumi up` and `pulumi destroy` in AWS, on exact names.

    Eight characters of the node role's name come from the registration and are a pattern here.
    """
    return tuple(_requirements(settings, access_entries=access_entries))


def _requirements(settings: StackConfig, *, access_entries: bool) -> Iterator[Requirement]:
    cluster, principal = settings.cluster, settings.principal
    names = settings.resource_names
    here = _Account(settings)
    own_cluster = here.regional("eks", f"cluster/{cluster.name}")
    yield Requirement("cluster", ("eks:DescribeCluster",), own_cluster)
    if principal is None:
        return
    operators = settings.iam.permissions_boundary_arn
    if principal.kind == "user":
        user = here.iam("user", names.principal)
        yield Requirement("user", _USER, user, boundary=operators)
        if settings.adoption.takes_key:
            # The import asks whose key it is:
            # hashicorp/terraform-provider-aws, internal/service/iam/access_key.go
            yield Requirement("access key to take over", _iam("GetAccessKeyLastUsed"), user)
        # Deleting a user with everything on it lists the account's devices:
        # hashicorp/terraform-provider-aws, internal/service/iam/user.go
        yield Requirement("devices of the user", ("iam:ListVirtualMFADevices",), ("*",))
    if settings.spot.by_lambda:
        yield from _spot(settings, names, here)
    yield from _roles(settings, principal, names, here)
    yield Requirement(
        "policies", _POLICY, here.iam("policy", *_policies(settings, principal, names))
    )
    node = names.node_role(cluster.name, "?" * 8)
    profile = names.instance_profile(cluster.name, "?" * 8)
    yield Requirement("instance profile", _PROFILE, here.iam("instance-profile", profile))
    yield Requirement(
        "node role for instances",
        ("iam:PassRole",),
        here.iam("role", node),
        passed_to=document.ec2_services(here.partition)[-1],
    )
    if settings.sets_nodes:
        yield Requirement("networks", _NETWORK_READS, ("*",))
    if settings.creates_security_group:
        yield from _security_group(settings, here)
    if access_entries:
        yield Requirement("access entries of the cluster", _ENTRY_ON_CLUSTER, own_cluster)
        entries = here.regional("eks", f"access-entry/{cluster.name}/*")
        yield Requirement("access entries", _ENTRY, entries)


class _Account:
    """ARNs in the account, region and IAM path of a stack."""

    def __init__(self, settings: StackConfig) -> None:
        self.partition = arn.partition(settings.cluster.region)
        self._region, self._account = settings.cluster.region, settings.cluster.account_id
        self._path = settings.iam.path

    def iam(self, kind: str, *names: str) -> tuple[str, ...]:
        return tuple(
            arn.iam(self.partition, self._account, f"{kind}{self._path}{name}") for name in names
        )

    def regional(self, service: str, *resources: str) -> tuple[str, ...]:
        return tuple(
            arn.regional(self.partition, service, self._region, self._account, resource)
            for resource in resources
        )


def _policies(settings: StackConfig, principal: Principal, names: naming.Names) -> list[str]:
    iam, flavour = settings.iam, settings.permissions
    own_boundaries = node_role.has_boundaries(flavour, iam)
    return [
        names.castai_policy,
        *([names.restricted_policy] if principal.restricted_policy == "managed" else []),
        *([names.feature_policy] if feature_policy.has_features(flavour, iam) else []),
        *([names.node_boundary] if node_role.has_node_boundary(flavour, iam) else []),
        *([names.lambda_boundary] if settings.spot.by_lambda and own_boundaries else []),
    ]


def _roles(
    settings: StackConfig, principal: Principal, names: naming.Names, here: _Account
) -> Iterator[Requirement]:
    """Roles, grouped by the boundary that they carry, which a condition may ask for."""
    iam, flavour = settings.iam, settings.permissions
    operators = iam.permissions_boundary_arn
    own_node = node_role.has_node_boundary(flavour, iam)
    own_function = node_role.has_boundaries(flavour, iam)

    def boundary(name: str, *, own: bool) -> str | None:
        return here.iam("policy", name)[0] if own else operators

    node = names.node_role(settings.cluster.name, "?" * 8)
    roles = {node: boundary(names.node_boundary, own=own_node)}
    if principal.kind == "role":
        roles[names.principal] = operators
    if settings.spot.by_lambda:
        roles[names.lambda_role] = boundary(names.lambda_boundary, own=own_function)
    for carried in dict.fromkeys(roles.values()):
        group = [name for name, boundary_arn in roles.items() if boundary_arn == carried]
        yield Requirement("roles", _ROLE, here.iam("role", *group), boundary=carried)


def _security_group(settings: StackConfig, here: _Account) -> Iterator[Requirement]:
    """Yield the nodes' security group, whose id AWS makes up: the stack's tag stands for it.

    EC2 sets `ec2:CreateAction` only while that call creates the resource:
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
    """
    tag, name = naming.CLUSTER_TAG, settings.cluster.name
    groups = here.regional("ec2", "security-group/*")
    requested, carried = (f"aws:RequestTag/{tag}", name), (f"aws:ResourceTag/{tag}", name)
    yield Requirement("new security group", _NEW_GROUP, groups, conditions=(requested,))
    vpc = here.regional("ec2", f"vpc/{settings.cluster.vpc_id or '*'}")
    yield Requirement("new security group in the VPC", _NEW_GROUP, vpc)
    created = ("ec2:CreateAction", "CreateSecurityGroup")
    yield Requirement(
        "tags of the new security group",
        ("ec2:CreateTags",),
        groups,
        conditions=(requested, created),
    )
    yield Requirement("security group", _GROUP, groups, conditions=(carried,))
    if group := settings.adoption.imports.get("node-security-group"):
        # It has no tag of the stack before its first update.
        existing_group = here.regional("ec2", f"security-group/{group}")
        yield Requirement("security group to take over", _GROUP, existing_group)


def _spot(settings: StackConfig, names: naming.Names, here: _Account) -> Iterator[Requirement]:
    spot = settings.spot
    function = here.regional("lambda", f"function:{names.function}")
    yield Requirement("function", _FUNCTION, function)
    if spot.reserved_concurrency is not None:
        yield Requirement("function concurrency", _CONCURRENCY, function)
    role = here.iam("role", names.lambda_role)
    yield Requirement("function role", ("iam:PassRole",), role, passed_to="lambda.amazonaws.com")
    rules = (f"rule/{names.interruption_rule}", f"rule/{names.rebalance_rule}")
    yield Requirement("rules", _RULE, here.regional("events", *rules))
    group = f"log-group:/aws/lambda/{names.function}"
    yield Requirement("log group", _LOG_GROUP, here.regional("logs", group, f"{group}:*"))
    groups = here.regional("logs", "log-group:*")
    yield Requirement("log groups", ("logs:DescribeLogGroups",), groups)
    yield Requirement("dead-letter queue", _QUEUE, here.regional("sqs", names.dead_letter_queue))
    # Exact names: a pattern would reach the alarms and keys of clusters with longer names.
    alarms = [spot_alarms.alarm_name(names.function, alarm) for alarm in spot_alarms.ALARMS]
    alarm_arns = here.regional("cloudwatch", *(f"alarm:{alarm}" for alarm in alarms))
    yield Requirement("alarms", _ALARM, alarm_arns)
    if spot.key_in_secrets_manager:
        secret = f"secret:{events.secret_name(names.function)}-??????"
        yield Requirement("secret", _SECRET, here.regional("secretsmanager", secret))


def policy(needed: Iterable[Requirement], *, apply: bool) -> dict[str, Any]:
    """Policy document of the operator: all permissions, or only the reads of a preview."""
    resources: dict[tuple[Any, ...], list[str]] = {}
    for requirement in needed:
        actions = requirement.actions if apply else requirement.reads
        if actions:
            key = (requirement.part, actions, requirement.conditions)
            resources.setdefault(key, []).extend(requirement.resources)
    statements = [
        {
            "Sid": "".join(word.capitalize() for word in part.split()).replace("-", ""),
            "Effect": "Allow",
            "Action": sorted(actions),
            "Resource": named,
            **({"Condition": {"StringEquals": dict(conditions)}} if conditions else {}),
        }
        for (part, actions, conditions), named in resources.items()
    ]
    # The simulator and AWS-managed policies are read without a resource to name.
    statements.append(
        {
            "Sid": "Lookups",
            "Effect": "Allow",
            "Action": ["iam:GetRole", "iam:GetUser", "iam:SimulatePrincipalPolicy"],
            "Resource": ["*"],
        }
    )
    return {"Version": "2012-10-17", "Statement": statements}
