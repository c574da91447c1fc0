"""What the operator of the stack must be allowed to do, as data: to preview, and to apply.

The preflight asks for exactly these and the README prints them, so that neither can drift.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from castai_stack import arn, command_line, iam_policies, naming, spot_events, stack_file
from castai_stack.agent_manifests import AGENT, NAMESPACE, TRUSTED_CA
from castai_stack.settings import StackConfig
from castai_stack.validation import SettingsError

_READS = re.compile(r":(Get|List|Describe|Simulate)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """Actions on one group of resources; `part` names it for people."""

    part: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the actions that change nothing: all that a preview needs."""
        return tuple(action for action in self.actions if _READS.search(action))


@dataclass(frozen=True, slots=True)
class KubernetesRequirement:
    """Verbs on one kind of Kubernetes object; an empty namespace means cluster-wide."""

    verbs: tuple[str, ...]
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


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
    """Everything that `pulumi up` and `pulumi destroy` do in AWS, on the exact names.

    Of the node role all but the eight characters of the registration's id is known beforehand.
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
        # Asked of the account when a user is deleted with all that hangs on it:
        # hashicorp/terraform-provider-aws, internal/service/iam/user.go
        yield Requirement("devices of the user", ("iam:ListVirtualMFADevices",), ("*",))
        policies.append(own.restricted_policy)
    else:
        roles.append(own.principal)
    if iam_policies.has_features(settings.permissions, settings.iam):
        policies.append(own.feature_policy)
    if iam_policies.has_node_boundary(settings.permissions, settings.iam):
        policies.append(own.node_boundary)
    if settings.spot.enabled:
        roles.append(own.lambda_role)
        if iam_policies.has_boundaries(settings.permissions, settings.iam):
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
    # Exact names: a pattern would reach the alarms and keys of clusters with longer names.
    alarms = [spot_events.alarm_name(own.function, alarm) for alarm in spot_events.ALARMS]
    yield Requirement("alarms", _ALARM, here("cloudwatch", *(f"alarm:{a}" for a in alarms)))
    if spot.key_in_secrets_manager:
        secret = f"secret:{spot_events.secret_name(own.function)}-??????"
        yield Requirement("secret", _SECRET, here("secretsmanager", secret))


def policy(needed: Iterable[Requirement], *, apply: bool) -> dict[str, Any]:
    """Policy document for the operator: everything, or only what a preview reads."""
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
    # The permissions report and AWS-managed policies are read without a resource to name.
    statements.append(
        {
            "Sid": "Lookups",
            "Effect": "Allow",
            "Action": ["iam:GetRole", "iam:GetUser", "iam:SimulatePrincipalPolicy"],
            "Resource": ["*"],
        }
    )
    return {"Version": "2012-10-17", "Statement": statements}


ROOT_CERTIFICATES = "kube-root-ca.crt"
"""ConfigMap in which every cluster publishes its own certificate authority."""
# The Kubernetes provider lists and watches what it deletes until it is gone.
_WRITES = ("create", "delete", "get", "list", "patch", "watch")
_GRANTS = ("bind", "escalate")


def kubernetes_requirements(
    settings: StackConfig, *, aws_auth: bool
) -> tuple[KubernetesRequirement, ...]:
    """Return what applying takes in the cluster; a preview takes `get` of it."""
    needed = [
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "clusterroles"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "clusterrolebindings"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "roles", "kube-system"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "rolebindings", "kube-system"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "roles", NAMESPACE),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "rolebindings", NAMESPACE),
        KubernetesRequirement(_WRITES, "apps", "deployments", NAMESPACE),
        KubernetesRequirement(_WRITES, "policy", "poddisruptionbudgets", NAMESPACE),
        KubernetesRequirement(_WRITES, "", "serviceaccounts", NAMESPACE),
        KubernetesRequirement(_WRITES, "", "configmaps", NAMESPACE),
        # A name limits all but creating, and looking on until a deleted one is gone.
        KubernetesRequirement(("create", "list", "watch"), "", "secrets", NAMESPACE),
        *(
            KubernetesRequirement(("delete", "get", "patch"), "", "secrets", NAMESPACE, name)
            for name in (AGENT, TRUSTED_CA)
        ),
        KubernetesRequirement(_WRITES, "", "resourcequotas", NAMESPACE),
        KubernetesRequirement(("get", "list"), "", "pods", NAMESPACE),
        KubernetesRequirement(("get",), "", "configmaps", "kube-system", ROOT_CERTIFICATES),
        KubernetesRequirement(("get", "list", "watch"), "", "events", NAMESPACE),
        # Writing a rule into a role, or a role into a binding, takes holding it, or these verbs.
        KubernetesRequirement(_GRANTS, "rbac.authorization.k8s.io", "clusterroles"),
        KubernetesRequirement(_GRANTS, "rbac.authorization.k8s.io", "roles", "kube-system"),
        KubernetesRequirement(_GRANTS, "rbac.authorization.k8s.io", "roles", NAMESPACE),
    ]
    if settings.agent.create_namespace:
        needed.append(KubernetesRequirement(_WRITES, "", "namespaces"))
    else:
        # What the agent made at run time is removed from a namespace that stays.
        needed.append(
            KubernetesRequirement(("delete",), "coordination.k8s.io", "leases", NAMESPACE)
        )
    if settings.agent.network_policy:
        needed.append(
            KubernetesRequirement(_WRITES, "networking.k8s.io", "networkpolicies", NAMESPACE)
        )
    if aws_auth and settings.credentials.mode != "none":
        needed += [
            # Creating cannot be limited to a name.
            KubernetesRequirement(("create",), "", "configmaps", "kube-system"),
            *(
                KubernetesRequirement(
                    ("delete", "get", "patch"), "", "configmaps", "kube-system", name
                )
                for name in ("aws-auth", "castai-aws-auth-backup")
            ),
        ]
    return tuple(needed)


def cluster_role(needed: Iterable[KubernetesRequirement], *, apply: bool) -> dict[str, Any]:
    """Cluster role for the operator: everything, or the `get` of a preview."""
    rules: dict[tuple[str, str, str], set[str]] = {}
    for requirement in needed:
        verbs = set(requirement.verbs) if apply else {"get"}.intersection(requirement.verbs)
        if verbs:
            key = (requirement.group, requirement.resource, requirement.name)
            rules.setdefault(key, set()).update(verbs)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"castai-eks-{'operator' if apply else 'preview'}"},
        "rules": [
            {
                "apiGroups": [group],
                "resources": [resource],
                **({"resourceNames": [name]} if name else {}),
                "verbs": sorted(verbs),
            }
            for (group, resource, name), verbs in rules.items()
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the operator of a stack file needs, as documents to apply."""
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack.operator_permissions", description=main.__doc__
    )
    parser.add_argument("stack_file", type=Path, help="Pulumi stack file, such as Pulumi.prod.yaml")
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=("apply", "preview"),
        default="apply",
        help="what the operator does; a preview needs no write (default: %(default)s)",
    )
    parser.add_argument(
        "--kubernetes",
        action="store_true",
        help="print the Kubernetes cluster role instead of the IAM policy",
    )
    options = parser.parse_args(arguments)
    try:
        settings = stack_file.read(options.stack_file)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 2
    apply = options.purpose == "apply"
    mapped_by = settings.access.mapped_by(settings.cluster.authentication_mode)
    if options.kubernetes:
        needed = kubernetes_requirements(settings, aws_auth="aws-auth" in mapped_by)
        text = yaml.safe_dump(cluster_role(needed, apply=apply), sort_keys=False)
    else:
        entries = "access-entries" in mapped_by
        text = json.dumps(
            policy(requirements(settings, access_entries=entries), apply=apply), indent=2
        )
    print(text.rstrip())  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    command_line.leave(main)
