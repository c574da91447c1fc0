"""A question that is refused is named, whatever service refuses it."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from castai_stack.adopt import reading, reading_aws
from castai_stack.adopt.observations import AccessEntry, Place
from castai_stack.commands.aws_clients import AwsError

PLACE = Place(
    "prod", "eu-central-1", "012345678901", "aws", "vpc-1", authentication_mode="API_AND_CONFIG_MAP"
)
ENTRY = {"type": "EC2_LINUX", "createdAt": datetime(2026, 1, 1, tzinfo=UTC)}
ROLE = {"RoleName": "theirs", "Path": "/", "AssumeRolePolicyDocument": {"Statement": []}}
ANSWERS = {
    "get_role": {"Role": ROLE},
    "get_function": {
        "Configuration": {
            "FunctionArn": "arn:aws:lambda:eu-central-1:012345678901:function:f",
            "Role": "arn:aws:iam::012345678901:role/r",
        }
    },
    "list_rule_names_by_target": {"RuleNames": []},
    "describe_access_entry": {"accessEntry": ENTRY},
}
PAGES = {
    "list_attached_role_policies": {"AttachedPolicies": []},
    "list_role_policies": {"PolicyNames": []},
    "list_instance_profiles_for_role": {"InstanceProfiles": []},
    "describe_security_groups": {"SecurityGroups": []},
    "list_associated_access_policies": {"associatedAccessPolicies": [{"policyArn": "admin"}]},
}


class Service:
    """Answers every question but one."""

    exceptions = SimpleNamespace(
        NoSuchEntityException=KeyError,
        ResourceNotFoundException=KeyError,
        InvalidRequestException=KeyError,
    )

    def __init__(self, refused: str) -> None:
        self._refused = refused

    def _answer(self, operation: str, answer: Any) -> Any:
        if operation == self._refused:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
        return answer

    def __getattr__(self, operation: str) -> Any:
        return lambda **_: self._answer(operation, ANSWERS[operation])

    def get_paginator(self, operation: str) -> Any:
        def paginate(**_: Any) -> list[Any]:
            return [self._answer(operation, PAGES[operation])]

        return SimpleNamespace(paginate=paginate)


def observe(refused: str, place: Place = PLACE) -> Any:
    clients: Any = lambda _: Service(refused)  # noqa: E731
    return reading_aws.observe(clients, place, users=(), roles=("theirs",), node_roles=())


@pytest.mark.parametrize(
    ("refused", "question"),
    [
        ("get_role", "role theirs"),
        ("list_attached_role_policies", "role theirs"),
        ("list_role_policies", "role theirs"),
        ("list_instance_profiles_for_role", "role theirs"),
        ("describe_security_groups", "security groups"),
        ("get_function", "function cast-ai-ec2-events-handler"),
        ("list_rule_names_by_target", "rules of function cast-ai-ec2-events-handler"),
        ("describe_access_entry", "access entry of role theirs"),
        ("list_associated_access_policies", "access entry of role theirs"),
    ],
)
def test_a_refusal_of_aws_names_the_question(refused: str, question: str):
    with pytest.raises(AwsError, match=f"^{question}: .*AccessDenied"):
        observe(refused)


def test_without_a_refusal_everything_is_read():
    answers = observe("none")

    assert [one.name for one in answers.principals] == ["theirs"]
    arn = "arn:aws:iam::012345678901:role/theirs"
    assert answers.access_entries == (
        AccessEntry(arn, "EC2_LINUX", ("admin",), ENTRY["createdAt"]),
    )


def test_a_cluster_that_reads_aws_auth_alone_is_not_asked_for_access_entries():
    place = replace(PLACE, authentication_mode="CONFIG_MAP")

    assert observe("describe_access_entry", place).access_entries == ()


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"labels": {"app.kubernetes.io/part-of": "castai-eks"}}, "this program"),
        ({"annotations": {"meta.helm.sh/release-name": "a"}}, "Helm release a"),
        (
            {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "kubectl apply",
        ),
        ({"labels": {"app.kubernetes.io/managed-by": "Argo"}}, "Argo"),
        ({}, "an unknown installer"),
    ],
)
def test_the_owner_of_a_workload_is_told_by_its_labels(metadata: dict[str, Any], owner: str):
    container = {"name": "a", "image": "registry/agent:v1.2.3@sha256:0"}
    document = {
        "kind": "Deployment",
        "metadata": {"name": "castai-agent", **metadata},
        "spec": {"selector": {}, "template": {"spec": {"containers": [container]}}},
    }

    read = reading.workload(document)
    assert (read.owner, read.tag, read.secret) == (owner, "v1.2.3", "")
