"""Everything that CAST AI is told about nodes, through a life on the real engine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from castai_stack.castai.automation_api import AutomationApi
from sandbox import inventory
from sandbox.castai import API_KEY
from sandbox.engine.stack import OperationError
from sandbox.session import Sandbox
from tests.support.life import SECONDS, Life, operations, require_empty

pytestmark = pytest.mark.sandbox

GROUP = "cast-demo-cluster/CastNodeSecurityGroup"
ON = {
    "automation.autoscaler.enabled": "true",
    "automation.autoscaler.cpuLimit": "400",
    "automation.autoscaler.emptyNodes.enabled": "true",
    "automation.autoscaler.nodeTemplate.spot": "true",
    "automation.autoscaler.nodeTemplate.minCpu": "2",
    "automation.evictor.enabled": "true",
    "automation.nodes.tags": json.dumps({"cost_center": "7"}),
}
TOLD = {"node-configuration", "autoscaler-policies", "node-template", "evictor-configuration"}


@contextmanager
def lived(sandbox: Sandbox) -> Iterator[Life]:
    """Make a stack with everything on and hold it still; its destroy leaves AWS as it was."""
    before = inventory.aws(sandbox.aws_url)
    base = {"credentials.mode": "role", "spot.enabled": "false", **ON}
    life = Life(sandbox, "nodes", base)
    try:
        result = operations(life.stack().up())
        assert TOLD | {"node-security-group"} <= result.keys()
        with life.writing_nothing():
            require_empty([life.stack().preview(), life.stack().preview("--refresh")])
        yield life
    finally:
        life.stack().destroy()
    left = inventory.differences(before, inventory.aws(sandbox.aws_url))
    assert not left, [str(one) for one in left]


@pytest.fixture
def api(sandbox: Sandbox) -> AutomationApi:
    return AutomationApi(sandbox.castai_url, API_KEY)


def group_id(life: Life) -> str:
    filters = [{"Name": "group-name", "Values": [GROUP]}]
    [group] = life.aws("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    return group["GroupId"]


def test_a_life_with_everything_on(sandbox: Sandbox, api: AutomationApi):
    with lived(sandbox) as life:
        live(life, api)


def live(life: Life, api: AutomationApi) -> None:
    cluster_id = life.castai()["id"]

    # It is told what the stack says.
    outputs = life.stack().outputs()
    configuration = api.node_configuration(cluster_id, outputs["node_configuration_id"])
    assert configuration is not None
    assert configuration["default"] is True
    assert configuration["tags"]["cost_center"] == "7"
    assert outputs["security_group_id"] == group_id(life)
    assert outputs["security_group_id"] in configuration["eks"]["securityGroups"]
    assert configuration["eks"]["instanceProfileArn"] == outputs["instance_profile_arn"]
    assert sorted(configuration["subnets"]) == sorted(life.sandbox.record["subnets"])
    assert outputs["policies_state"].startswith("on: nodes for pods that fit on none")

    # A setting changes its object and no other.
    life.base |= {"automation.autoscaler.cpuLimit": "500"}
    assert operations(life.stack().preview()) == {"autoscaler-policies": "update"}
    life.stack().up()
    policies = dict(api.policies(cluster_id) or {})
    assert policies["clusterLimits"] == {"enabled": True, "cpu": {"minCores": 0, "maxCores": 500}}

    # What others change is drift, and an up takes it back.
    api.update_policies(cluster_id, {"enabled": False, "version": policies["version"]})
    api.update_node_configuration(cluster_id, configuration["id"], {"minDiskSize": 200})
    api.update_evictor(cluster_id, {"dryRun": False})
    changed = {"autoscaler-policies", "evictor-configuration", "node-configuration"}
    with life.writing_nothing():
        assert operations(life.stack().preview("--refresh")).keys() == changed
    life.stack().up("--refresh")
    assert (api.policies(cluster_id) or {})["enabled"] is True
    assert (api.evictor(cluster_id) or {})["dryRun"] is True
    require_empty([life.stack().preview("--refresh")])

    # Without automation the connection stays.
    life.base |= {"automation.autoscaler.enabled": "false", "automation.evictor.enabled": "false"}
    result = operations(life.stack().up())
    assert {name for name in result if name in TOLD} == TOLD - {"node-configuration"}
    assert (api.policies(cluster_id) or {})["enabled"] is False
    assert (api.evictor(cluster_id) or {})["enabled"] is False
    assert life.castai()["status"] == "ready"
    assert life.stack().outputs()["policies_state"] == "off"
    require_empty([life.stack().preview()])

    # A destroy with everything on begins with the policies.
    life.base |= ON
    life.stack().up()
    life.stack().destroy()
    log = noted(life, cluster_id)
    written = max(n for n, line in enumerate(log) if "policies written" in line)
    assert written < max(n for n, line in enumerate(log) if "disconnect" in line)


def noted(life: Life, cluster_id: str) -> list[str]:
    """Return what CAST AI noted about a cluster, also one that has left."""
    url = f"{life.sandbox.castai_url}/_sandbox/state"
    clusters = requests.get(url, timeout=SECONDS).json()["clusters"]
    return next(one["log"] for one in clusters if one["id"] == cluster_id)


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        (
            {"automation.nodes.subnetIds": json.dumps(["subnet-99999999"])},
            "automation.nodes.subnetIds: found subnet-99999999, which is no subnet of vpc-",
        ),
        (
            {"automation.nodes.securityGroupIds": json.dumps(["sg-99999999"])},
            "automation.nodes.securityGroupIds: found sg-99999999, which does not exist",
        ),
        (
            {"automation.autoscaler.cpuLimit": "2"},
            "automation.autoscaler.cpuLimit: found 2; the ",
        ),
        (
            {"automation.nodes.imageFamily": "windows"},
            "automation.nodes.imageFamily: found 'windows'; allowed: 'al2', 'al2023'",
        ),
    ],
    ids=["subnet", "group", "limit", "family"],
)
def test_what_cannot_work_ends_before_the_first_write(
    sandbox: Sandbox, settings: dict[str, str], messages: str
):
    life = Life(sandbox, "nodes-refused", {**ON, **settings})
    with life.writing_nothing(), pytest.raises(OperationError) as refused:
        life.stack().up()

    assert messages in str(refused.value)


def test_a_group_of_another_vpc_and_a_taken_name_end_before_the_first_write(sandbox: Sandbox):
    ec2 = sandbox.client("ec2", "root")
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_security_group(GroupName="x", Description="x", VpcId=other)["GroupId"]
    existing = ec2.create_security_group(
        GroupName=GROUP, Description="x", VpcId=sandbox.record["vpc"]
    )["GroupId"]
    settings = {"automation.nodes.securityGroupIds": json.dumps([foreign])}
    try:
        life = Life(sandbox, "nodes-refused", settings)
        with life.writing_nothing(), pytest.raises(OperationError) as refused:
            life.stack().up()
    finally:
        for group in (foreign, existing):
            ec2.delete_security_group(GroupId=group)
        ec2.delete_vpc(VpcId=other)

    assert f"found {foreign}, a group of {other}" in str(refused.value)
    assert f"security group {GROUP} exists ({existing})" in str(refused.value)
