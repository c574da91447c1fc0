"""The programs of `examples/`, as far as their hosts can be had here."""

import json
import runpy
import shutil
import subprocess
from pathlib import Path

import pulumi
import pytest
import yaml
from google.protobuf import json_format

from castai_stack.components.agent import _SHAPE as AGENT
from castai_stack.components.arguments import EngineArguments, checked
from castai_stack.components.castai_cluster import _SHAPE as CLUSTER
from tests.support import engine
from tests.support.engine import CLUSTER_ID, run

EXAMPLES = Path(__file__).parents[2] / "examples"
SUBNETS = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
NODE = """\
const shown = (value) => JSON.stringify(value);
class Config {
    require(name) { return "%s"; }
    requireSecret(name) { return "a-key"; }
}
class Provider { constructor(name, args) { this.name = name; } }
class AgentComponent { constructor(name, args, opts) { console.log(shown({ name, args, opts })); } }
module.exports = { Config, Provider, AgentComponent };
"""


@pytest.fixture
def config():
    values = {"clusterId": CLUSTER_ID, "apiKey": "SENTINEL", "subnetIds": json.dumps(SUBNETS)}
    pulumi.runtime.set_all_config(
        {f"castai-eks:{name}": value for name, value in values.items()}, ["castai-eks:apiKey"]
    )
    yield
    pulumi.runtime.set_all_config({})


def requests_of(example):
    def program():
        runpy.run_path(str(EXAMPLES / example), run_name="__main__")

    requests = run(program).requests
    return {(r.type.rpartition(":")[2], r.name): r for r in requests}


def inputs(request):
    return json_format.MessageToDict(request.object)


def test_every_example_is_tested_and_in_the_docs():
    page = (EXAMPLES.parent / "docs" / "programs.md").read_text()
    folders = {path.parent.name for path in EXAMPLES.glob("*/Pulumi.yaml")}

    assert folders == {"agent-python", "agent-typescript", "everything-yaml", "new-cluster-python"}
    assert all(f"(../examples/{folder})" in page for folder in folders)


@pytest.mark.usefixtures("config")
def test_the_agent_alone_takes_the_providers_of_the_caller():
    requests = requests_of("agent-python")

    deployment = requests["Deployment", "demo-deployment"]
    assert inputs(deployment)["spec"]["replicas"] == 1
    assert "::cluster::" in deployment.provider
    assert "::castai::" in requests["AgentRollout", "demo-rollout"].provider


@pytest.mark.usefixtures("config")
def test_a_cluster_of_the_same_program_hands_its_outputs_on(monkeypatch):
    created = {
        "endpoint": "https://new.eks",
        "certificateAuthority": {"data": "Q0E="},
        "vpcConfig": {
            "subnetIds": SUBNETS,
            "vpcId": "vpc-0123456789abcdef0",
            "clusterSecurityGroupId": "sg-0123456789abcdef0",
        },
    }
    monkeypatch.setitem(engine.COMPUTED, "Cluster", created)

    requests = requests_of("new-cluster-python")

    kubernetes = inputs(requests["kubernetes", "demo-kubernetes"])
    assert "https://new.eks" in kubernetes["kubeconfig"]
    nodes = inputs(requests["NodeConfiguration", "demo-node-configuration"])
    assert nodes["subnetIds"] == SUBNETS
    assert nodes["securityGroupIds"][0] == "sg-0123456789abcdef0"
    agent = requests["Deployment", "demo-agent-deployment"]
    registration = requests["ClusterRegistration", "demo-registration"]
    for waiting in (agent, registration):
        assert any(urn.endswith("NodeGroup::nodes") for urn in waiting.dependencies)


def test_the_arguments_of_the_yaml_program_are_valid():
    program = yaml.safe_load((EXAMPLES / "everything-yaml" / "Pulumi.yaml").read_text())
    resource = program["resources"]["demo"]
    properties = {**resource["properties"], "kubeconfig": "ambient"}

    assert resource["type"] == "castai-stack:CastaiCluster"
    assert checked(CLUSTER, "demo", EngineArguments(properties)).settings.principal.kind == "role"


@pytest.mark.skipif(not shutil.which("node"), reason="runs with Node.js")
def test_the_arguments_of_the_typescript_program_are_valid(tmp_path):
    """The file has no type annotations, so that Node.js runs it; the SDKs are stand-ins."""
    shutil.copy(EXAMPLES / "agent-typescript" / "index.ts", tmp_path / "index.mjs")
    for package in ("pulumi", "castai-stack", "kubernetes"):
        folder = tmp_path / "node_modules" / "@pulumi" / package
        folder.mkdir(parents=True)
        (folder / "index.js").write_text(NODE % CLUSTER_ID)
    done = subprocess.run(
        ["node", "index.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    given = json.loads(done.stdout)

    settings = checked(AGENT, given["name"], EngineArguments(given["args"])).settings
    assert settings.agent.replicas == 1
    assert given["opts"].keys() == {"provider", "providers"}
