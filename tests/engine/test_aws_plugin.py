"""The real engine drives every resource type of the AWS stand-in through its life."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import aws
from sandbox.engine import program_folder
from sandbox.engine.stack import OperationError, Stack
from sandbox.toolchain import Programs
from tests.support import aws_program_facts

pytestmark = pytest.mark.sandbox

PROGRAM = Path(__file__).parents[1] / "support" / "aws_program.py"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[aws.Seed]:
    server = aws.serve(tmp_path / "aws", authentication_mode="API_AND_CONFIG_MAP")
    yield aws.seed(server.url)
    server.close()


@pytest.fixture
def stack(tmp_path: Path, programs: Programs, cloud: aws.Seed) -> Stack:
    program_folder.write(tmp_path / "bin", replace(programs, aws_plugin=None))
    # The project wants these of every stack; this program does not read them.
    (tmp_path / "stack.yaml").write_text(
        "config: {castai-eks:apiKey: none, castai-eks:castai: {}}\n"
    )
    return Stack(
        directory=tmp_path,
        environment=cloud.operator.environment(cloud.endpoint),
        stack_file=tmp_path / "stack.yaml",
        program=PROGRAM,
    )


def telling(stack: Stack, **values: Any) -> Stack:
    """The same stack whose program is told something."""
    return replace(stack, environment={**stack.environment, "AWS_PROGRAM": json.dumps(values)})


def inventory(cloud: aws.Seed) -> Any:
    return requests.get(f"{cloud.endpoint}/_sandbox/inventory", timeout=10).json()


def inject(cloud: aws.Seed, **faults: Any) -> None:
    requests.put(f"{cloud.endpoint}/_sandbox/faults", json=faults, timeout=60).raise_for_status()


def writes(cloud: aws.Seed) -> list[str]:
    log = requests.get(f"{cloud.endpoint}/_sandbox/requests", timeout=60).json()["log"]
    return [entry["action"] for entry in log if entry["write"]]


def test_every_type_is_made_once_left_alone_and_taken_away(stack: Stack, cloud: aws.Seed):
    before = inventory(cloud)
    requests.delete(f"{cloud.endpoint}/_sandbox/requests", timeout=60)

    assert stack.preview().changes == {"create": aws_program_facts.RESOURCES}
    assert writes(cloud) == [], "a preview writes nothing"

    assert stack.up().changes == {"create": aws_program_facts.RESOURCES}
    requests.delete(f"{cloud.endpoint}/_sandbox/requests", timeout=60)

    assert stack.preview().empty
    assert stack.up().empty
    assert stack.refresh().empty
    assert writes(cloud) == [], "nothing changed, so nothing may be written"

    stack.destroy()

    assert inventory(cloud) == before, "destroy leaves nothing and takes nothing else"


def test_changes_go_in_place_and_fixed_things_are_replaced(stack: Stack, cloud: aws.Seed):
    stack.up()

    changed = telling(
        stack, description="second", code="print(2)", timeout=30, groups=["editors"], value="v2"
    )
    steps = {
        step.name: step
        for step in changed.preview().changing()
        if step.operation in ("update", "replace")
    }
    assert steps["role"].changed == ("description",)
    assert steps["function"].changed == ("code", "timeout")
    assert steps["entry"].changed == ("kubernetesGroups",)
    assert steps["version"].replaced_for == ("secretString",)
    assert changed.up().changes["update"] == 3
    assert changed.preview().empty

    moved = telling(stack, path="/deep/")
    moved.up()
    iam = cloud.operator.client("iam", cloud.endpoint)
    assert iam.get_role(RoleName="the-role")["Role"]["Path"] == "/deep/"
    assert iam.get_user(UserName="the-user")["User"]["Path"] == "/deep/"
    profile = iam.get_instance_profile(InstanceProfileName="the-profile")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["the-role"]
    assert moved.preview().empty


@pytest.mark.exhaustive
def test_drift_is_found_and_repaired(stack: Stack, cloud: aws.Seed):
    stack.up()
    wanted = inventory(cloud)
    iam = cloud.operator.client("iam", cloud.endpoint)
    arn = "arn:aws:iam::012345678901:policy/the-policy"
    iam.detach_role_policy(RoleName="the-role", PolicyArn=arn)
    iam.update_role(RoleName="the-role", Description="theirs")
    lambda_ = cloud.operator.client("lambda", cloud.endpoint)
    lambda_.update_function_configuration(FunctionName="the-function", Timeout=5)
    lambda_.remove_permission(FunctionName="the-function", StatementId="AllowRule")
    cloud.operator.client("events", cloud.endpoint).disable_rule(Name="the-rule")
    cloud.operator.client("sqs", cloud.endpoint).tag_queue(
        QueueUrl=json.loads(stack.pulumi("stack", "output", "--json", "--stack", "dev"))["queue"],
        Tags={"theirs": "x"},
    )

    result = {step.name: step.operation for step in stack.refresh().steps if step.changed}
    deleted_names = {"role-policy", "permission"}
    repaired = stack.up()

    assert set(result) >= {"role", "function", "rule", "queue"}
    assert {
        step.name for step in repaired.changing() if step.operation == "create"
    } == deleted_names
    assert inventory(cloud) == wanted
    assert stack.preview().empty


@pytest.mark.exhaustive
def test_what_exists_is_taken_over(stack: Stack, cloud: aws.Seed):
    before = inventory(cloud)
    stack.up()
    outputs = stack.outputs()
    adopting = replace(
        telling(stack, **{"import": aws_program_facts.ids(outputs)}), name="adopting"
    )
    stack.pulumi("stack", "rm", "--stack", "dev", "--force", "--yes")

    result = adopting.up()

    assert result.changes.get("import") == len(aws_program_facts.ids(outputs))
    assert adopting.preview().empty
    adopting.destroy()
    left = {kind for kind, things in inventory(cloud).items() if things != before[kind]}
    assert left == {"lambda-function"}, "all but the function was taken over, and went"


@pytest.mark.exhaustive
def test_secrets_are_sealed_wherever_the_engine_writes(stack: Stack):
    stack.up()
    secret = stack.outputs(show_secrets=True)["secret"]

    written = [path.read_bytes() for path in stack.backend.rglob("*") if path.is_file()]

    assert written, "there must be something to look into"
    for value in (secret, aws_program_facts.SENTINEL):
        assert not any(value.encode() in content for content in written)
    assert stack.outputs()["secret"] == "[secret]"


@pytest.mark.exhaustive
def test_refused_requests_are_repeated_and_new_principals_waited_for(stack: Stack, cloud: aws.Seed):
    inject(cloud, throttle=0.3, seed=3, propagation_seconds=4)

    stack.up()
    assert stack.preview().empty
    stack.destroy()


@pytest.mark.exhaustive
def test_an_object_left_half_made_is_kept_and_completed(stack: Stack, cloud: aws.Seed):
    rule = {"action": "iam:AddRoleToInstanceProfile", "status": 403, "code": "AccessDenied"}
    inject(cloud, rules=[rule])
    with pytest.raises(OperationError, match="AWS refused AddRoleToInstanceProfile: AccessDenied"):
        stack.up()
    requests.delete(f"{cloud.endpoint}/_sandbox/faults", timeout=60)

    state = stack.export()["deployment"]["resources"]
    assert any(item["urn"].endswith("::profile") for item in state), "the profile is forgotten"
    stack.up()

    iam = cloud.operator.client("iam", cloud.endpoint)
    profile = iam.get_instance_profile(InstanceProfileName="the-profile")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["the-role"]
    assert stack.preview().empty


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ({"unknown": True}, "knows no resource type aws:s3/bucket"),
        ({"account": "999999999999"}, "AWS account id not allowed: 012345678901"),
    ],
)
def test_what_it_does_not_know_is_refused_before_anything_is_written(
    stack: Stack, cloud: aws.Seed, messages: dict[str, Any], sentence: str
):
    requests.delete(f"{cloud.endpoint}/_sandbox/requests", timeout=60)

    with pytest.raises(OperationError) as refused:
        telling(stack, **messages).up()

    assert sentence in refused.value.output
    assert writes(cloud) == []


@pytest.mark.exhaustive
def test_a_reader_can_preview_and_not_apply(stack: Stack, cloud: aws.Seed):
    reader = replace(stack, environment=cloud.pull_request.environment(cloud.endpoint))

    assert reader.preview().changes == {"create": aws_program_facts.RESOURCES}
    with pytest.raises(OperationError, match="AWS refused Create"):
        reader.up()
