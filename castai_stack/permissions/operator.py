"""AWS permissions that the operator of a stack needs, to preview and to apply.

The preflight checks these and the documentation prints them, so that both agree.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from castai_stack import arn, naming
from castai_stack.config.model import StackConfig
from castai_stack.iam import feature_policy, node_role
from castai_stack.spot import alarms as spot_alarms
from castai_stack.spot import events

_READS = re.compile(r":(Get|List|Describe|Simulate)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """Actions on one group of resources; `part` is its name in messages."""

    part: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Actions that change nothing, which are all that a preview needs."""
        return tuple(action for action in self.actions if _READS.search(action))


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
_ENTRY_ON_CLUSTER = ("eks:CreateAccessEntry",)
_ENTRY = (
    "eks:DeleteAccessEntry", "eks:DescribeAccessEntry", "eks:UpdateAccessEntry",
    "eks:AssociateAccessPolicy", "eks:DisassociateAccessPolicy",
    "eks:ListAssociatedAccessPolicies", "eks:TagResource", "eks:UntagResource",
)  # fmt: skip


def requirements(settings: StackConfig, *, access_entries: bool) -> tuple[Requirement, ...]:
    """Return the permissions of `pulumi up` and `pulumi destroy`, on exact names.

    The node role's name ends in eight characters of the registration's id; `????????` stands for
    them.
    """
    return tuple(_requirements(settings, access_entries=access_entries))


def _requirements(settings: StackConfig, *, access_entries: bool) -> Iterator[Requirement]:
    cluster, mode = settings.cluster, settings.credentials.mode
    partition = arn.partition(cluster.region)
    own = naming.names(cluster.name, settings.names)
    path = settings.iam.path

    def iam(kind: str, *names: str) -> tuple[str, ...]:
        return tuple(arn.iam(partition, cluster.account_id, f"{kind}{path}{n}") for n in names)

    def here(service: str, *resources: str) -> tuple[str, ...]:
        return tuple(
            arn.regional(partition, service, cluster.region, cluster.account_id, r)
            for r in resources
        )

    this = here("eks", f"cluster/{cluster.name}")
    yield Requirement("cluster", ("eks:DescribeCluster",), this)
    if mode == "none":
        return
    node = naming.node_role(cluster.name, "?" * 8)
    roles = [node]
    policies = [own.castai_policy]
    if mode == "user":
        yield Requirement("user", _USER, iam("user", own.principal))
        # The provider lists the account's devices before it deletes a user with `force_destroy`:
        # hashicorp/terraform-provider-aws, internal/service/iam/user.go
        yield Requirement("devices of the user", ("iam:ListVirtualMFADevices",), ("*",))
        policies.append(own.restricted_policy)
    else:
        roles.append(own.principal)
    if feature_policy.has_features(settings.permissions, settings.iam):
        policies.append(own.feature_policy)
    if node_role.has_node_boundary(settings.permissions, settings.iam):
        policies.append(own.node_boundary)
    if settings.spot.enabled:
        roles.append(own.lambda_role)
        if node_role.has_boundaries(settings.permissions, settings.iam):
            policies.append(own.lambda_boundary)
        yield from _spot(settings, own, iam, here)
    yield Requirement("roles", _ROLE, iam("role", *roles))
    yield Requirement("policies", _POLICY, iam("policy", *policies))
    yield Requirement("instance profile", _PROFILE, iam("instance-profile", node))
    yield Requirement("node role for instances", ("iam:PassRole",), iam("role", node))
    if access_entries:
        yield Requirement("access entries of the cluster", _ENTRY_ON_CLUSTER, this)
        entries = here("eks", f"access-entry/{cluster.name}/*")
        yield Requirement("access entries", _ENTRY, entries)


def _spot(settings: StackConfig, own: naming.Names, iam: Any, here: Any) -> Iterator[Requirement]:
    spot = settings.spot
    function = here("lambda", f"function:{own.function}")
    yield Requirement("function", _FUNCTION, function)
    if spot.reserved_concurrency is not None:
        yield Requirement("function concurrency", _CONCURRENCY, function)
    yield Requirement("function role", ("iam:PassRole",), iam("role", own.lambda_role))
    rules = here("events", f"rule/{own.interruption_rule}", f"rule/{own.rebalance_rule}")
    yield Requirement("rules", _RULE, rules)
    group = f"log-group:/aws/lambda/{own.function}"
    yield Requirement("log group", _LOG_GROUP, here("logs", group, f"{group}:*"))
    yield Requirement("log groups", ("logs:DescribeLogGroups",), here("logs", "log-group:*"))
    yield Requirement("dead-letter queue", _QUEUE, here("sqs", own.dead_letter_queue))
    # Exact names; a pattern would cover alarms and secrets of clusters with longer names.
    alarms = [spot_alarms.alarm_name(own.function, alarm) for alarm in spot_alarms.ALARMS]
    yield Requirement("alarms", _ALARM, here("cloudwatch", *(f"alarm:{a}" for a in alarms)))
    if spot.key_in_secrets_manager:
        secret = f"secret:{events.secret_name(own.function)}-??????"
        yield Requirement("secret", _SECRET, here("secretsmanager", secret))


def policy(needed: Iterable[Requirement], *, apply: bool) -> dict[str, Any]:
    """Return the operator's policy document: for an apply, or the reads of a preview."""
    statements = []
    for requirement in needed:
        actions = requirement.actions if apply else requirement.reads
        if actions:
            sid = "".join(word.capitalize() for word in requirement.part.split())
            statements.append(
                {
                    "Sid": sid.replace("-", ""),
                    "Effect": "Allow",
                    "Action": sorted(actions),
                    "Resource": list(requirement.resources),
                }
            )
    # These look-ups name the caller's own principal, which the program cannot know.
    statements.append(
        {
            "Sid": "Lookups",
            "Effect": "Allow",
            "Action": ["iam:GetRole", "iam:GetUser", "iam:SimulatePrincipalPolicy"],
            "Resource": ["*"],
        }
    )
    return {"Version": "2012-10-17", "Statement": statements}
