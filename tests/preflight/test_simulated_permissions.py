"""The caller's permissions against a simulator that judges documents with the sandbox's evaluator."""

import itertools
import json
import os
import time

import pulumi
import pytest

from castai_stack.config.validation import validate
from castai_stack.permissions.operator import Requirement, request_context, requirements
from castai_stack.preflight import permissions
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import Caller
from castai_stack.preflight.permissions import Denial, Reasons, Verdict, judged, question
from sandbox.aws.policies import Policy, evaluate
from tests.support.coroutines import completed

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
CORPORATE = "arn:aws:iam::012345678901:policy/corp-boundary"
ROLE = Requirement("roles", ("iam:CreateRole",), ("arn:aws:iam::012345678901:role/r",))


def settings(**more):
    return validate({"cluster": CLUSTER, **more}, "castai-eks:castai")


def simulator(document, organization=None, *, reports_keys_for_resources=False):
    """A simulator of one caller; an organization's document takes part when given.

    The API reports missing keys of questions with resources where the data source does not look.
    """

    async def simulate(arguments):
        policies = [Policy("own", json.dumps(document))]
        policies += [Policy("more", text) for text in arguments.get("additionalPoliciesJsons", [])]
        context = {one["key"].lower(): one["values"] for one in arguments["contexts"]}
        named = arguments.get("resourceArns", [])
        assert "*" not in named
        verdicts = []
        for action, resource in itertools.product(arguments["actionNames"], named or ["*"]):
            own = evaluate(policies, None, action, resource, context)
            keys = (
                frozenset(own.missing) if reports_keys_for_resources or not named else frozenset()
            )
            verdict = Verdict(
                action,
                own.decision == "allowed",
                own.decision == "explicitDeny",
                bool(own.matched),
                keys,
            )
            if organization is not None:
                outer = evaluate(
                    [Policy("scp", json.dumps(organization))], None, action, resource, context
                )
                if outer.decision != "allowed":
                    verdict = Verdict(
                        action, allowed=False, explicit=outer.decision != "implicitDeny"
                    )
            verdicts.append(verdict)
        return tuple(verdicts)

    return simulate


def findings(simulate, **more):
    chosen = settings(**more)
    needed = requirements(chosen, access_entries=True)
    return completed(permissions.simulated_findings(needed, chosen, simulate))


def allow(condition=None, **statement):
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"}
            | ({"Condition": condition} if condition else {})
            | statement
        ],
    }


@pytest.mark.parametrize("mode", ["none", "user", "role"])
def test_an_administrator_lacks_nothing(mode):
    assert findings(simulator(allow()), credentials={"mode": mode}) == Findings()


def test_a_reader_lacks_every_write_and_no_read():
    lines = findings(simulator(allow(Action=["*:Get*", "*:List*", "*:Describe*"]))).missing

    assert any(line.startswith("AWS, user: iam:AttachUserPolicy, ") for line in lines)
    assert not any("iam:GetUser" in line for line in lines)


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:RequestedRegion": ["eu-central-1", "us-east-1"]}},
        {"StringEquals": {"aws:RequestTag/castai-eks:cluster": "demo"}},
        {"StringEquals": {"aws:ResourceTag/owner": "me"}},
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["castai-eks:cluster", "owner"]}},
    ],
    ids=["region", "request tag", "resource tag", "tag keys"],
)
def test_rights_with_a_condition_that_the_settings_determine_are_rights(condition):
    assert findings(simulator(allow(condition)), tags={"owner": "me"}) == Findings()


def test_rights_in_another_region_are_no_rights():
    document = allow({"StringEquals": {"aws:RequestedRegion": ["us-west-2"]}})

    assert findings(simulator(document)).missing


BOUNDED = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "NotAction": ["iam:CreateRole", "iam:CreateUser"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["iam:CreateRole", "iam:CreateUser"],
            "Resource": "*",
            "Condition": {"StringEquals": {"iam:PermissionsBoundary": CORPORATE}},
        },
    ],
}


def test_a_caller_who_must_set_a_boundary_may_when_the_settings_give_it():
    iam = {"permissionsBoundaryArn": CORPORATE}

    assert findings(simulator(BOUNDED), iam=iam) == Findings()


@pytest.mark.parametrize("reports_keys_for_resources", [True, False])
def test_a_caller_who_must_set_a_boundary_learns_the_missing_key(
    reports_keys_for_resources,
):
    simulate = simulator(BOUNDED, reports_keys_for_resources=reports_keys_for_resources)
    user = next(line for line in findings(simulate).missing if line.startswith("AWS, user"))

    assert user == (
        "AWS, user: iam:CreateUser on arn:aws:iam::012345678901:user/cast-eks-demo "
        "(the caller's policies ask for iam:PermissionsBoundary; these settings give none)"
    )


@pytest.mark.parametrize("reports_keys_for_resources", [True, False])
def test_rights_that_depend_on_what_only_aws_knows_are_doubtful(reports_keys_for_resources):
    document = allow({"StringEquals": {"aws:PrincipalTag/team": "platform"}})
    answer = findings(simulator(document, reports_keys_for_resources=reports_keys_for_resources))

    assert answer.missing == ()
    assert answer.inconclusive
    assert all("without aws:PrincipalTag/team, which only AWS knows" in line
               for line in answer.inconclusive)  # fmt: skip


@pytest.mark.parametrize(
    "organization",
    [
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "NotAction": "iam:CreateUser", "Resource": "*"}],
        },
        {
            "Version": "2012-10-17",
            "Statement": [
                *allow()["Statement"],
                {"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "*"},
            ],
        },
    ],
    ids=["not allowed", "denied"],
)
def test_a_denial_by_an_organizations_policy_is_doubtful(organization):
    answer = findings(simulator(allow(), organization))

    assert answer.missing == ()
    assert answer.inconclusive == (
        "AWS, user: iam:CreateUser on arn:aws:iam::012345678901:user/cast-eks-demo "
        "(a policy of the organization may deny it)",
    )


def test_a_denial_of_the_caller_s_own_policy_is_certain():
    document = allow()
    document["Statement"].append({"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "*"})

    assert [line.split(" on ")[0] for line in findings(simulator(document)).missing] == [
        "AWS, user: iam:CreateUser"
    ]


def test_a_question_without_an_answer_leaves_only_its_part_unchecked():
    reader = simulator(allow(Action="*:Get*"))

    async def simulate(arguments):
        if arguments["actionNames"] == ["iam:ListVirtualMFADevices"]:
            raise ValueError(
                "invoke of aws:x failed: invocation of aws:x returned an error: slow\n…"
            )
        return await reader(arguments)

    answer = findings(simulate)

    assert answer.inconclusive == (
        "AWS permissions were not checked for devices of the user: slow",
    )
    assert any("iam:CreateRole" in line for line in answer.missing)


def test_denials_stay_certain_when_their_reasons_cannot_be_asked():
    reader = simulator(allow(Action="*:Get*"))

    async def simulate(arguments):
        if "resourceArns" not in arguments and len(arguments["actionNames"]) > 1:
            raise ValueError("throttled")
        return await reader(arguments)

    assert findings(simulate).missing


def test_the_simulator_is_asked_about_whole_resources_only():
    arguments = question(
        ("iam:PassRole",),
        ("*", "arn:aws:iam::1:role/cast-demo-eks-*", "secret:api-key-??????"),
        {"aws:RequestedRegion": ("us-east-1",), "aws:TagKeys": ("a", "b")},
    )

    assert arguments == {
        "actionNames": ["iam:PassRole"],
        "resourceArns": ["arn:aws:iam::1:role/cast-demo-eks-00000000", "secret:api-key-000000"],
        "contexts": [
            {"key": "aws:RequestedRegion", "type": "string", "values": ["us-east-1"]},
            {"key": "aws:TagKeys", "type": "stringList", "values": ["a", "b"]},
        ],
    }
    assert "resourceArns" not in question(("iam:ListVirtualMFADevices",), ("*",), {})


@pytest.mark.parametrize(
    ("region", "iam_region"),
    [
        ("eu-central-1", "us-east-1"),
        ("cn-north-1", "cn-north-1"),
        ("us-iso-west-1", "us-iso-east-1"),
    ],
)
def test_a_request_names_the_region_that_answers(region, iam_region):
    chosen = settings(cluster={**CLUSTER, "region": region})
    function = Requirement("function", ("lambda:GetFunction",), ("arn",))

    assert request_context(ROLE, chosen)["aws:RequestedRegion"] == (iam_region,)
    assert request_context(function, chosen)["aws:RequestedRegion"] == (region,)


@pytest.mark.parametrize(
    ("iam", "boundaries"),
    [
        ({}, {"CastNodeBoundary-demo", "CastLambdaBoundary-demo"}),
        ({"permissionsBoundaryArn": CORPORATE}, {"corp-boundary"}),
        (
            {"nodeBoundary": False, "manageNodeRole": False},
            {None, "CastLambdaBoundary-demo"},
        ),
    ],
)
def test_each_role_is_asked_for_with_the_boundary_that_it_carries(iam, boundaries):
    needed = requirements(settings(iam=iam), access_entries=False)
    carried = {
        one.boundary and one.boundary.rpartition("/")[2] for one in needed if one.part == "roles"
    }

    assert carried == boundaries


def test_a_key_that_the_question_carried_is_not_called_missing():
    denial = Denial(ROLE, ("iam:CreateRole",), frozenset({"iam:PermissionsBoundary"}))
    reasons = Reasons({"iam:CreateRole": frozenset({"iam:permissionsboundary"})})

    assert judged([denial], reasons).missing == (
        "AWS, roles: iam:CreateRole on arn:aws:iam::012345678901:role/r",
    )


def test_the_root_user_is_not_asked_for():
    """The simulator takes users, groups and roles; a question about the root user is an error."""
    root = Caller("012345678901", "arn:aws:iam::012345678901:root")

    result = completed(
        permissions.permission_findings(root, [ROLE], settings(), None, preview=True)
    )

    assert result == Findings(
        inconclusive=(
            "AWS permissions were not checked: the simulator does not know the root user",
        )
    )


@pytest.fixture
def asking(monkeypatch, tmp_path):
    """Return a function that runs the check and tells whether AWS was asked."""
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    monkeypatch.setattr(pulumi.log, "info", lambda *_, **__: None)

    def run(answer=ALL_ALLOWED, *, preview=True, caller=OPERATOR, needed=ROLE, **preflight):
        calls = []

        async def ask(function, *_):
            calls.append(function)
            if "getSessionContext" in function:
                return {}
            return {"results": answer}

        monkeypatch.setattr(permissions, "ask", ask)
        given = settings(**({"preflight": preflight} if preflight else {}))
        check = permissions.permission_findings(caller, [needed], given, None, preview=preview)
        return completed(check), bool(calls)

    return run


ALL_ALLOWED = [{"actionName": "iam:CreateRole", "allowed": True, "decision": "allowed"}]
DENIED = [{"actionName": "iam:CreateRole", "allowed": False, "decision": "implicitDeny"}]
OPERATOR = Caller("012345678901", "arn:aws:sts::012345678901:assumed-role/platform/alice")


def test_a_preview_relies_on_a_complete_answer_of_the_last_hours(asking):
    assert asking(preview=False) == (Findings(), True)

    assert asking() == (Findings(), False)


def test_another_session_of_a_role_has_the_answer_of_the_role(asking):
    asking()
    session = Caller(OPERATOR.account_id, OPERATOR.arn.replace("alice", "bob"))

    assert asking(caller=session) == (Findings(), False)


@pytest.mark.parametrize(
    "different",
    [
        {"preview": False},
        {"caller": Caller("012345678901", "arn:aws:sts::012345678901:assumed-role/ci/alice")},
        {"caller": Caller("012345678901", "arn:aws:iam::012345678901:user/alice")},
        {"needed": Requirement("roles", ("iam:CreateRole",), ("arn:aws:iam::1:role/other",))},
        {"permissionAnswerHours": 0},
    ],
)
def test_aws_is_asked_again(asking, different):
    asking()

    assert asking(**different) == (Findings(), True)


def test_an_old_answer_is_asked_for_again(asking, tmp_path):
    asking()
    (note,) = (tmp_path / "castai-eks-permissions").iterdir()
    old = time.time() - 12.1 * 3600
    os.utime(note, (old, old))

    assert asking() == (Findings(), True)


def test_a_missing_permission_is_never_kept_and_ends_what_was(asking):
    asking()
    refused, _ = asking(DENIED, preview=False)

    assert refused != Findings()
    assert asking(DENIED) == (refused, True)
    assert asking(DENIED) == (refused, True)


def test_without_a_folder_every_preview_asks(asking, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "file"))

    assert [asking()[1], asking()[1]] == [True, True]
