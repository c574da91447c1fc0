"""The Spot component alone, by the real engine against the sandbox's AWS."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from castai_stack.spot import archive
from castai_stack.spot_handler.handler import from_environment
from sandbox import SANDBOX_VARIABLE, aws, inventory
from sandbox.engine import program_folder
from sandbox.engine.stack import Stack
from sandbox.toolchain import Programs
from tests.support.spot import EventsEndpoint, an_event, iso

pytestmark = pytest.mark.sandbox

KEY = "SENTINEL-api-key"
PROGRAM = """
import os
import pulumi
import pulumi_aws as aws
from castai_stack import naming
from castai_stack.iam.settings import Iam
from castai_stack.spot.component import SpotLambdaComponent
from castai_stack.spot.settings import Spot

cloud = aws.Provider("aws", region="eu-central-1")
for name, settings in pulumi.Config().require_object("castai").items():
    spot = SpotLambdaComponent(
        name.lower(),
        {
            "partition": "aws",
            "region": "eu-central-1",
            "account_id": "012345678901",
            "cluster_name": name,
            "cluster_id": "6d7f8a90-1b2c-4d3e-8f4a-5b6c7d8e9f00",
            "api_url": "https://api.example",
            "api_key": pulumi.Output.secret(os.environ["SPOT_KEY"]),
            "names": naming.names(name, "suffixed"),
            "flavour": "scoped",
            "settings": Spot.model_validate(settings),
            "iam": Iam(),
            "tags": {"team": "platform"},
        },
        pulumi.ResourceOptions(providers=[cloud]),
    )
    pulumi.export(name, spot.function_arn)
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    server = aws.serve(tmp_path_factory.mktemp("aws"))
    yield server.url
    server.close()


@pytest.fixture
def stack(programs: Programs, tmp_path: Path, account) -> Stack:
    program_folder.write(tmp_path / "bin", programs)
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__main__.py").write_text(PROGRAM)
    configure(tmp_path, {"shop": {}})
    return Stack(
        tmp_path,
        {
            SANDBOX_VARIABLE: str(tmp_path),
            "SPOT_KEY": KEY,
            **aws.root(account).environment(account),
        },
        stack_file=tmp_path / "Pulumi.dev.yaml",
        program=tmp_path / "program" / "__main__.py",
    )


def configure(folder: Path, clusters: dict) -> None:
    text = {"castai-eks:castai": clusters, "castai-eks:apiKey": "not-used"}
    (folder / "Pulumi.dev.yaml").write_text(json.dumps({"config": text}))


@contextlib.contextmanager
def a_stray_file() -> Iterator[None]:
    stray = archive.SOURCE / "stray.txt"
    stray.write_text("left behind")
    try:
        yield
    finally:
        stray.unlink()


def environment_of(account: str, cluster: str) -> dict[str, str]:
    function = client(account, "lambda").get_function_configuration(
        FunctionName=f"cast-ai-ec2-events-handler-{cluster}"
    )
    return function["Environment"]["Variables"]


def run_as_the_role(account: str, cluster: str, variables: dict[str, str]) -> None:
    """Run the handler with the deployed environment and nothing but its own role's permissions."""
    ours, theirs = (spot_instance(account, name) for name in (cluster, cluster.upper()))
    role = aws.session(account, f"CastLambdaRoleForSpot-{cluster}", "handler")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in role.environment(account).items():
            patch.setenv(name, value)
        # boto3 keeps the keys that it found first.
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        handler = from_environment(variables)
        for instance in (ours, theirs):
            handler.handle(an_event(instance, time=iso(time.time())), 60)
    with pytest.raises(ClientError, match=r"UnauthorizedOperation|AccessDenied"):
        role.client("ec2", account).describe_volumes()
    client(account, "ec2").terminate_instances(InstanceIds=[ours, theirs])


def spot_instance(account: str, cluster: str) -> str:
    tags = [{"Key": f"kubernetes.io/cluster/{cluster}", "Value": "owned"}]
    result = client(account, "ec2").run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        InstanceMarketOptions={"MarketType": "spot"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return result["Instances"][0]["InstanceId"]


def client(account: str, service: str):
    return aws.root(account).client(service, account)


def test_it_comes_stays_and_goes_without_a_trace(stack: Stack, account: str, tmp_path: Path):
    """Two clusters in one account and region; a stray file in the handler's folder; no key seen."""
    before = inventory.aws(account)
    configure(tmp_path, {"shop": {}, "warehouse": {"keyInSecretsManager": True}})

    stack.up()
    with a_stray_file():
        again = stack.preview()
    exported = [p for p in tmp_path.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]
    environments = [environment_of(account, name) for name in ("shop", "warehouse")]
    secret = client(account, "secretsmanager").get_secret_value(
        SecretId=environments[1]["CASTAI_API_KEY_SECRET_ARN"]
    )
    with EventsEndpoint() as endpoint:
        for name, variables in zip(("shop", "warehouse"), environments, strict=True):
            run_as_the_role(account, name, {**variables, "CASTAI_API_URL": endpoint.url})
    stack.destroy()

    assert again.empty, again.changing()
    assert [report.key for report in endpoint.reports] == [KEY, KEY], "one report for each cluster"
    assert not exported, f"the key is in clear in {exported}"
    assert environments[0]["CASTAI_API_KEY"] == KEY, "the function is to have it"
    assert "CASTAI_API_KEY" not in environments[1]
    assert secret["SecretString"] == KEY
    assert inventory.differences(before, inventory.aws(account)) == []


@pytest.mark.exhaustive
def test_every_switch_changes_what_it_says_and_nothing_is_replaced(
    stack: Stack, account: str, tmp_path: Path
):
    stack.up()
    try:
        configure(
            tmp_path,
            {
                "shop": {
                    "memoryMb": 512,
                    "timeoutSeconds": 60,
                    "logRetentionDays": 7,
                    "maximumEventAgeSeconds": 90,
                    "maximumRetries": 1,
                    "reservedConcurrency": 5,
                    "alarmTopicArn": "arn:aws:sns:eu-central-1:012345678901:alarms",
                }
            },
        )
        changed = stack.up()
        assert {step.operation for step in changed.changing()} <= {"update", "create"}
        function = client(account, "lambda").get_function(
            FunctionName="cast-ai-ec2-events-handler-shop"
        )
        assert function["Configuration"]["MemorySize"] == 512
        assert function["Concurrency"]["ReservedConcurrentExecutions"] == 5
        alarms = client(account, "cloudwatch").describe_alarms()["MetricAlarms"]
        assert {tuple(alarm["AlarmActions"]) for alarm in alarms} == {
            ("arn:aws:sns:eu-central-1:012345678901:alarms",)
        }
        assert stack.preview().empty
    finally:
        stack.destroy()
