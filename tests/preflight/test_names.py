import pytest

from castai_stack import naming
from castai_stack.config.validation import validate
from castai_stack.preflight import names
from castai_stack.preflight.findings import Findings
from tests.support.coroutines import completed

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
ARN = "arn:aws:iam::012345678901:user/delegated/cast-eks-demo"


def settings(**more):
    return validate({"cluster": CLUSTER, **more}, "castai-eks:castai")


def named(**more):
    chosen = settings(**more)
    return names.named_objects(chosen, naming.names("demo", chosen.names))


@pytest.mark.parametrize(
    ("mode", "spot", "expected"),
    [
        ("none", True, []),
        ("user", False, ["IAM user cast-eks-demo"]),
        (
            "role",
            True,
            [
                "IAM role cast-eks-demo",
                "IAM role CastLambdaRoleForSpot-demo",
                "Lambda function cast-ai-ec2-events-handler-demo",
            ],
        ),
    ],
)
def test_the_names_of_a_stack_are_those_of_its_mode(mode, spot, expected):
    objects = named(credentials={"mode": mode}, spot={"enabled": spot})

    assert [f"{one.kind} {one.name}" for one in objects] == expected


def test_a_user_of_that_name_under_another_path_is_an_obstacle_with_the_ways_out():
    [user, *_] = named()

    assert names.object_findings(user, "demo", ARN, {}).obstacles == (
        f"IAM user cast-eks-demo exists ({ARN}) and was not created by this stack; "
        "delete it or rename it, or keep it: tag it castai-eks:cluster=demo and take it over "
        "(docs/adopt.md)",
    )


def test_an_object_of_the_stack_is_no_obstacle():
    [user, *_] = named()

    assert names.object_findings(user, "demo", ARN, {"castai-eks:cluster": "demo"}) == Findings()


def test_an_object_of_another_cluster_is_named_without_a_way_to_take_it_over():
    role = named(names="documented")[1]

    assert names.object_findings(
        role, "demo", "arn", {"castai-eks:cluster": "other"}
    ).obstacles == (
        "IAM role CastLambdaRoleForSpot exists (arn) and belongs to cluster other; "
        "delete it or rename it, or set names to suffixed",
    )


@pytest.mark.parametrize(
    ("message", "findings"),
    [
        ("reading IAM User (x): couldn't find resource", Findings()),
        ("reading: operation error IAM: GetUser, 404, NoSuchEntity: no", Findings()),
        ("reading Lambda Function (x): ResourceNotFoundException: no", Findings()),
        (
            "AccessDenied: no",
            Findings(
                inconclusive=(
                    "whether the IAM user cast-eks-demo exists was not checked: AccessDenied: no",
                )
            ),
        ),
    ],
)
def test_a_name_without_an_answer_is_free_or_unchecked(monkeypatch, message, findings):
    async def ask(*_):
        raise ValueError(message)

    monkeypatch.setattr(names, "ask", ask)
    chosen = settings(spot={"enabled": False})

    assert completed(names.name_findings(chosen, naming.names("demo", "suffixed"), None)) == (
        findings
    )
