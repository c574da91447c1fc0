"""The fake starts nodes for pending pods and ends them, with the calls that the real one makes."""

import json
import time

import pytest

from castai_stack.castai.client import CastaiApi
from sandbox.castai import API_KEY, Options, launches, serve
from sandbox.castai.node_configurations import NodeConfigurations
from sandbox.castai.node_templates import DEFAULT, NodeTemplates
from tests.support.castai import QUICK, REGION, StubCloud, call, eventually

PROFILE = "arn:aws:iam::012345678901:instance-profile/cast-demo-eks-0"
CONFIGURATION = {
    "name": "default",
    "subnets": ["subnet-1"],
    "minDiskSize": 60,
    "tags": {"team": "platform"},
    "eks": {
        "instanceProfileArn": PROFILE,
        "securityGroups": ["sg-1", "sg-2"],
        "imdsV1": False,
        "volumeKmsKeyArn": "arn:aws:kms:eu-central-1:012345678901:key/1",
    },
}
SEEN = {
    "instanceProfiles": [{"arn": PROFILE, "name": "x"}],
    "securityGroups": [{"id": "sg-1", "tags": {}}, {"id": "sg-2", "tags": {}}],
    "subnets": [{"id": "subnet-1"}],
}
POLICIES = {
    "enabled": True,
    "unschedulablePods": {"enabled": True},
    "nodeDownscaler": {"emptyNodesEnabled": True, "emptyNodesDelay": "1s"},
}


def pod(name="web", *, cpu="500m", node="", selector=None, owner="ReplicaSet"):
    pending = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "ownerReferences": [{"kind": owner}],
        },
        "spec": {
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}],
            "nodeName": node,
            "nodeSelector": selector,
        },
        "status": {
            "phase": "Running" if node else "Pending",
            "conditions": [] if node else pending,
        },
    }


def node(name, instance):
    return {
        "metadata": {"name": name, "labels": {}},
        "spec": {"providerID": f"aws:///eu-central-1a/{instance}"},
        "status": {"capacity": {"cpu": "2"}},
    }


class World:
    """One connected cluster with a default node configuration, and its agent and controller."""

    def __init__(self, castai):
        self.castai, self.cloud = castai, StubCloud()
        self.cloud.objects = SEEN
        castai.service.cloud = self.cloud
        self.api = CastaiApi(castai.url, API_KEY)
        self.id = self.api.register("demo", REGION, "012345678901").id
        self.token = self.api.create_token(self.id)
        self.api.hand_over_keys(self.id, "AKIA", "secret")
        eventually(lambda: self.api.get_cluster(self.id).status == "ready")
        self.clusters = f"/v1/kubernetes/clusters/{self.id}"
        result = call(castai, "POST", f"{self.clusters}/node-configurations", CONFIGURATION).json()
        call(castai, "POST", f"{self.clusters}/node-configurations/{result['id']}/default")

    def policies(self, **more):
        path = f"/cluster-autoscaler/v2/clusters/{self.id}/policies"
        version = call(self.castai, "GET", path).json()["version"]
        body = {**POLICIES, **more, "version": version}
        assert call(self.castai, "PATCH", path, body).ok

    def report(self, *things, event="add"):
        items = [
            {"kind": "Pod" if "containers" in one["spec"] else "Node", "event": event, "data": one}
            for one in things
        ]
        path = f"{self.clusters}/agent-deltas"
        assert call(self.castai, "POST", path, {"items": items}, self.token).ok

    def act(self, error=None):
        """Acknowledge the next action; return its kind and content."""
        [action, *_] = call(self.castai, "GET", f"{self.clusters}/actions").json()["items"]
        path = f"{self.clusters}/actions/{action['id']}/ack"
        assert call(self.castai, "POST", path, {"error": error}, self.token).ok
        return next((key, value) for key, value in action.items() if key.startswith("action"))

    @property
    def cluster(self):
        return self.api.get_cluster(self.id)


@pytest.fixture
def world(tmp_path):
    options = Options(**{**vars(QUICK), "poll_hold": 5.0, "join_timeout": 1.0})
    castai = serve(tmp_path, "http://127.0.0.1:9", options=options)
    yield World(castai)
    castai.close()


def test_a_pending_pod_gets_a_node_of_the_default_configuration(world):
    world.policies()
    world.report(pod())
    eventually(lambda: world.cloud.launches)
    [arguments] = world.cloud.launches
    assert arguments["SubnetId"] == "subnet-1"
    assert arguments["SecurityGroupIds"] == ["sg-1", "sg-2"]
    assert arguments["IamInstanceProfile"] == {"Arn": PROFILE}
    assert arguments["MetadataOptions"]["HttpTokens"] == "required"
    disk = arguments["BlockDeviceMappings"][0]["Ebs"]
    assert (disk["VolumeSize"], disk["Encrypted"]) == (60, True)
    tags = {tag["Key"]: tag["Value"] for tag in arguments["TagSpecifications"][0]["Tags"]}
    assert tags.items() >= {
        ("kubernetes.io/cluster/demo", "owned"), ("cast:cluster-id", world.id), ("team", "platform")
    }  # fmt: skip
    user_data = json.loads(arguments["UserData"])
    assert user_data["labels"]["provisioner.cast.ai/managed-by"] == "cast.ai"


@pytest.mark.parametrize(
    "policies",
    [{"enabled": False}, {"unschedulablePods": {"enabled": False}}],
)
def test_without_policies_nothing_is_started(world, policies):
    world.policies(**policies)
    world.report(pod())
    time.sleep(0.5)
    assert world.cloud.launches == []


def test_a_launch_that_aws_refuses_is_an_error_that_shows_and_passes(world):
    world.policies()
    world.cloud.refuses_launches = "UnauthorizedOperation: not authorized to use sg-2"
    world.report(pod())
    eventually(lambda: "not authorized to use sg-2" in world.cluster.reconcile_error)
    assert world.cluster.status == "warning"
    world.cloud.refuses_launches = ""
    eventually(lambda: world.cloud.running)
    world.report(node("new", world.cloud.running[0]))
    eventually(lambda: (world.cluster.status, world.cluster.reconcile_error) == ("ready", ""))


def test_a_configuration_that_does_not_resolve_starts_nothing(world):
    world.policies()
    world.cloud.objects = {**SEEN, "subnets": []}
    world.report(pod())
    eventually(lambda: "failed to resolve subnets: subnet-1" in world.cluster.reconcile_error)
    assert world.cloud.launches == []


def test_a_limit_of_the_cluster_is_told_at_the_pod(world):
    world.policies(clusterLimits={"enabled": True, "cpu": {"maxCores": 3}})
    world.report(node("old", "i-old"), pod())
    kind, content = world.act()
    assert (kind, content["objectRef"]["name"]) == ("actionCreateEvent", "web")
    assert content["message"] == "cluster limit of 3 CPUs is reached"
    assert world.cloud.launches == []


def test_an_empty_node_is_drained_deleted_and_ended(world):
    world.policies()
    world.report(pod())
    eventually(lambda: world.cloud.running)
    [instance] = world.cloud.running
    bound = pod(node="new")
    world.report(node("new", instance), bound, pod("daemon", node="new", owner="DaemonSet"))
    time.sleep(1.5)
    assert world.cloud.running == [instance], "a node with a pod stays"
    world.report(bound, event="delete")
    assert world.act() == (
        "actionPatchNode",
        {
            "nodeName": "new",
            "nodeId": "",
            "providerId": f"aws:///{instance}",
            "unschedulable": True,
        },
    )
    assert world.act()[0] == "actionDrainNode"
    assert world.cloud.running == [instance], "nothing ends before it is drained"
    assert world.act()[0] == "actionDeleteNode"
    eventually(lambda: world.cloud.running == [])


def test_a_drain_that_fails_keeps_the_node_and_shows(world):
    world.report(node("old", "i-old"))
    [listed] = world.api.list_nodes(world.id)
    path = f"/v1/kubernetes/external-clusters/{world.id}/nodes/{listed.id}"
    assert call(world.castai, "DELETE", path).json()["operationId"]
    world.act()
    world.act(error="drain timeout: web stayed on old")
    kind, content = world.act()
    assert (kind, content["unschedulable"]) == ("actionPatchNode", False)
    assert "drain timeout: web stayed on old" in world.cluster.reconcile_error


def test_an_instance_that_never_joins_is_ended_and_named(world):
    world.policies()
    world.report(pod())
    eventually(lambda: world.cloud.running)
    [instance] = world.cloud.running
    world.policies(enabled=False)
    eventually(lambda: f"{instance} did not join the cluster" in world.cluster.reconcile_error)
    eventually(lambda: instance not in world.cloud.running)


def test_a_disconnect_with_nodes_drains_them_first(world):
    world.policies()
    world.report(pod())
    eventually(lambda: world.cloud.running)
    world.report(node("new", world.cloud.running[0]), pod(node="new"))
    eventually(lambda: len(world.api.list_nodes(world.id)) == 1)
    world.api.disconnect(world.id, delete_nodes=True)
    assert [world.act()[0] for _ in range(3)] == [
        "actionPatchNode", "actionDrainNode", "actionDeleteNode"
    ]  # fmt: skip
    eventually(lambda: world.cluster.status == "deleted")
    assert world.cloud.running == []


@pytest.fixture
def template():
    templates = NodeTemplates()
    templates.add_default()

    def changed(**constraints):
        return templates.replace(DEFAULT, {"constraints": constraints})

    return changed


@pytest.mark.parametrize(
    ("constraints", "cpu", "chosen"),
    [
        ({}, "500m", ("m5.large", 2)),
        ({}, "3", ("m5.xlarge", 4)),
        ({"minCpu": 8}, "1", ("m5.2xlarge", 8)),
        ({"maxCpu": 2}, "3", None),
        ({"maxMemory": 16384}, "3", ("m5.xlarge", 4)),
        ({"maxMemory": 8192}, "3", None),
        ({"architectures": ["arm64"]}, "1", ("m6g.large", 2)),
        ({"instanceFamilies": {"exclude": ["m5"]}}, "1", None),
        ({}, "40", None),
    ],
)
def test_the_smallest_type_that_the_template_allows_is_chosen(template, constraints, cpu, chosen):
    assert launches.instance_type(template(**constraints), [pod(cpu=cpu)]) == chosen


def test_a_spot_template_makes_spot_nodes(template):
    spot = template(spot=True, onDemand=False)
    assert launches.labels("1", spot)["scheduling.cast.ai/spot"] == "true"
    configuration = NodeConfigurations().create(CONFIGURATION)
    arguments = launches.arguments(configuration, "m5.large", {}, {}, spot=launches.is_spot(spot))
    assert arguments["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert not launches.is_spot(template(spot=True, onDemand=True))


def test_a_pod_that_selects_other_nodes_of_ours_is_left_alone():
    offered = {"scheduling.cast.ai/node-template": DEFAULT}
    other = {"scheduling.cast.ai/node-template": "gpu"}
    assert launches.takes(pod(selector=offered), offered)
    assert not launches.takes(pod(selector=other), offered)
