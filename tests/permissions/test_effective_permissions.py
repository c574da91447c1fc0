"""What the components really ask AWS for, put through the evaluator: policies, boundaries, trust."""

import json

import pulumi
import pytest

from castai_stack import naming
from castai_stack.iam import castai_policy
from castai_stack.iam.component import CastIamComponent
from castai_stack.iam.settings import Iam
from castai_stack.spot.component import SpotLambdaComponent
from castai_stack.spot.settings import Spot
from sandbox.iam_evaluator import Request, granting, may, may_assume
from tests.iam.test_iam_scope import attached
from tests.support import world
from tests.support.engine import ACCOUNT, REGION, run

OURS = world.scope(account_id=ACCOUNT, region=REGION)
CASTAI = "arn:aws:iam::809060229965:user/cast-crossrole-x"


def registered(mode, switches, flavour="scoped"):
    """Return the registrations of both components by type and logical name."""

    def build():
        CastIamComponent(
            "iam",
            {
                "partition": "aws",
                "region": REGION,
                "account_id": ACCOUNT,
                "cluster_name": OURS.cluster,
                "cluster_id": pulumi.Output.from_input(OURS.cluster_id),
                "vpc_id": OURS.vpc_id,
                "vpc_account_id": ACCOUNT,
                "names": OURS.names,
                "mode": mode,
                "flavour": flavour,
                "castai_principal_arn": CASTAI,
                "external_id": OURS.cluster_id,
                "settings": switches,
                "tags": {},
            },
        )
        SpotLambdaComponent(
            "spot",
            {
                "partition": "aws",
                "region": REGION,
                "account_id": ACCOUNT,
                "cluster_name": OURS.cluster,
                "cluster_id": pulumi.Output.from_input(OURS.cluster_id),
                "api_url": "https://api.cast.ai",
                "api_key": pulumi.Output.secret("k"),
                "names": naming.names(OURS.cluster, "suffixed"),
                "flavour": flavour,
                "settings": Spot(),
                "iam": switches,
                "tags": {},
            },
        )

    return run(build).requests


def of(requests, type_):
    return [dict(r.object) for r in requests if r.type == f"aws:iam/{type_}"]


class Principal:
    """A user or role as AWS would see it: everything attached to it, and its boundary."""

    def __init__(self, requests, name):
        self.arns = {
            f"arn:aws:iam::{ACCOUNT}:policy/{p['name']}": p for p in of(requests, "policy:Policy")
        }
        kinds = (
            "userPolicyAttachment:UserPolicyAttachment",
            "rolePolicyAttachment:RolePolicyAttachment",
        )
        self.attached = [
            a["policyArn"]
            for kind in kinds
            for a in of(requests, kind)
            if name in (a.get("user"), a.get("role"))
        ]
        inline = [p for p in of(requests, "rolePolicy:RolePolicy") if p["role"] == name]
        self.policies = [
            *(self.text(policy) for policy in self.attached),
            *(json.loads(p["policy"]) for p in inline),
        ]
        principals = [*of(requests, "role:Role"), *of(requests, "user:User")]
        [self.itself] = [p for p in principals if p["name"] == name]
        boundary = self.itself.get("permissionsBoundary")
        self.limits = [[self.text(boundary)]] if boundary else []

    def text(self, policy):
        if policy in self.arns:
            return json.loads(self.arns[policy]["policy"])
        [document] = attached((policy.partition(":policy/")[2],))
        return document

    def may(self, request):
        return self.judge(request.action)(request)

    def judge(self, action):
        """Return what decides about one action, the statements looked up once."""
        policies = granting(self.policies, action)
        limits = [granting(limit, action) for limit in self.limits]
        return lambda request: bool(policies) and may(policies, request, *limits)


@pytest.mark.parametrize(
    ("mode", "switches"),
    [
        pytest.param("user", Iam(), id="user"),
        pytest.param("role", Iam(create_node_groups=True, ipv6=True), id="role, switched"),
    ],
)
def test_nothing_that_the_components_register_lets_a_write_leave_the_cluster(mode, switches):
    requests = registered(mode, switches)
    castai = Principal(requests, OURS.names.principal)
    node = Principal(requests, OURS.node_role)
    leaks, inside = [], set()
    for action, cases in world.corpus(OURS, depth=1).items():
        castai_may, node_may = castai.judge(action), node.judge(action)
        for case in cases:
            if castai_may(case.request):
                inside.add(case.action)
                if world.reaches_outside(OURS, switches, case):
                    leaks.append(f"CAST AI: {case}")
            if node_may(case.request) and world.node_reaches_outside(OURS, switches, case):
                leaks.append(f"nodes: {case}")
    assert leaks == []
    assert {"ec2:RunInstances", "ec2:TerminateInstances", "iam:CreateRole"} <= inside


@pytest.mark.parametrize("mode", ["user", "role"])
def test_attached_policies_are_those_of_the_page_and_of_the_program(mode):
    castai = Principal(registered(mode, Iam()), OURS.names.principal)
    names = {policy.rpartition("/")[2] for policy in castai.attached}
    inline = {OURS.names.restricted_policy} if mode == "user" else set()
    assert names == {*castai_policy.PRINCIPAL_MANAGED, OURS.names.castai_policy, *inline}


def test_a_role_created_by_castai_needs_the_boundary_of_the_node_role():
    requests = registered("role", Iam())
    node, castai = Principal(requests, OURS.node_role), Principal(requests, OURS.names.principal)
    boundary = node.itself["permissionsBoundary"]
    create = Request("iam:CreateRole", OURS.node_role_arn, {"iam:PermissionsBoundary": boundary})
    assert castai.may(create)


@pytest.mark.parametrize("theirs", [None, f"arn:aws:iam::{ACCOUNT}:policy/company"])
def test_the_spot_function_cannot_delete_logs_or_invoke_functions_under_any_boundary(
    theirs,
):
    requests = registered("role", Iam(permissions_boundary_arn=theirs))
    if theirs:
        everything = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
        text = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
        requests = [*requests, _Policy(text)]
    function = Principal(requests, OURS.names.lambda_role)
    log = OURS.own("logs", f"log-group:/aws/lambda/{OURS.names.function}:log-stream:x")
    other = OURS.own("logs", "log-group:/aws/lambda/billing:log-stream:x")
    queue = OURS.own("sqs", OURS.names.dead_letter_queue)
    assert function.may(Request("logs:PutLogEvents", log))
    assert function.may(Request("sqs:SendMessage", queue))
    assert function.may(Request("ec2:DescribeInstances", "*"))
    assert not function.may(Request("logs:PutLogEvents", other))
    assert not function.may(Request("logs:DeleteLogGroup", log))
    assert not function.may(Request("lambda:InvokeFunction", OURS.own("lambda", "function:x")))


class _Policy:
    """The operator's boundary, which no component registers."""

    type = "aws:iam/policy:Policy"

    def __init__(self, text):
        self.object = {"name": "company", "policy": text}


def test_only_castai_ec2_and_lambda_are_trusted():
    requests = registered("role", Iam())
    request = Request("sts:AssumeRole", "*", {"sts:ExternalId": OURS.cluster_id})
    trusted = {
        OURS.names.principal: ("AWS", CASTAI),
        OURS.node_role: ("Service", "ec2.amazonaws.com"),
        OURS.names.lambda_role: ("Service", "lambda.amazonaws.com"),
    }
    for name, (kind, who) in trusted.items():
        trust = json.loads(Principal(requests, name).itself["assumeRolePolicy"])
        assert may_assume(trust, kind, who, request)
        for other_kind, other in trusted.values():
            if other != who:
                assert not may_assume(trust, other_kind, other, request)
