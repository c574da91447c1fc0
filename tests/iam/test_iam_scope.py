"""The proof: under `scoped` no write leaves the cluster, and no condition could be spared.

Requests are generated for every writing action that AWS's service reference lists, on every kind
of resource that the action is judged on (tests/support/world); the evaluator decides them as
IAM does (sandbox/iam_evaluator.py, itself held against AWS's examples in test_iam_evaluator.py).
"""

import copy
import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.iam.aws_managed_policies import aws_managed_policies_data

from castai_stack.iam import castai_policy, feature_policy, node_role, restricted_policy
from castai_stack.iam.document import PolicyDocument
from castai_stack.iam.scope import Scope
from castai_stack.iam.settings import Iam
from castai_stack.spot import role
from sandbox.iam_evaluator import Request, applies, granting, may, may_call
from tests.support import service_reference, world
from tests.support.world import Case

GOLDEN = Path(__file__).parents[1] / "golden" / "scoped-grants.txt"

PLAIN = Iam()
SWITCHED = Iam(
    create_node_groups=True,
    service_linked_roles=True,
    ipv6=True,
    auto_scaling_group_names=[world.listed_id("autoScalingGroup", world.scope())],
    capacity_reservation_ids=[world.listed_id("capacity-reservation", world.scope())],
    kms_key_arns=[world.scope().own("kms", f"key/{world.key_id(world.scope())}")],
)
LISTED = Iam(
    original_nodes="none",
    subnet_ids=[world.listed_id("subnet", world.scope())],
    security_group_ids=[world.listed_id("security-group", world.scope())],
)
BY_TAG = Iam(original_nodes="by-cluster-tag")
EVERY = pytest.mark.parametrize(
    "switches",
    [PLAIN, SWITCHED, LISTED, BY_TAG],
    ids=["plain", "switched", "listed", "cluster tag"],
)


def documents(scope: Scope, switches: Iam) -> list[PolicyDocument]:
    documents = [
        castai_policy.castai_policy(scope, "scoped", switches),
        restricted_policy.restricted_policy(scope, "scoped", switches),
    ]
    feature = feature_policy.feature_policy(scope, "scoped", switches)
    return [*documents, feature] if feature else documents


def allowed(policies: list[PolicyDocument], corpus: dict[str, list[Case]]) -> Iterator[Case]:
    for action, cases in corpus.items():
        deciding = granting(policies, action)
        if deciding:
            yield from (case for case in cases if may(deciding, case.request))


@functools.cache
def outside(switches: str) -> dict[str, list[Case]]:
    chosen = Iam.model_validate_json(switches)
    ours = world.scope()
    return {
        action: [case for case in cases if world.reaches_outside(ours, chosen, case)]
        for action, cases in world.corpus(ours).items()
    }


@EVERY
def test_of_more_than_twenty_thousand_requests_no_write_reaches_outside_the_cluster(switches):
    ours = world.scope()
    corpus = world.corpus(ours)
    total = sum(len(cases) for cases in corpus.values())
    assert total >= 20_000, f"only {total} requests were generated"
    leaks = [
        str(case)
        for case in allowed(documents(ours, switches), corpus)
        if world.reaches_outside(ours, switches, case)
    ]
    assert leaks == [], f"{len(leaks)} of {total} requests reach outside; the first: {leaks[:1]}"


def grants(switches: Iam) -> list[str]:
    """Actions and kinds of resource that are allowed; CreateTags knows too many kinds to list."""
    return sorted(
        {
            f"{case.action} {'any kind' if case.action == 'ec2:CreateTags' else case.kind}"
            for case in allowed(documents(world.scope(), switches), world.corpus(world.scope()))
        }
    )


def test_the_grants_inside_equal_the_golden_file():
    plain, switched = grants(PLAIN), grants(SWITCHED)
    extra = [f"{line} (switch)" for line in switched if line not in plain]
    assert "\n".join([*plain, *extra]) + "\n" == GOLDEN.read_text()


PAGE = {
    "autoscaling:DeleteAutoScalingGroup": "autoScalingGroup",
    "autoscaling:ResumeProcesses": "autoScalingGroup",
    "autoscaling:SuspendProcesses": "autoScalingGroup",
    "autoscaling:TerminateInstanceInAutoScalingGroup": "autoScalingGroup",
    "autoscaling:UpdateAutoScalingGroup": "autoScalingGroup",
    "ec2:AuthorizeSecurityGroupEgress": "security-group",
    "ec2:AuthorizeSecurityGroupIngress": "security-group",
    "ec2:CreateKeyPair": "key-pair",
    "ec2:CreateSecurityGroup": "security-group",
    "ec2:CreateTags": "instance",
    "ec2:DeleteKeyPair": "key-pair",
    "ec2:DeleteSecurityGroup": "security-group",
    "ec2:ImportKeyPair": "key-pair",
    "ec2:RevokeSecurityGroupEgress": "security-group",
    "ec2:RevokeSecurityGroupIngress": "security-group",
    "ec2:RunInstances": "instance",
    "ec2:StartInstances": "instance",
    "ec2:StopInstances": "instance",
    "ec2:TerminateInstances": "instance",
    "eks:DeleteNodegroup": "nodegroup",
    "eks:UpdateNodegroupConfig": "nodegroup",
    "events:DeleteRule": "rule-on-default-event-bus",
    "events:PutRule": "rule-on-default-event-bus",
    "events:PutTargets": "rule-on-default-event-bus",
    "events:RemoveTargets": "rule-on-default-event-bus",
    "iam:AddRoleToInstanceProfile": "instance-profile",
    "iam:AttachRolePolicy": "role",
    "iam:CreateInstanceProfile": "instance-profile",
    "iam:CreateRole": "role",
    "iam:DeleteInstanceProfile": "instance-profile",
    "iam:DeleteRole": "role",
    "iam:DetachRolePolicy": "role",
    "iam:PassRole": "role",
    "iam:RemoveRoleFromInstanceProfile": "instance-profile",
    "lambda:AddPermission": "function",
    "lambda:CreateFunction": "function",
    "lambda:DeleteFunction": "function",
    "lambda:UpdateFunctionCode": "function",
}
"""Actions behind the page's bullets, as CAST AI's policies of that time spell them."""


@pytest.mark.parametrize("action", sorted(PAGE))
def test_every_action_behind_the_page_is_allowed_inside(action):
    ours = world.scope()
    policies = granting(documents(ours, PLAIN), action)
    inside = [
        case
        for case in world.corpus(ours)[action.lower()]
        if case.kind == PAGE[action] and not world.reaches_outside(ours, PLAIN, case)
    ]
    assert any(may(policies, case.request) for case in inside), f"{action} is never allowed"


def launch(ours: Scope, **changes: dict[str, Any]) -> list[Request]:
    """Return one RunInstances call in our cluster, resource by resource."""
    vpc = {"ec2:Vpc": ours.vpc_arns[-1]}
    tags = {
        f"aws:RequestTag/kubernetes.io/cluster/{ours.cluster}": "owned",
        "aws:RequestTag/cast:cluster-id": ours.cluster_id,
    }
    parts: dict[str, tuple[str, dict[str, Any]]] = {
        "image": (f"arn:{ours.partition}:ec2:{ours.region}::image/ami-1", {}),
        "instance": (ours.own("ec2", "instance/*"), tags),
        "network-interface": (ours.own("ec2", "network-interface/*"), vpc),
        "security-group": (ours.own("ec2", "security-group/sg-1"), vpc),
        "subnet": (ours.own("ec2", "subnet/subnet-1"), vpc),
        "volume": (ours.own("ec2", "volume/*"), {}),
    }
    return [
        Request("ec2:RunInstances", where, changes.get(kind.replace("-", "_"), context))
        for kind, (where, context) in parts.items()
    ]


def test_a_launch_is_allowed_as_a_whole_and_refused_when_any_part_lies_elsewhere():
    ours = world.scope()
    policies = documents(ours, PLAIN)
    elsewhere = {"ec2:Vpc": ours.own("ec2", "vpc/vpc-0bbbbbbbbbbbbbbb2")}
    assert may_call(policies, launch(ours))
    assert not may_call(policies, launch(ours, subnet=elsewhere))
    assert not may_call(policies, launch(ours, security_group=elsewhere))
    assert not may_call(policies, launch(ours, network_interface=elsewhere))
    assert not may_call(policies, launch(ours, instance={}))


# --- every restriction is needed ----------------------------------------------------------------


def atoms(policies: list[PolicyDocument]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every pair of action and resource of every statement, as a statement of its own."""
    for policy in policies:
        for statement in policy["Statement"]:
            for action in statement["Action"]:
                for resource in statement["Resource"]:
                    atom = {**statement, "Action": [action], "Resource": [resource]}
                    yield f"{statement['Sid']}: {action} on {resource}", action.lower(), atom


def without_one_condition(atom: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for operator, block in atom.get("Condition", {}).items():
        for key in block:
            mutant = copy.deepcopy(atom)
            del mutant["Condition"][operator][key]
            yield f"{operator} {key}", mutant


def undetected(mutant: dict[str, Any], atom: dict[str, Any], cases: list[Case], bad: list[Case]):
    """Kinds of resource on which the mutant could spare what was taken away."""
    affected = kinds(atom, cases)
    if atom["Action"] == ["ec2:CreateTags"]:
        affected &= world.OF_NODES
    return sorted(affected - kinds(mutant, [case for case in bad if case.kind in affected]))


def kinds(statement: dict[str, Any], cases: list[Case]) -> set[str]:
    """Kinds of resource on which the statement applies to some request."""
    result: set[str] = set()
    for case in cases:
        if case.kind not in result and applies(statement, case.request):
            result.add(case.kind)
    return result


@EVERY
def test_the_proof_fails_without_any_one_condition(switches):
    corpus = world.corpus(world.scope())
    bad = outside(switches.model_dump_json(by_alias=True))
    count, survivors = 0, []
    for name, action, atom in atoms(documents(world.scope(), switches)):
        if action not in corpus:
            continue  # a read that shares its statement with writes
        for condition, mutant in without_one_condition(atom):
            count += 1
            sparing = undetected(mutant, atom, corpus[action], bad[action])
            survivors += [f"{name}, {kind}: {condition}" for kind in sparing]
    assert count > 40, "hardly any condition was tried"
    assert survivors == [], "conditions without which the proof still holds"


@EVERY
def test_the_proof_fails_when_any_resource_is_widened_to_everything(switches):
    corpus = world.corpus(world.scope())
    bad = outside(switches.model_dump_json(by_alias=True))
    survivors = []
    for name, action, atom in atoms(documents(world.scope(), switches)):
        if action not in corpus:
            continue  # reads
        if not any(applies({**atom, "Resource": ["*"]}, case.request) for case in bad[action]):
            survivors.append(name)
    allowance = (
        "CreateServiceLinkedRoles",  # of the account by nature, hence behind a switch
        "RunIn",  # the condition's VPC lies in one region and account already
    )
    assert [name for name in survivors if not name.startswith(allowance)] == []


def test_every_atom_of_every_statement_allows_something_inside():
    corpus = world.corpus(world.scope())
    idle = [
        name
        for name, action, atom in atoms(documents(world.scope(), SWITCHED))
        if action in corpus and not any(applies(atom, case.request) for case in corpus[action])
    ]
    allowance = (
        "CreateServiceLinkedRoles: iam:CreateServiceLinkedRole",  # roles of AWS's own making
        "PutSpot",  # the second rule's name; the generated rule bears the first one's
        "DeleteSpotRules",
    )
    assert [name for name in idle if not name.startswith(allowance)] == []


# --- every action of AWS ------------------------------------------------------------------------


@EVERY
def test_of_all_actions_of_all_services_only_the_reviewed_ones_are_granted_anywhere(switches):
    policies = documents(world.scope(), switches)
    reviewed = {line.split()[0] for line in GOLDEN.read_text().splitlines()}
    granted = {
        action.name
        for service in reachable(policies)
        for name, action in service_reference.actions(service).items()
        if action.writes and granting(policies, name)
    }
    if switches.service_linked_roles:
        reviewed.add("iam:CreateServiceLinkedRole")  # makes roles of AWS's, so no case allows it
    assert granted - reviewed == set(), "writes that nobody reviewed"


def reachable(policies: list[Any]) -> list[str]:
    """Services of AWS that a pattern of the policies could name: all but the spelled-out ones."""
    patterns = [
        pattern
        for policy in policies
        for statement in policy["Statement"]
        for key in ("Action", "NotAction")
        for pattern in statement.get(key, [])
    ]
    prefixes = {pattern.partition(":")[0].lower() for pattern in patterns}
    if any("*" in prefix or "?" in prefix for prefix in prefixes):
        return service_reference.services()
    return [service for service in service_reference.services() if service in prefixes]


# --- any cluster --------------------------------------------------------------------------------

LETTERS = "abcXYZ019-_"
cluster_names = st.builds(
    str.__add__,
    st.sampled_from("aZ0"),
    st.one_of(
        st.text(LETTERS, max_size=99),
        st.text(LETTERS, min_size=36, max_size=44),
        st.text(LETTERS, min_size=95, max_size=99),
    ),
)
places = st.sampled_from(
    [
        ("aws", "eu-central-1"),
        ("aws", "ap-southeast-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-northwest-1"),
    ]
)
scopes = st.builds(
    lambda cluster, place, account, owner, names, path: world.scope(
        cluster,
        partition=place[0],
        region=place[1],
        account_id=account,
        vpc_account_id=owner,
        names=names,
        path=path,
    ),
    cluster_names,
    places,
    st.sampled_from(["000000000001", "012345678901", "123456789012"]),
    st.sampled_from([None, "000000000002"]),
    st.sampled_from(["suffixed", "regional", "documented"]),
    st.sampled_from(["/", "/cast/ai/"]),
)


@functools.cache
def writing_actions() -> list[str]:
    """Actions granted somewhere; the others are the same for every cluster."""
    return sorted({line.split()[0].lower() for line in GOLDEN.read_text().splitlines()})


@given(ours=scopes)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
def test_the_proof_holds_for_any_name_partition_vpc_and_path(ours):
    policies = documents(ours, PLAIN)
    missing = set(PAGE)
    for name in writing_actions():
        deciding = granting(policies, name)
        action = service_reference.action(name)
        if action.tags:
            action = replace(action, kinds=tuple(k for k in action.kinds if k.name in KINDS))
        for case in world.cases(ours, action, depth=1):
            if may(deciding, case.request):
                assert not world.reaches_outside(ours, PLAIN, case), str(case)
                missing -= {case.action} if case.kind == PAGE.get(case.action) else set()
    assert missing == set(), "never allowed"


KINDS = frozenset({"instance", "volume", "security-group", "subnet"})


# --- what the roles may do ----------------------------------------------------------------------


@functools.cache
def managed() -> dict[str, Any]:
    """AWS-managed policies, as the package moto carries them, by name without path."""
    return json.loads(aws_managed_policies_data)


def attached(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [managed()[name.rpartition("/")[2]]["Document"] for name in names]


BOUNDED = pytest.mark.parametrize(
    "switches",
    [Iam(), Iam(ipv6=True), Iam(node_interface_tags=True)],
    ids=["plain", "ipv6", "interface tags"],
)


def node_policies(switches: Iam) -> list[Any]:
    inline = node_role.node_inline(world.scope(), switches)
    return [*attached(node_role.NODE_MANAGED), *([inline] if inline else [])]


def node_leaks(switches: Iam, boundary: list[Any]) -> list[str]:
    ours, weaknesses = world.scope(), []
    for action, cases in world.corpus(ours).items():
        deciding = granting(node_policies(switches), action)
        limit = granting(boundary, action)
        weaknesses += [
            str(case)
            for case in cases
            if deciding
            and may(deciding, case.request, limit)
            and world.node_reaches_outside(ours, switches, case)
        ]
    return weaknesses


@BOUNDED
def test_under_its_boundary_a_node_writes_nothing_outside_the_vpc_and_the_cluster(switches):
    assert node_leaks(switches, [node_role.node_boundary(world.scope(), switches)]) == []


def test_without_its_boundary_a_node_may_write_any_network_interface_of_the_account():
    leaks = node_leaks(Iam(), [{"Version": "2012-10-17", "Statement": [EVERYTHING]}])
    assert any("ec2:DeleteNetworkInterface" in leak for leak in leaks)


@BOUNDED
def test_under_its_boundary_a_node_may_still_do_all_that_its_policies_grant_at_home(switches):
    ours = world.scope()
    boundary = [node_role.node_boundary(ours, switches)]
    for document in node_policies(switches):
        for name in (n for s in document["Statement"] for n in s["Action"]):
            action = service_reference.action(name)
            deciding = granting([document], name)
            cases = list(world.cases(ours, action))
            allowed_kinds = {c.kind for c in cases if may(deciding, c.request, boundary)}
            expected_kinds = {c.kind for c in cases if may(deciding, c.request)}
            assert allowed_kinds == expected_kinds, (
                f"{name}: nothing of {expected_kinds - allowed_kinds} is left"
            )


@BOUNDED
def test_every_condition_of_the_node_boundary_is_needed(switches):
    ours = world.scope()
    corpus = world.corpus(ours)
    survivors = []
    for name, action, atom in atoms([node_role.node_boundary(ours, switches)]):
        bad = [c for c in corpus.get(action, []) if world.node_reaches_outside(ours, switches, c)]
        for condition, mutant in without_one_condition(atom):
            sparing = undetected(mutant, atom, corpus[action], bad)
            survivors += [f"{name}, {kind}: {condition}" for kind in sparing]
    assert survivors == []


def handler_things(ours: Scope) -> dict[str, str]:
    group = f"log-group:/aws/lambda/{ours.names.function}"
    return {
        "own log": ours.own("logs", f"{group}:log-stream:x"),
        "log of a longer name": ours.own("logs", f"{group}-eu:log-stream:x"),
        "another log": ours.own("logs", "log-group:/aws/lambda/billing:log-stream:x"),
        "own queue": ours.own("sqs", ours.names.dead_letter_queue),
        "another queue": ours.own("sqs", "orders"),
        "own secret": ours.own("secretsmanager", "secret:castai-abcdef"),
        "another secret": ours.own("secretsmanager", "secret:database-abcdef"),
        "own function": ours.function_arn,
        "another function": ours.own("lambda", "function:billing"),
        "everything": "*",
    }


def handler_may(limit: str) -> set[tuple[str, str]]:
    """What the Spot function's role may do with its policies and one way of limiting them."""
    ours = world.scope()
    things = handler_things(ours)
    place = (ours.partition, ours.region, ours.account_id, ours.names, things["own secret"])
    policies: list[Any] = [
        *attached(role.LAMBDA_MANAGED),
        role.lambda_inline(things["own queue"], things["own secret"]),
    ]
    limits = []
    if limit == "boundary":
        limits = [[role.lambda_boundary(*place)]]
    elif limit == "guard":
        policies.append(role.lambda_guard(*place))
    calls = set()
    for service in reachable(policies):
        for name, action in service_reference.actions(service).items():
            if not (action.writes or name == "secretsmanager:getsecretvalue"):
                continue
            if deciding := granting(policies, name):
                calls |= {
                    (action.name, label)
                    for label, where in things.items()
                    if may(deciding, Request(action.name, where), *limits)
                }
    return calls


@pytest.mark.parametrize("limit", ["boundary", "guard"])
def test_of_its_policies_the_spot_function_keeps_only_its_own_log_queue_and_key(limit):
    assert handler_may(limit) == {
        ("logs:CreateLogStream", "own log"),
        ("logs:PutLogEvents", "own log"),
        ("secretsmanager:GetSecretValue", "own secret"),
        ("sqs:SendMessage", "own queue"),
    }


def test_without_a_limit_the_spot_function_could_delete_any_log_and_invoke_any_function():
    calls = handler_may("none")
    assert ("logs:DeleteLogGroup", "another log") in calls
    assert ("lambda:InvokeFunction", "another function") in calls


def test_the_spot_function_may_look_up_instances_under_either_limit():
    ours = world.scope()
    place = (ours.partition, ours.region, ours.account_id, ours.names)
    request = Request("ec2:DescribeInstances", "*")
    policies = attached(role.LAMBDA_MANAGED)
    assert may(policies, request, [role.lambda_boundary(*place)])
    assert may([*policies, role.lambda_guard(*place)], request)


EVERYTHING = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
