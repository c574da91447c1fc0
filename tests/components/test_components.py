"""Components in a program of somebody else, against the recorder."""

import json
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest
from google.protobuf import json_format

import castai_stack
from castai_stack import (
    AgentComponent,
    ArgumentError,
    AutomationComponent,
    AwsAuthMapping,
    CastaiCluster,
    CastIamComponent,
    SpotLambdaComponent,
)
from castai_stack.components import host
from tests.stack.test_program import ANSWERS, leaks
from tests.support.engine import CLUSTER_ID, run

ACCOUNT = "123456789012"
BLUE = {"name": "blue", "region": "eu-central-1", "account_id": ACCOUNT}
GREEN = {"name": "green", "region": "eu-central-1", "account_id": ACCOUNT}
DEMO = {"name": "demo", "region": "eu-central-1", "account_id": ACCOUNT}
VPC = "vpc-0123456789abcdef0"
CREATED = {
    "vpc_id": VPC,
    "endpoint": "https://demo.eks",
    "certificate_authority": "Q0E=",
    "security_group_id": "sg-0123456789abcdef0",
    "subnet_ids": ["subnet-0123456789abcdef0"],
}


def agent(name, cluster, **args):
    return AgentComponent(
        name, {"cluster": cluster, "cluster_id": CLUSTER_ID, "api_key": "k", **args}
    )


def of_type(recorder, end):
    return [r for r in recorder.requests if r.type.endswith(end)]


def inputs(request):
    return json_format.MessageToDict(request.object)


def test_two_agents_of_two_clusters_stand_side_by_side():
    def program():
        agent("blue", BLUE)
        agent("green", GREEN, agent={"replicas": 1})

    recorder = run(program)

    names = [r.name for r in recorder.requests]
    assert len(names) == len(set(names))
    deployments = {r.name: inputs(r) for r in of_type(recorder, "apps/v1:Deployment")}
    assert deployments["blue-deployment"]["spec"]["replicas"] == 2
    assert deployments["green-deployment"]["spec"]["replicas"] == 1


def test_a_second_agent_of_one_cluster_is_refused_before_it_registers_anything():
    def program():
        agent("one", BLUE)
        with pytest.raises(ArgumentError) as caught:
            agent("two", BLUE)
        assert str(caught.value) == (
            "Invalid arguments of AgentComponent two:\n"
            "  cluster: blue in eu-central-1 is also that of AgentComponent one; allowed: one "
            "AgentComponent for a cluster. Remove one of them, or correct cluster.name"
        )

    recorder = run(program)

    assert not [r for r in recorder.requests if r.name.startswith("two")]


def test_every_run_counts_its_own_components():
    for _ in range(2):
        assert of_type(run(lambda: agent("one", BLUE) and None), "AgentComponent")


def test_an_agent_waits_for_what_its_component_waits_for():
    def program():
        first = pulumi.ComponentResource("test:index:NodeGroup", "nodes")
        node = pulumi.CustomResource(
            "test:index:Node", "node", {}, pulumi.ResourceOptions(parent=first)
        )
        AgentComponent(
            "one",
            {"cluster": BLUE, "cluster_id": CLUSTER_ID, "api_key": "k"},
            pulumi.ResourceOptions(depends_on=[node]),
        )

    children = [r for r in run(program).requests if r.custom and r.name.startswith("one-")]
    assert children
    assert all(any("node" in urn for urn in r.dependencies) for r in children)


def test_names_and_documents_follow_from_what_the_caller_knows():
    def program():
        iam = CastIamComponent(
            "iam",
            {
                "cluster": DEMO,
                "cluster_id": CLUSTER_ID,
                "vpc_id": pulumi.Output.from_input(VPC),
                "mode": "role",
                "castai_principal_arn": "arn:aws:iam::809060229965:user/cast-crossrole-x",
                "iam": {"path": "/platform/"},
            },
        )
        spot = SpotLambdaComponent(
            "spot",
            {
                "cluster": DEMO,
                "cluster_id": CLUSTER_ID,
                "api_key": "k",
                "spot": {"drain": True, "memory_mb": 512},
                "endpoint": pulumi.Output.from_input("https://demo.eks"),
                "certificate_authority": "Q0E=",
            },
        )
        AwsAuthMapping(
            "access",
            {
                "cluster": DEMO,
                "access": {"mode": "aws-auth"},
                "node_role_arn": iam.node_role_arn,
                "node_role_unique_id": iam.node_role_unique_id,
                "spot_role_arn": spot.role_arn,
                "spot_role_unique_id": spot.role_unique_id,
            },
        )
        AutomationComponent(
            "automation",
            {"cluster": DEMO, "cluster_id": CLUSTER_ID, "api_key": "k", "spot_handler": "both"},
        )

    recorder = run(program)

    roles = {r.name: inputs(r) for r in of_type(recorder, "iam/role:Role")}
    assert roles["iam-role"]["name"] == "cast-eks-demo"
    assert roles["iam-node-role"]["path"] == "/platform/"
    assert CLUSTER_ID in roles["iam-role"]["assumeRolePolicy"]
    policies = json.dumps([inputs(r) for r in of_type(recorder, "iam/policy:Policy")])
    assert VPC in policies
    (function,) = of_type(recorder, "lambda/function:Function")
    assert inputs(function)["memorySize"] == 512
    assert inputs(function)["environment"]["variables"]["CLUSTER_ENDPOINT"] == "https://demo.eks"
    assert {r.name for r in of_type(recorder, "AwsAuthEntry")} == {
        "access-node-role",
        "access-spot",
    }
    assert {r.name for r in of_type(recorder, "apps/v1:DaemonSet")} == {
        "automation-spot-handler-daemonset"
    }


def whole(**args):
    def program():
        CastaiCluster(
            "demo",
            {
                "cluster": DEMO,
                "access": {"mode": "aws-auth"},
                "api_key": "SENTINEL-key",
                **args,
            },
        )

    return run(program, answers=ANSWERS)


@pytest.mark.parametrize("mode", ["none", "user", "role"])
@pytest.mark.parametrize("place", [CREATED, {}], ids=["created", "looked-up"])
def test_one_component_connects_a_cluster(mode, place):
    recorder = whole(credentials={"mode": mode}, **place)

    (component,) = of_type(recorder, "CastaiCluster")
    others = [
        r for r in recorder.requests if r.type != "pulumi:pulumi:Stack" and r is not component
    ]
    assert all(r.parent for r in others)
    assert all(r.name.startswith("demo-") for r in others)
    urn = next(r.parent for r in others if r.name == "demo-registration")
    assert {r.parent for r in others if r.name in ("demo-agent", "demo-aws", "demo-token")} == {urn}
    assert len(of_type(recorder, "HandOver")) == (mode != "none")
    assert not any(leaks(inputs(r)) for r in recorder.requests)
    outputs = next(
        values
        for urn, values in recorder.registered_outputs.items()
        if urn.endswith("CastaiCluster::demo")
    )
    assert outputs["clusterId"] == CLUSTER_ID


def test_looked_up_and_given_facts_make_the_same_objects():
    def documents(recorder):
        return {r.name: inputs(r) for r in recorder.requests if "kubernetes" not in r.type}

    given, looked_up = documents(whole(**CREATED)), documents(whole())
    assert given.keys() == looked_up.keys()
    assert [name for name in given if given[name] != looked_up[name]] == []


CONTRADICTED = """
import pulumi
from castai_stack import CastaiCluster
from tests.components.test_components import ANSWERS, DEMO, run

seen = []

def program():
    seen.append(pulumi.runtime.settings.SETTINGS.monitor)
    CastaiCluster("demo", {"cluster": DEMO, "access": {"mode": "access-entries"}, "api_key": "k"})

try:
    run(program, answers=ANSWERS)
except pulumi.RunError as error:
    print(error)
print([r.name for r in seen[0].requests if r.custom and "providers:" not in r.type])
"""


def test_nothing_is_created_where_aws_contradicts_the_arguments():
    """In a process of its own: the collector would report the unfinished outputs in a later test."""
    done = subprocess.run(
        [sys.executable, "-c", CONTRADICTED],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    *sentence, created = done.stdout.splitlines()
    assert "access.mode: found access-entries" in sentence[-1]
    assert sentence[-1].endswith("is CONFIG_MAP. Set access.mode to aws-auth")
    assert created == "[]"


def test_providers_of_the_caller_come_before_its_own():
    class Kubernetes(pulumi.ProviderResource):
        def __init__(self):
            super().__init__("kubernetes", "mine", {})

    def program():
        CastaiCluster(
            "demo",
            {"cluster": DEMO, "access": {"mode": "aws-auth"}, "api_key": "k", **CREATED},
            pulumi.ResourceOptions(providers=[Kubernetes()]),
        )

    recorder = run(program)

    assert [r.name for r in of_type(recorder, "providers:kubernetes")] == ["mine"]
    deployments = of_type(recorder, "apps/v1:Deployment")
    assert deployments
    assert all("::mine::" in r.provider for r in deployments)


def test_the_plugin_has_every_public_component():
    public = {name for name in castai_stack.__all__ if not name.endswith("Args")}
    components = {component.__name__ for component in host.COMPONENTS}

    assert components < public
    assert public - components == {
        "ArgumentError",
        "CastaiProvider",
        "EksCluster",
        "StackConfig",
        "deploy",
    }
    assert all(
        getattr(castai_stack, component.__name__) is component for component in host.COMPONENTS
    )
