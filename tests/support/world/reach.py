"""The expected verdict: which requests would reach outside of the cluster.

These rules read the facts of a case alone, never the policies under test.
"""

from dataclasses import replace

from castai_stack import arn
from castai_stack.iam.node_role import NODE_MANAGED
from castai_stack.iam.scope import Scope
from castai_stack.iam.settings import Iam
from sandbox.iam_evaluator import Value
from tests.support.world.clusters import cluster_tag
from tests.support.world.requests import EC2_EVENTS, Case, choices, decoded


def reaches_outside(ours: Scope, settings: Iam, case: Case) -> bool:
    """Whether a request would change, or use for a change, a resource outside of the cluster."""
    home, target = case.target.home, case.target
    if (home.region, home.account_id, home.partition) != (
        ours.region,
        ours.account_id,
        ours.partition,
    ):
        return not (case.kind in ("image", "snapshot") and home.region == ours.region)
    if _marks_another(ours, case) and not _tags_judged_apart(case):
        return True
    if settings.original_nodes == "by-cluster-tag" and _carries_cluster_tag(ours, case):
        case = replace(case, target=replace(target, own=True))
        target = case.target
    if rule := _RULES.get(case.action):
        return rule(ours, settings, case)
    return not target.own if not target.new else not _marked(ours, case)


def _carries_cluster_tag(ours: Scope, case: Case) -> bool:
    """Whether IAM reads a tag of an instance as the cluster's, as `by-cluster-tag` admits."""
    tags = {key.lower(): value for key, value in case.target.tags.items()}
    return case.kind == "instance" and tags.get(cluster_tag(ours).lower()) in ("owned", "shared")


def _tags_judged_apart(case: Case) -> bool:
    """Whether the tags of a request do not decide about its target.

    CreateTags, a part of the same call, authorizes the tags of a launch's volumes and interfaces.
    Outside of EC2, no policy identifies a resource by CAST AI's tag.
    """
    if case.action == "ec2:RunInstances":
        return case.kind in ("volume", "network-interface")
    return not case.action.startswith("ec2:")


def _marks_another(ours: Scope, case: Case) -> bool:
    return any(
        key.lower() == "cast:cluster-id" and value != ours.cluster_id
        for key, value in decoded(case.parameters.get("aws:requesttag/")).items()
    )


def _marked(ours: Scope, case: Case) -> bool:
    tags = {k.lower(): v for k, v in decoded(case.parameters.get("aws:requesttag/")).items()}
    return tags.get("cast:cluster-id") == ours.cluster_id


def _run_instances(ours: Scope, settings: Iam, case: Case) -> bool:
    ids = {
        "capacity-reservation": settings.capacity_reservation_ids,
        "security-group": settings.security_group_ids,
        "subnet": settings.subnet_ids,
    }.get(case.kind, [])
    if case.kind == "instance":
        tags = {k.lower(): v for k, v in decoded(case.parameters.get("aws:requesttag/")).items()}
        return not _marked(ours, case) or tags.get(cluster_tag(ours).lower()) != "owned"
    if case.kind in ("volume", "image"):
        return False
    if case.kind in ("subnet", "network-interface", "security-group") and not ids:
        return case.target.home.vpc_id != ours.vpc_id
    return not _listed(ids, case) and (case.kind == "subnet" or not _created_by_castai(case))


def _listed(ids: list[str], case: Case) -> bool:
    return case.target.arn.rpartition("/")[2] in ids


def _created_by_castai(case: Case) -> bool:
    return case.target.own and not case.target.original


def _create_tags(_ours: Scope, settings: Iam, case: Case) -> bool:
    if not case.target.new:
        return not case.target.own
    calls = {"RunInstances", "CreateSecurityGroup", "CreateKeyPair", "ImportKeyPair"}
    if settings.create_node_groups:
        calls.add("CreateLaunchTemplate")
    return case.parameters.get("ec2:createaction") not in calls


def _own_vpc(ours: Scope, _settings: Iam, case: Case) -> bool:
    if case.kind == "vpc":
        return case.target.home.vpc_id != ours.vpc_id
    return not _marked(ours, case)


def _create_role(ours: Scope, _settings: Iam, case: Case) -> bool:
    boundary = ours.iam("policy", ours.names.node_boundary)
    return (
        not _is(ours, case, "node role")
        or case.parameters.get("iam:permissionsboundary") != boundary
    )


def _attach(ours: Scope, _settings: Iam, case: Case) -> bool:
    allowed = {arn.managed_policy(ours.partition, name) for name in NODE_MANAGED}
    return not _is(ours, case, "node role") or case.parameters.get("iam:policyarn") not in allowed


def _pass_role(ours: Scope, settings: Iam, case: Case) -> bool:
    service = case.parameters.get("iam:passedtoservice")
    if _is(ours, case, "node role"):
        services = {"ec2.amazonaws.com", "eks.amazonaws.com"}
        return service not in (services if settings.create_node_groups else {"ec2.amazonaws.com"})
    return not _is(ours, case, "lambda role") or service != "lambda.amazonaws.com"


def _node_role_only(ours: Scope, _settings: Iam, case: Case) -> bool:
    return not (_is(ours, case, "node role") or _is(ours, case, "profile"))


def _function(ours: Scope, _settings: Iam, case: Case) -> bool:
    if not _is(ours, case, "function") or case.parameters.get("lambda:vpcids") is not None:
        return True
    return case.action == "lambda:AddPermission" and (
        case.parameters.get("lambda:principal") != "events.amazonaws.com"
    )


def _rule(ours: Scope, _settings: Iam, case: Case) -> bool:
    if not _is(ours, case, "rule"):
        return True
    if case.action == "events:PutTargets":
        return not _only(case.parameters.get("events:targetarn"), {ours.function_arn})
    return case.action == "events:PutRule" and not (
        _only(case.parameters.get("events:source"), {"aws.ec2"})
        and _only(case.parameters.get("events:detail-type"), set(EC2_EVENTS))
    )


def _only(value: Value | None, allowed: set[str]) -> bool:
    return isinstance(value, tuple) and bool(value) and set(value) <= allowed


def _group(_ours: Scope, settings: Iam, case: Case) -> bool:
    return not case.target.own and not _listed(settings.auto_scaling_group_names, case)


def _update_group(ours: Scope, settings: Iam, case: Case) -> bool:
    return (
        _group(ours, settings, case)
        or case.parameters.get("autoscaling:launchconfigurationname") is not None
        or case.parameters.get("autoscaling:vpczoneidentifiers") is not None
    )


def _volume_key(ours: Scope, _settings: Iam, case: Case) -> bool:
    via = choices(ours, "kms:viaservice")[0]
    if not _is(ours, case, "key") or case.parameters.get("kms:viaservice") != via:
        return True
    return (
        case.action == "kms:CreateGrant"
        and case.parameters.get("kms:grantisforawsresource") != "true"
    )


def _is(ours: Scope, case: Case, role: str) -> bool:
    return case.target.home == ours and case.target.role == role


_RULES = {
    "ec2:RunInstances": _run_instances,
    "ec2:CreateTags": _create_tags,
    "ec2:CreateSecurityGroup": _own_vpc,
    "iam:CreateRole": _create_role,
    "iam:AttachRolePolicy": _attach,
    "iam:DetachRolePolicy": _attach,
    "iam:PassRole": _pass_role,
    "iam:DeleteRole": _node_role_only,
    "iam:CreateInstanceProfile": _node_role_only,
    "iam:DeleteInstanceProfile": _node_role_only,
    "iam:AddRoleToInstanceProfile": _node_role_only,
    "iam:RemoveRoleFromInstanceProfile": _node_role_only,
    "lambda:CreateFunction": _function,
    "lambda:UpdateFunctionCode": _function,
    "lambda:DeleteFunction": _function,
    "lambda:AddPermission": _function,
    "events:PutRule": _rule,
    "events:PutTargets": _rule,
    "events:DeleteRule": _rule,
    "events:RemoveTargets": _rule,
    "autoscaling:DeleteAutoScalingGroup": _group,
    "autoscaling:ResumeProcesses": _group,
    "autoscaling:SuspendProcesses": _group,
    "autoscaling:TerminateInstanceInAutoScalingGroup": _group,
    "autoscaling:UpdateAutoScalingGroup": _update_group,
    "kms:CreateGrant": _volume_key,
    "kms:Decrypt": _volume_key,
    "kms:GenerateDataKeyWithoutPlaintext": _volume_key,
    "kms:ReEncryptFrom": _volume_key,
    "kms:ReEncryptTo": _volume_key,
}


def node_reaches_outside(ours: Scope, settings: Iam, case: Case) -> bool:
    """Whether a node would change anything but the interfaces of its VPC or of its cluster."""
    if (case.target.home.region, case.target.home.account_id) != (ours.region, ours.account_id):
        return True
    if _marks_another(ours, case) and case.action == "ec2:CreateTags":
        return True
    if case.kind == "instance":
        return not _created_by_castai(case)
    if case.target.new:
        return _node_creates_outside(ours, settings, case)
    if case.kind == "network-interface" and settings.node_interface_tags:
        return not case.target.own
    in_vpc = case.kind in ("network-interface", "security-group", "subnet")
    return not in_vpc or case.target.home.vpc_id != ours.vpc_id


def _node_creates_outside(ours: Scope, settings: Iam, case: Case) -> bool:
    if case.kind != "network-interface":
        return True
    if case.action == "ec2:CreateTags":
        creates = case.parameters.get("ec2:createaction") == "CreateNetworkInterface"
        return not creates and case.target.home.vpc_id != ours.vpc_id
    tags = decoded(case.parameters.get("aws:requesttag/"))
    named = tags.get("cluster.k8s.amazonaws.com/name") == ours.cluster
    return settings.node_interface_tags and not named
