"""A node's whole life under the program's own permissions, mapping and rights in the cluster."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
import yaml
from lightkube import Client, KubeConfig, codecs
from lightkube.resources.core_v1 import ConfigMap, Node, Pod
from lightkube.resources.policy_v1 import PodDisruptionBudget

from sandbox.castai import API_KEY
from sandbox.proofs.node_life import NodeLife
from sandbox.session import Sandbox
from sandbox.toolchain import Programs
from tests.support.castai import eventually

pytestmark = pytest.mark.sandbox

CONTROLLER = "system:serviceaccount:castai-agent:castai-cluster-controller"
DELAY = 3
REPORTED = 3
"""Seconds after which CAST AI knows what the agent sees."""
AUTOMATION = (
    "credentials.mode=role",
    "automation.autoscaler.enabled=true",
    "automation.autoscaler.emptyNodes.enabled=true",
    f"automation.autoscaler.emptyNodes.delaySeconds={DELAY}",
    "api.deleteNodesOnDisconnect=true",
)
ISSUED = "/v1/kubernetes/clusters/{}/node-configurations"


@pytest.fixture(scope="module")
def own(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of its own, because a node of the furnished cluster goes."""
    started = Sandbox.start(
        tmp_path_factory.mktemp("nodes"),
        programs,
        options={"castai": {"drain_timeout": 10, "join_timeout": 20}},
        with_parent=True,
    )
    yield started
    started.stop()


@pytest.fixture(scope="module")
def life(own: Sandbox) -> NodeLife:
    own.stack(settings(own)).up()
    return NodeLife(own)


def settings(own: Sandbox) -> list[str]:
    """Return the stack's settings; the permissions name the subnets that there are."""
    return [*AUTOMATION, f"iam.subnetIds={json.dumps(own.record['subnets'])}"]


@pytest.fixture
def admin(own: Sandbox) -> Iterator[Client]:
    with Client(config=KubeConfig.from_file(own.control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
def configured(own: Sandbox, life: NodeLife) -> Iterator:
    """A function that changes the default node configuration in the console; undone afterwards."""
    url = own.castai_url + ISSUED.format(life.state()["id"])
    headers = {"X-API-Key": API_KEY}
    [before] = requests.get(url, headers=headers, timeout=10).json()["items"]

    def write(**body: object) -> None:
        path = f"{url}/{before['id']}"
        requests.post(path, json=body, headers=headers, timeout=10).raise_for_status()

    yield write
    # An update clears nothing; one of the same name is overwritten as a whole.
    own_fields = {"id", "default", "version", "createdAt", "updatedAt"}
    body = {key: value for key, value in before.items() if value and key not in own_fields}
    body["eks"] = {key: value for key, value in before["eks"].items() if value is not None}
    requests.post(url, json=body, headers=headers, timeout=10).raise_for_status()


def test_a_node_is_started_for_a_pod_and_ended_when_it_is_empty(own: Sandbox, life: NodeLife):
    launched = life.start()
    assert launched.differences() == []
    assert launched.tags["cast:cluster-id"] == life.state()["id"]
    assert life.empty(launched) > DELAY
    assert life.state()["castNodes"] == []
    by_controller = [one for one in own.control_plane.requests() if one.user == CONTROLLER]
    assert ("delete", "nodes") in {(one.verb, one.resource) for one in by_controller}
    assert [one for one in by_controller if one.status == 403] == []


def test_a_drain_respects_the_disruption_budget(life: NodeLife, admin: Client):
    metadata = {"name": "strict", "namespace": "shop"}
    spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}
    kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    admin.create(codecs.from_dict({**kind, "metadata": metadata, "spec": spec}))
    web = next(iter(admin.list(Pod, namespace="shop", labels={"app": "web"}))).to_dict()
    name = web["spec"]["nodeName"]
    try:
        life.remove(name)
        life.refused("disruption budget")
    finally:
        admin.delete(PodDisruptionBudget, "strict", namespace="shop")
    eventually(lambda: not admin.get(Node, name).to_dict()["spec"].get("unschedulable"), 15)


def test_an_original_node_is_drained_and_ended(life: NodeLife, admin: Client):
    name, _ = life.remove_original()
    assert name not in {str(one.to_dict()["metadata"]["name"]) for one in admin.list(Node)}
    assert life.state()["status"] == "ready"


def test_without_its_mapping_a_node_does_not_join(life: NodeLife, admin: Client):
    mapping = admin.get(ConfigMap, "aws-auth", namespace="kube-system").to_dict()["data"]
    mapped = yaml.safe_load(mapping["mapRoles"])
    others = [one for one in mapped if "cast-demo-eks-" not in one["rolearn"]]
    assert len(others) == len(mapped) - 1
    write_aws_auth(admin, {"mapRoles": yaml.safe_dump(others)})
    try:
        with waiting_pod(admin, life):
            life.refused("did not join the cluster")
    finally:
        write_aws_auth(admin, {"mapRoles": mapping["mapRoles"]})


def write_aws_auth(admin: Client, data: dict[str, str]) -> None:
    admin.patch(ConfigMap, "aws-auth", {"data": data}, namespace="kube-system")


@contextmanager
def waiting_pod(admin: Client, life: NodeLife) -> Iterator[None]:
    """A pod that only a node of CAST AI's can run."""
    spec = {
        "nodeSelector": {"provisioner.cast.ai/managed-by": "cast.ai"},
        "containers": [{"name": "c", "image": "registry.example/c:1"}],
    }
    metadata = {"name": "waiting", "namespace": "shop"}
    kind = {"apiVersion": "v1", "kind": "Pod"}
    admin.create(codecs.from_dict({**kind, "metadata": metadata, "spec": spec}))
    try:
        yield
    finally:
        # A pod that was bound goes with its node.
        if exists(admin, "waiting"):
            admin.delete(Pod, "waiting", namespace="shop", grace_period=0)
        eventually(lambda: not exists(admin, "waiting"), 30)
        time.sleep(REPORTED)
        eventually(lambda: life.state()["castNodes"] == [], 90)
        # A kubelet that begins to join while its instance ends joins nevertheless.
        time.sleep(REPORTED)


def exists(admin: Client, name: str) -> bool:
    return name in {
        str(one.to_dict()["metadata"]["name"]) for one in admin.list(Pod, namespace="shop")
    }


def test_a_subnet_that_the_permissions_do_not_name_is_refused_by_aws(
    own: Sandbox, life: NodeLife, configured, admin: Client
):
    ec2 = own.client("ec2", "root")
    vpc, cidr = own.record["vpc"], "10.0.77.0/24"
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
    public = {"Value": True}
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch=public)
    try:
        configured(subnets=[subnet])
        with waiting_pod(admin, life):
            life.refused("cannot start a node: UnauthorizedOperation")
            assert life.state()["castNodes"] == []
    finally:
        ec2.delete_subnet(SubnetId=subnet)


@pytest.mark.parametrize(
    ("eks", "refused"),
    [
        ({"securityGroups": ["sg-12345678"]}, "failed to resolve security groups: sg-12345678"),
        (
            {"volumeKmsKeyArn": "arn:aws:kms:eu-central-1:012345678901:key/theirs"},
            "cannot start a node: UnauthorizedOperation",
        ),
    ],
)
def test_what_the_permissions_do_not_cover_is_refused_and_shown(
    life: NodeLife, configured, admin: Client, eks, refused
):
    configured(eks=eks)
    with waiting_pod(admin, life):
        life.refused(refused)
        assert life.state()["castNodes"] == []


def test_a_destroy_drains_and_ends_what_castai_started(own: Sandbox, life: NodeLife):
    own.stack(settings(own)).up()
    launched = life.start()
    own.stack(settings(own)).destroy()
    ec2 = own.client("ec2", "root")
    described = ec2.describe_instances(InstanceIds=[launched.instance["InstanceId"]])
    assert described["Reservations"][0]["Instances"][0]["State"]["Name"] == "terminated"
