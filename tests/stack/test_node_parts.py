"""What CAST AI is told about nodes: when it exists, in which order, and with which inputs."""

import pulumi
import pytest
from google.protobuf import json_format

from tests.stack.test_program import (
    ANSWERS,
    named,
    nothing_outside,
    program,
    run_stack,
    waits_for,
)
from tests.support.engine import CLUSTER_ID, run

__all__ = ["nothing_outside"]
ALL_ON = {
    "autoscaler": {
        "enabled": True,
        "cpuLimit": 40,
        "emptyNodes": {"enabled": True, "delaySeconds": 600},
        "nodeTemplate": {"spot": True, "zones": ["eu-central-1a"], "minCpu": 2},
    },
    "evictor": {"enabled": True},
}
AFTER_READY = ["autoscaler-policies", "node-template", "evictor-configuration"]
MODES = ["user", "role"]


def inputs(recorder, name):
    return json_format.MessageToDict(named(recorder)[name].object)


def of_the_stack(**settings):
    """Return the stack's outputs."""
    build, result = program(**settings), {}

    async def deployed():
        outputs = await build()
        return pulumi.Output.all(**outputs).apply(result.update)

    run(deployed, answers=ANSWERS)
    return result


@pytest.mark.parametrize("mode", MODES)
def test_connecting_sets_the_node_configuration_and_starts_nothing(mode):
    result = set(named(run_stack(mode=mode)))

    assert result & {*AFTER_READY, "node-configuration", "node-security-group"} == {
        "node-configuration",
        "node-security-group",
    }


@pytest.mark.parametrize("mode", MODES)
def test_castai_gets_its_settings_in_order(mode):
    recorder = run_stack(mode=mode, automation=ALL_ON)

    before = ["hand-over"]
    for name in ["node-configuration", "credentials-ready", *AFTER_READY]:
        assert set(before) <= waits_for(recorder, name), name
        before.append(name)


@pytest.mark.parametrize("mode", MODES)
def test_the_disconnect_comes_before_the_security_group_goes(mode):
    recorder = run_stack(mode=mode)

    assert "node-security-group" in waits_for(recorder, "hand-over")
    assert "agent-online" in waits_for(recorder, "node-security-group")


@pytest.mark.parametrize(
    ("settings", "absent"),
    [
        ({"mode": "none"}, {*AFTER_READY, "node-configuration", "node-security-group"}),
        (
            {"api": {"register": False, "clusterId": CLUSTER_ID}},
            {*AFTER_READY, "node-configuration", "node-security-group"},
        ),
        (
            {"automation": {"controller": {"enabled": False}}},
            {*AFTER_READY, "node-configuration", "node-security-group"},
        ),
        (
            {"automation": {**ALL_ON, "nodes": {"enabled": False}}},
            {"node-configuration", "node-security-group"},
        ),
        (
            {"automation": {**ALL_ON, "nodes": {"createSecurityGroup": False}}},
            {"node-security-group"},
        ),
        (
            {"automation": {**ALL_ON, "autoscaler": {}}},
            {"autoscaler-policies", "node-template"},
        ),
        ({"automation": {**ALL_ON, "evictor": {}}}, {"evictor-configuration"}),
    ],
    ids=["no access", "by hand", "no controller", "nodes", "group", "autoscaler", "evictor"],
)
def test_each_switch_takes_its_part_away_and_keeps_the_connection(settings, absent):
    result = set(named(run_stack(**settings)))

    assert {*AFTER_READY, "node-configuration", "node-security-group"} - result == absent


def test_the_node_configuration_has_the_profile_groups_and_subnets_of_this_cluster():
    recorder = run_stack(
        tags={"team": "core"},
        automation={"nodes": {"tags": {"cost_centre": "7"}, "diskGib": 50}},
    )

    assert inputs(recorder, "node-configuration") == {
        "clusterId": CLUSTER_ID,
        "name": "default",
        "subnetIds": ["subnet-0123456789abcdef0"],
        "securityGroupIds": ["sg-0123456789abcdef0", "node-security-group-id"],
        "instanceProfileArn": "arn:aws:iam::123456789012:instance-profile/cast-demo-eks-0f3f1ba4",
        "diskGib": 50,
        "volumeType": "gp3",
        "imageFamily": "al2023",
        "imdsV1": False,
        "imdsHopLimit": 2,
        "tags": [{"key": "cost_centre", "value": "7"}, {"key": "team", "value": "core"}],
    }


def test_the_policies_and_the_template_are_those_of_the_settings():
    recorder = run_stack(automation=ALL_ON)

    assert inputs(recorder, "autoscaler-policies") == {
        "clusterId": CLUSTER_ID,
        "enabled": True,
        "unschedulablePods": True,
        "limitCpu": True,
        "maxCores": 40,
        "emptyNodes": True,
        "emptyNodesDelaySeconds": 600,
    }
    assert inputs(recorder, "node-template") == {
        "clusterId": CLUSTER_ID,
        "enabled": True,
        "spot": True,
        "onDemand": True,
        "spotFallbacks": True,
        "architectures": ["amd64"],
        "zones": ["eu-central-1a"],
        "minCpu": 2,
    }


def test_without_a_limit_the_policies_say_so_and_without_spot_there_is_no_fallback():
    recorder = run_stack(automation={"autoscaler": {"enabled": True}})

    assert inputs(recorder, "autoscaler-policies")["limitCpu"] is False
    assert "maxCores" not in inputs(recorder, "autoscaler-policies")
    assert inputs(recorder, "node-template")["spotFallbacks"] is False


def test_the_evictor_begins_with_a_dry_run():
    result = inputs(run_stack(automation=ALL_ON), "evictor-configuration")

    assert (result["enabled"], result["dryRun"], result["aggressiveMode"]) == (True, True, False)


def test_the_security_group_is_of_the_cluster_s_vpc_and_carries_castai_s_id():
    recorder = run_stack(tags={"team": "core"})
    result = inputs(recorder, "node-security-group")

    assert result["vpcId"] == "vpc-0123456789abcdef0"
    assert result["tags"]["cast:cluster-id"] == CLUSTER_ID
    assert result["tags"]["team"] == "core"
    assert named(recorder)["node-security-group"].deleteBeforeReplace


@pytest.mark.parametrize(
    ("automation", "state"),
    [
        ({}, "off"),
        (
            ALL_ON,
            "on: nodes for pods that fit on none, empty nodes removed after 600 s, at most 40 CPUs",
        ),
        (
            {"autoscaler": {"enabled": True, "unschedulablePods": False}},
            "on: no limit of CPUs",
        ),
    ],
)
def test_the_outputs_name_the_objects_and_the_state_of_the_policies(automation, state):
    result = of_the_stack(automation=automation)

    assert result["policies_state"] == state
    assert result["security_group_id"] == "node-security-group-id"
    assert result["node_configuration_id"] == "node-configuration-id"


def test_without_a_controller_there_are_no_outputs_of_nodes():
    names = {"policies_state", "security_group_id", "node_configuration_id"}

    assert not names & set(of_the_stack(automation={"controller": {"enabled": False}}))
