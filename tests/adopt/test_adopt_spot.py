"""The Spot function: an earlier stack's own objects are imported, everything else is left."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from castai_stack import naming
from castai_stack.adopt import reading_spot, spot
from castai_stack.adopt.observations import EarlierSpot, Function, Place, Principal
from castai_stack.adopt.spot import SpotPlan, Terms
from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import validate
from castai_stack.spot import alarms, objects

ACCOUNT, REGION = "012345678901", "eu-central-1"
PLACE = Place("prod", REGION, ACCOUNT, "aws", "vpc-1")
NAMES = naming.names("prod", "suffixed")
FUNCTION = NAMES.function
POLICY, AWS = f"arn:aws:iam::{ACCOUNT}:policy", "arn:aws:iam::aws:policy"
BOUNDARY = f"{POLICY}/{NAMES.lambda_boundary}"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{FUNCTION}-api-key-a1B2c3"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAMES.dead_letter_queue}"
INLINE = "spot-inline-1a2b3c4"
ROLE = Principal(
    "role",
    NAMES.lambda_role,
    attached=(f"{AWS}/AmazonEC2ReadOnlyAccess", f"{AWS}/service-role/AWSLambdaRole"),
    inline={INLINE: {}},
    boundary=BOUNDARY,
    stack_of="prod",
)
IMPORTS = {
    **{resource: one.name for resource, one in objects.named(NAMES).items()},
    "spot-boundary": BOUNDARY,
    "spot-dead-letters": QUEUE,
    "spot-api-key": SECRET,
    "spot-invoke-config": FUNCTION,
    "spot-interruption-target": f"{NAMES.interruption_rule}/spot-handler",
    "spot-interruption-permission": f"{FUNCTION}/AllowRule-interruption",
}
TERMS = Terms("scoped", "/", operator_boundary=False)
SPOKEN_FOR = {"drain": False, "keyInSecretsManager": True}


def planned(terms: Terms = TERMS, **changes: Any) -> SpotPlan:
    plain = EarlierSpot(NAMES, ROLE, IMPORTS, SPOKEN_FOR)
    earlier = replace(plain, **changes)
    names = (earlier.names.interruption_rule,)
    function = Function(earlier.names.function, earlier.role.name, names, earlier)
    plan = spot.plan((function,), PLACE, terms)
    cluster = {"name": "prod", "region": REGION, "accountId": ACCOUNT}
    sections = {"physicalNames": plan.names, "adoption": {"imports": plan.imports}}
    iam = {"permissionsBoundaryArn": f"{POLICY}/org"} if terms.operator_boundary else {}
    assert validate({"cluster": cluster, "spot": plan.settings, "iam": iam, **sections}, KEY)
    return plan


def fates(plan: SpotPlan) -> dict[str, str]:
    return {row.name: row.fate for row in plan.rows}


def test_everything_with_the_tag_of_the_stack_is_imported():
    plan = planned()

    assert plan.imports == {
        **IMPORTS,
        "spot-role": ROLE.name,
        "spot-AmazonEC2ReadOnlyAccess": f"{ROLE.name}/{AWS}/AmazonEC2ReadOnlyAccess",
        "spot-AWSLambdaRole": f"{ROLE.name}/{AWS}/service-role/AWSLambdaRole",
        "spot-inline": f"{ROLE.name}:{INLINE}",
    }
    assert set(fates(plan).values()) == {"taken over"}
    assert (plan.names, plan.commands) == ({}, [])
    assert plan.settings == {"keyInSecretsManager": True}


def test_values_that_are_no_defaults_become_settings():
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
    values = {**SPOKEN_FOR, "memoryMb": 512, "logRetentionDays": 30, "alarmTopicArn": topic}

    plan = planned(settings=values)
    assert plan.settings == {
        "keyInSecretsManager": True,
        "memoryMb": 512,
        "alarmTopicArn": topic,
    }


@pytest.mark.parametrize("flavour", ["documented", "regional"])
def test_other_names_of_the_stack_are_given(flavour: Any):
    names = naming.names("prod", flavour, REGION)
    plan = planned(
        names=names,
        imports={"spot-function": names.function},
        role=replace(ROLE, name=names.lambda_role),
    )

    assert plan.names["function"] == names.function
    assert plan.names["lambdaRole"] == names.lambda_role
    assert ("deadLetterQueue" in plan.names) is (flavour == "regional")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"doubts": ("queue q lacks the tag castai-eks:cluster=prod",)},
            "queue q lacks the tag castai-eks:cluster=prod",
        ),
        ({"settings": {"logRetentionDays": 400}}, "spot.logRetentionDays: found 400; allowed"),
        ({"role": replace(ROLE, path="/theirs/")}, "is under the IAM path /theirs/"),
    ],
)
def test_what_may_be_somebody_elses_or_cannot_be_expressed_is_left(changes: Any, why: str):
    plan = planned(**changes)

    assert plan.settings == {"enabled": False}
    assert (plan.imports, plan.names, plan.commands) == ({}, {}, [])
    assert set(fates(plan).values()) == {"left"}
    assert all(why in row.remark for row in plan.rows)


@pytest.mark.parametrize(
    "terms",
    [
        Terms("documented", "/", operator_boundary=False),
        Terms("scoped", "/", operator_boundary=True),
    ],
)
def test_objects_without_a_resource_under_the_settings_are_deleted_by_hand(terms: Terms):
    plan = planned(terms, settings={"keyInSecretsManager": False})

    assert not {"spot-boundary", "spot-api-key"} & set(plan.imports)
    assert plan.commands == [
        f"aws iam delete-policy --policy-arn {BOUNDARY}",
        f"aws secretsmanager delete-secret --secret-id {SECRET}",
    ]
    left = {name for name, fate in fates(plan).items() if fate == "left"}
    assert left == {NAMES.lambda_boundary, f"{FUNCTION}-api-key"}


def test_a_guard_is_imported_where_the_stack_has_one():
    role = replace(ROLE, inline={INLINE: {}, "spot-guard-1a2b3c4": {}, "theirs": {}})
    guarded = planned(Terms("scoped", "/", operator_boundary=True), role=role)
    plain = planned(role=role)

    assert guarded.imports["spot-guard"] == f"{ROLE.name}:spot-guard-1a2b3c4"
    assert "spot-guard" not in plain.imports
    delete = f"aws iam delete-role-policy --role-name {ROLE.name} --policy-name"
    assert plain.commands == [f"{delete} spot-guard-1a2b3c4", f"{delete} theirs"]
    assert f"{delete} theirs" in guarded.commands


def test_policies_of_others_on_the_role_are_named():
    plan = planned(role=replace(ROLE, attached=(*ROLE.attached, f"{POLICY}/theirs")))

    assert fates(plan)["theirs"] == "left"
    assert not [one for one in plan.imports.values() if one.endswith("/theirs")]


class AbsentError(ClientError):
    """How Lambda and others answer about what does not exist."""

    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "x")


class Aws:
    """An account with the function of a stack, as far as the command asks for it."""

    def __init__(self, tags: dict[str, str], **answers: Any) -> None:
        self._tags = tags
        self._answers = answers
        self.exceptions = SimpleNamespace(ResourceNotFoundException=AbsentError)

    def __getattr__(self, operation: str) -> Any:
        return lambda **arguments: self._answer(operation, arguments)

    def _answer(self, operation: str, arguments: Any) -> Any:
        listed = [{"Key": key, "Value": value} for key, value in self._tags.items()]
        group = {"logGroupName": f"/aws/lambda/{FUNCTION}", "arn": "arn:*", "retentionInDays": 7}
        own = self._answers.get("function", True)
        if operation == "get_function" and (arguments["FunctionName"] != FUNCTION or not own):
            raise AbsentError
        if operation == "describe_secret":
            raise AbsentError
        answers = {
            "get_function": {
                "Configuration": {
                    "FunctionName": FUNCTION,
                    "FunctionArn": "arn:f",
                    "Role": f"arn:aws:iam::{ACCOUNT}:role/{ROLE.name}",
                    "MemorySize": 256,
                    "Environment": {"Variables": {"CASTAI_API_KEY": "SENTINEL", "DRAIN": "true"}},
                },
                "Tags": self._tags,
            },
            "list_policy_tags": {"Tags": listed},
            "list_rule_names_by_target": {"RuleNames": [NAMES.interruption_rule]},
            "describe_rule": {"Arn": "arn:r"},
            "list_tags_for_resource": {"Tags": listed, "tags": self._tags},
            "get_queue_url": {"QueueUrl": QUEUE},
            "list_queue_tags": {"Tags": self._tags},
            "describe_log_groups": {"logGroups": [group]},
            "describe_alarms": {"MetricAlarms": []},
            "list_targets_by_rule": {
                "Targets": [
                    {"Id": "spot-handler", "Arn": "arn:f"}
                    if arguments.get("Rule") == NAMES.interruption_rule
                    else {"Id": "spot-handler", "Arn": "arn:theirs"}
                ]
            },
            "get_policy": {"Policy": '{"Statement": [{"Sid": "AllowRule-rebalance"}]}'},
            "get_function_event_invoke_config": {"MaximumEventAgeInSeconds": 60},
        }
        return {**answers, **self._answers}[operation]

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_policies"
        policies = self._answers.get("list_policies", [])
        return SimpleNamespace(paginate=lambda **_: [{"Policies": policies}])


def read(tags: dict[str, str], **answers: Any) -> list[Function]:
    clients: Any = lambda _: Aws(tags, **answers)  # noqa: E731
    role = answers.get("role", ROLE)
    return list(reading_spot.functions(clients, PLACE, {ROLE.name: role}.get))


def test_what_a_stack_of_this_cluster_created_is_read_by_names_and_tags():
    (function,) = read({"castai-eks:cluster": "prod"})

    earlier = function.earlier
    assert earlier is not None
    assert earlier.imports == {
        "spot-function": FUNCTION,
        "spot-dead-letters": QUEUE,
        "spot-interruption-rule": NAMES.interruption_rule,
        "spot-rebalance-rule": NAMES.rebalance_rule,
        "spot-log-group": f"/aws/lambda/{FUNCTION}",
        "spot-invoke-config": FUNCTION,
        "spot-interruption-target": f"{NAMES.interruption_rule}/spot-handler",
        "spot-rebalance-permission": f"{FUNCTION}/AllowRule-rebalance",
    }, "no alarm, no secret, no boundary, and the target of somebody else"
    assert earlier.settings == {
        "memoryMb": 256,
        "logRetentionDays": 7,
        "maximumEventAgeSeconds": 60,
        "drain": True,
        "keyInSecretsManager": False,
    }
    assert earlier.role is not None
    assert (earlier.role.name, earlier.doubts) == (ROLE.name, ())
    assert "SENTINEL" not in repr(function)


@pytest.mark.parametrize("tags", [{}, {"castai-eks:cluster": "other"}])
def test_a_function_without_the_tag_of_this_cluster_is_not_its_own(tags: dict[str, str]):
    assert read(tags) == []


def test_objects_with_the_names_of_the_stack_and_without_its_tag_are_told():
    (function,) = read(
        {"castai-eks:cluster": "prod"},
        list_queue_tags={},
        role=replace(ROLE, stack_of=""),
    )

    assert function.earlier is not None
    assert function.earlier.doubts == tuple(
        f"{what} lacks the tag castai-eks:cluster=prod; tag it if it is this stack's"
        for what in (f"queue {NAMES.dead_letter_queue}", f"role {ROLE.name}")
    )
    assert "spot-dead-letters" not in function.earlier.imports


def test_without_the_function_the_rest_of_its_stack_is_taken_over():
    role = replace(ROLE, inline={INLINE: {"Resource": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}})
    (function,) = read({"castai-eks:cluster": "prod"}, function=False, role=role)

    earlier = function.earlier
    assert earlier is not None
    assert set(earlier.imports) == {
        "spot-dead-letters",
        "spot-interruption-rule",
        "spot-rebalance-rule",
        "spot-log-group",
    }
    assert (earlier.role, earlier.doubts) == (role, ())
    plan = spot.plan((function,), PLACE, TERMS)
    assert (plan.imports["spot-role"], fates(plan)[FUNCTION]) == (ROLE.name, "created")


BOUNDARY_ONLY = {
    "Arn": BOUNDARY,
    "PolicyName": NAMES.lambda_boundary,
}


@pytest.mark.parametrize(
    ("role", "policies", "why"),
    [
        (replace(ROLE, inline={}), [], f"role {ROLE.name} has no function and no policy for"),
        (None, [BOUNDARY_ONLY], f"policy {BOUNDARY} is left of the stack alone: delete it"),
    ],
)
def test_iam_objects_without_a_function_may_be_another_regions(
    role: Principal | None, policies: Any, why: str
):
    (function,) = read(
        {"castai-eks:cluster": "prod"}, function=False, role=role, list_policies=policies
    )

    plan = spot.plan((function,), PLACE, TERMS)
    assert plan.settings == {"enabled": False}
    assert all(why in row.remark for row in plan.rows)


def test_without_any_object_of_a_stack_there_is_none():
    assert read({}, function=False, role=None) == []
    assert read({}, function=False, role=replace(ROLE, stack_of="other")) == []


def test_the_alarms_have_the_names_of_the_component():
    named = {one.name for one in objects.named(NAMES).values() if one.kind == "alarm"}
    assert named == {alarms.alarm_name(FUNCTION, one) for one in alarms.ALARMS}
