"""The rules of the policy pack, each on a property that passes and one that does not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from castai_stack.policy import rules

GOLDEN = Path(__file__).parents[1] / "golden" / "policies"
NOW = datetime(2026, 11, 30, tzinfo=UTC)


class Secret:
    """Stands for the SDK's class of secret values."""


def document(**statement) -> str:
    return json.dumps({"Statement": {"Effect": "Allow", "Sid": "S", **statement}})


@pytest.mark.parametrize("name", ["castai", "restricted"])
def test_scoped_documents_stay_inside_and_documented_ones_do_not(name):
    scoped, wide = (
        (GOLDEN / f"{flavour}-{name}.json").read_text() for flavour in ("scoped", "documented")
    )

    assert list(rules.beyond_the_cluster(scoped)) == []
    assert list(rules.beyond_the_cluster(wide))


@pytest.mark.parametrize(
    ("statement", "reach"),
    [
        ({"Action": "ec2:DescribeVpcs", "Resource": "*"}, None),
        ({"Action": "*", "Resource": "*"}, "beyond the cluster: *"),
        ({"Action": ["iam:CreateUser"], "Resource": ["*"]}, "beyond the cluster: iam:CreateUser"),
        ({"NotAction": "iam:*", "Resource": "*"}, "leaves out"),
        ({"Action": "ec2:RunInstances", "NotResource": "arn:aws:ec2:::x"}, "leaves out"),
        ({"Action": "iam:CreateUser", "Resource": "*", "Effect": "Deny"}, None),
        (
            {
                "Action": "ec2:TerminateInstances",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:ResourceTag/cast:cluster-id": "x"}},
            },
            None,
        ),
        (
            {
                "Action": "ec2:DeleteSecurityGroup",
                "Resource": "*",
                "Condition": {"StringEquals": {"ec2:Vpc": ["v"]}},
            },
            "everything in its VPC",
        ),
    ],
)
def test_foreign_documents_are_judged_in_every_spelling(statement, reach):
    sentences = list(rules.beyond_the_cluster(document(**statement)))

    assert [reach in one for one in sentences] == ([True] if reach else [])


def test_the_vpc_is_tolerated_on_request_only():
    within = document(
        Action="ec2:DeleteSecurityGroup",
        Resource="*",
        Condition={"StringEquals": {"ec2:Vpc": "v"}},
    )

    assert list(rules.beyond_the_cluster(within, in_vpc=True)) == []


@pytest.mark.parametrize(
    ("arn", "allowed", "refused"),
    [
        ("arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess", (), False),
        ("arn:aws:iam::aws:policy/AdministratorAccess", (), True),
        ("arn:aws:iam::aws:policy/AdministratorAccess", ("AdministratorAccess",), False),
        ("arn:aws:iam::012345678901:policy/x/CastEKSPolicy-demo", (), False),
        ("arn:aws:iam::012345678901:policy/x/CastNodeBoundary-demo", (), True),
    ],
)
def test_attachments_are_of_known_policies(arn, allowed, refused):
    assert bool(list(rules.attached(arn, allowed))) is refused


@pytest.mark.parametrize(
    ("principal", "boundary", "refused"),
    [
        ({"Service": "ec2.amazonaws.com"}, {}, True),
        ({"Service": ["lambda.amazonaws.com"]}, {"permissionsBoundary": "arn"}, False),
        ({"AWS": "arn:aws:iam::1:user/castai"}, {}, False),
    ],
)
def test_roles_of_services_have_a_boundary(principal, boundary, refused):
    trust = json.dumps({"Statement": [{"Effect": "Allow", "Principal": principal}]})

    violations = list(rules.without_boundary({"assumeRolePolicy": trust, **boundary}))

    assert bool(violations) is refused


@pytest.mark.parametrize(
    ("properties", "age"),
    [
        ({"createDate": "2026-08-31T23:00:00Z"}, None),
        ({"createDate": "2026-08-30T00:00:00Z"}, "92 days"),
        ({"createDate": "2026-08-30T00:00:00", "status": "Active"}, "92 days"),
        ({"createDate": "2026-01-01T00:00:00Z", "status": "Inactive"}, None),
        ({}, None),
    ],
)
def test_active_keys_are_young(properties, age):
    violations = list(rules.old_key(properties, 90, NOW))

    assert [age in one for one in violations] == ([True] if age else [])


def test_a_key_of_the_last_allowed_day_is_no_old_one():
    created = (NOW - timedelta(days=90)).isoformat()

    assert list(rules.old_key({"createDate": created}, 90, NOW)) == []


@pytest.mark.parametrize(
    ("image", "by_version", "by_digest"),
    [
        ("us-docker.pkg.dev/castai/agent:v0.1.2", True, False),
        (f"registry:5000/agent@sha256:{'0' * 64}", True, True),
        ("registry:5000/agent", False, False),
        ("agent:latest", False, False),
        ("agent", False, False),
    ],
)
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_images_are_pinned(image, by_version, by_digest, kind):
    pod = {kind: [{"name": "c", "image": image}]}
    properties = {"spec": {"template": {"spec": pod}}}

    assert list(rules.unpinned(properties)) is not by_version
    assert list(rules.unpinned(properties, by_digest=True)) is not by_digest


@pytest.mark.parametrize(
    ("properties", "plain"),
    [
        ({"data": {"a": "x"}}, ["data"]),
        ({"data": {"a": Secret()}}, []),
        ({"data": {"a": Secret(), "b": "x"}}, ["data"]),
        ({"data": Secret()}, []),
        ({"data": {}, "stringData": {"a": "x"}}, ["stringData"]),
        ({}, []),
    ],
)
def test_secret_inputs_are_secret(properties, plain):
    violations = list(rules.plain_secrets("kubernetes:core/v1:Secret", properties, Secret))

    assert violations == plain
    assert list(rules.plain_secrets("kubernetes:core/v1:ConfigMap", properties, Secret)) == []


@pytest.mark.parametrize(
    ("mode", "tags", "refused"),
    [
        ("role", {}, False),
        ("none", {}, True),
        ("by-hand", {}, True),
        ("none", {rules.DISCONNECT_TAG: "approved"}, False),
        ("none", {rules.DISCONNECT_TAG: "asked"}, True),
    ],
)
def test_a_disconnect_needs_the_tag_of_the_stack(mode, tags, refused):
    guard = list(rules.not_handing_over(rules.CONNECTION, {"mode": mode}, tags))
    types = {rules.REGISTRATION} | ({rules.HAND_OVER} if mode == "role" else set())

    assert bool(guard) is refused
    assert bool(list(rules.lost_hand_over(types, tags))) is refused
    assert list(rules.not_handing_over("castai-stack:index:HandOver", {"mode": mode}, {})) == []
    assert list(rules.lost_hand_over({rules.HAND_OVER}, {})) == []


def test_documented_is_found_on_a_component():
    assert list(rules.documented({"flavour": "documented"}))
    assert list(rules.documented({"permissions": "documented"}))
    assert list(rules.documented({"flavour": "scoped"})) == []
