"""What is missing before CAST AI uses its access, by what it reports."""

import pytest

from castai_stack.castai.model import Cluster
from castai_stack.castai.readiness import missing

PODS = "all 2 pods are Ready"


def a_cluster(**fields: str) -> Cluster:
    return Cluster.parse({"id": "x", "status": "connecting", "agentStatus": "online", **fields})


@pytest.mark.parametrize(
    ("error", "part"),
    [
        ("failed to resolve instance profile: cast-demo", "output instance_profile_arn"),
        ("failed to resolve security groups: none", "automation.nodes.securityGroupIds"),
        ("failed to resolve Subnets: none", "automation.nodes.subnetIds"),
        ("AccessDenied: not authorized to perform sts:AssumeRole", "working credentials"),
    ],
)
def test_an_error_of_castai_names_the_part_and_its_setting(error, part):
    (phrase,) = missing(a_cluster(reconcileError=error), PODS)

    assert part in phrase
    assert phrase.endswith(f"; CAST AI says: {error}")


def test_without_an_error_the_controller_is_what_castai_waits_for():
    assert missing(a_cluster(), PODS) == [
        "cluster-controller's first question to CAST AI: all 2 pods are Ready"
    ]


def test_a_stack_without_a_controller_names_the_setting():
    (phrase,) = missing(a_cluster(), None)

    assert phrase.startswith("cluster-controller, which automation.controller.enabled: false")


def test_a_silent_agent_comes_first():
    phrases = missing(a_cluster(agentStatus="disconnected"), PODS)

    assert phrases[0] == "the agent, whose status is disconnected"
    assert len(phrases) == 2
