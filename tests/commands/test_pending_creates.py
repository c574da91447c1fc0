"""What recovery finds in AWS, asked of the account that judges."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from castai_stack.commands.pending_creates import Pending, PendingLookup
from castai_stack.commands.target import Target
from castai_stack.naming import CLUSTER_TAG
from sandbox import aws
from tests.support.castai import an_account

ACCOUNT, REGION = "012345678901", "eu-central-1"
ENTRY = f"arn:aws:iam::{ACCOUNT}:role/entry"
LIST = [{"Key": CLUSTER_TAG, "Value": "demo"}]
MAP = {CLUSTER_TAG: "demo"}
FUNCTION = "aws:lambda/function:Function"
PERMISSION = "aws:lambda/permission:Permission"


def policy(principal: str | None) -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    statement |= {"Principal": {"Service": principal}} if principal else {"Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def code() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context): pass\n")
    return packed.getvalue()


Client = Callable[[str], Any]
Make = Callable[[Client, dict[str, Any]], Any]


def function(client: Client, tags: dict[str, Any], name: str = "n") -> None:
    result = client("iam").create_role(
        RoleName=f"of-{name}", AssumeRolePolicyDocument=policy("lambda.amazonaws.com")
    )
    client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=result["Role"]["Arn"],
        Handler="handler.handle",
        Code={"ZipFile": code()},
        **tags,
    )


def permission(client: Client, tags: dict[str, Any]) -> None:
    function(client, tags, "p")
    client("lambda").add_permission(
        FunctionName="p",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=f"arn:aws:events:{REGION}:{ACCOUNT}:rule/n",
    )


def access_entry(client: Client, tags: dict[str, Any]) -> None:
    mode = {"authenticationMode": "API_AND_CONFIG_MAP"}
    client("eks").update_cluster_config(name="demo", accessConfig=mode)
    client("iam").create_role(
        RoleName="entry", AssumeRolePolicyDocument=policy("ec2.amazonaws.com")
    )
    client("eks").create_access_entry(clusterName="demo", principalArn=ENTRY, **tags)


def security_group(client: Client, tags: dict[str, Any]) -> None:
    ec2 = client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    ec2.create_security_group(GroupName="n", Description="n", VpcId=vpc, **tags)


TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], str, Make]] = {
    "aws:iam/user:User": (
        {"name": "n"},
        {"Tags": LIST},
        "n",
        lambda client, tags: client("iam").create_user(UserName="n", **tags),
    ),
    "aws:iam/role:Role": (
        {"name": "n"},
        {"Tags": LIST},
        "n",
        lambda client, tags: client("iam").create_role(
            RoleName="n", AssumeRolePolicyDocument=policy("ec2.amazonaws.com"), **tags
        ),
    ),
    "aws:iam/policy:Policy": (
        {"name": "n"},
        {"Tags": LIST},
        f"arn:aws:iam::{ACCOUNT}:policy/n",
        lambda client, tags: client("iam").create_policy(
            PolicyName="n", PolicyDocument=policy(None), **tags
        ),
    ),
    "aws:iam/instanceProfile:InstanceProfile": (
        {"name": "n"},
        {"Tags": LIST},
        "n",
        lambda client, tags: client("iam").create_instance_profile(InstanceProfileName="n", **tags),
    ),
    FUNCTION: ({"name": "n"}, {"Tags": MAP}, "n", function),
    PERMISSION: ({"function": "p", "statementId": "s"}, {"Tags": MAP}, "p/s", permission),
    "aws:cloudwatch/logGroup:LogGroup": (
        {"name": "n"},
        {"tags": MAP},
        "n",
        lambda client, tags: client("logs").create_log_group(logGroupName="n", **tags),
    ),
    "aws:cloudwatch/eventRule:EventRule": (
        {"name": "n"},
        {"Tags": LIST},
        "n",
        lambda client, tags: client("events").put_rule(
            Name="n", EventPattern='{"source": ["aws.ec2"]}', **tags
        ),
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        {"name": "n"},
        {"Tags": LIST},
        "n",
        lambda client, tags: client("cloudwatch").put_metric_alarm(
            AlarmName="n",
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            **tags,
        ),
    ),
    "aws:sqs/queue:Queue": (
        {"name": "n"},
        {"tags": MAP},
        "/n",
        lambda client, tags: client("sqs").create_queue(QueueName="n", **tags),
    ),
    "aws:secretsmanager/secret:Secret": (
        {"name": "n"},
        {"Tags": LIST},
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:n-",
        lambda client, tags: client("secretsmanager").create_secret(Name="n", **tags),
    ),
    "aws:ec2/securityGroup:SecurityGroup": (
        {"name": "n", "vpcId": "vpc-*"},
        {"TagSpecifications": [{"ResourceType": "security-group", "Tags": LIST}]},
        "sg-",
        security_group,
    ),
    "aws:eks/accessEntry:AccessEntry": (
        {"clusterName": "demo", "principalArn": ENTRY},
        {"tags": MAP},
        f"demo:{ENTRY}",
        access_entry,
    ),
}
"""By type: inputs, tags as its API spells them, part of the id to import, and how it is made."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An account with a cluster, asked as its root."""
    with an_account(tmp_path_factory.mktemp("aws")) as url:
        aws.seed(url)
        root = aws.root(url)
        yield lambda service: root.client(service, url)


@pytest.mark.parametrize("type_", TABLE)
def test_what_is_there_is_found_if_it_bears_this_clusters_tag(client: Client, type_: str):
    inputs, tags, result, make = TABLE[type_]
    message: list[str] = []

    def look(cluster: str) -> str | None:
        def no_service() -> Any:
            raise AssertionError("CAST AI was asked")

        lookup = PendingLookup(client, no_service, Target(cluster, REGION, ACCOUNT), message.append)
        return lookup.import_id(Pending(f"urn:pulumi:dev::castai-eks::{type_}::x", type_, inputs))

    assert look("demo") is None, "there is none yet"
    assert message == []

    make(client, tags)

    assert result in str(look("demo"))
    if type_ != PERMISSION:  # It goes with its function.
        assert look("other") is None
        assert "somebody else created it" in message.pop()


@pytest.mark.parametrize(
    ("type_", "id_"),
    [("AutoscalerPolicies", "c-1/policies"), ("EvictorConfiguration", "c-1/evictor")],
)
def test_what_a_destroy_has_to_switch_off_is_imported_by_the_id_of_its_handler(type_, id_):
    def nothing(*_: Any) -> Any:
        raise AssertionError("a service was asked")

    lookup = PendingLookup(nothing, nothing, Target("demo", REGION, ACCOUNT), nothing)
    create = Pending("urn", f"castai-stack:index:{type_}", {"clusterId": "c-1"})
    assert lookup.import_id(create) == id_
