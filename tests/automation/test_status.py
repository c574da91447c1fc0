"""Each part of the table: what it says, and what there is to do."""

from datetime import UTC, datetime, timedelta

import pytest

from castai_stack.automation import status
from castai_stack.automation.settings import Automation
from castai_stack.castai.model import Cluster, Node

READY = "all 2 pods are Ready"
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def cluster(**fields):
    eks = {"assumeRoleArn": fields.pop("role", "")}
    return Cluster.parse(
        {
            "id": "c-1",
            "status": "ready",
            "agentStatus": "online",
            "credentialsId": "k-1",
            "eks": eks,
        }
        | fields
    )


def node(managed_by=None, **labels):
    result = {"provisioner.cast.ai/managed-by": managed_by} if managed_by else {}
    return Node("n", "n", "i", {**result, **labels})


POLICIES = {
    "enabled": True,
    "unschedulablePods": {"enabled": True},
    "clusterLimits": {"enabled": True, "cpu": {"maxCores": 40}},
    "nodeDownscaler": {"emptyNodesEnabled": False},
}
CONFIGURATION = {
    "name": "default",
    "default": True,
    "subnets": ["a", "b"],
    "eks": {"securityGroups": ["c"]},
}
OFF = Automation.model_validate({"controller": {"enabled": False}}, by_alias=True)


@pytest.mark.parametrize(
    ("line", "state", "to_do"),
    [
        (status.registration(None), "CAST AI knows no such cluster", "`pulumi up` registers it"),
        (status.registration(cluster()), "c-1, ready", ""),
        (status.registration(cluster(status="deleted")), "c-1, deleted", "connects it again"),
        (status.agent(cluster(), READY), f"online; {READY}", ""),
        (status.agent(cluster(agentStatus=""), "no pod"), "never heard of; no pod", "kubectl logs"),
        (status.controller(Automation(), READY), READY, ""),
        (status.controller(Automation(), "1 of 2 pods are Ready"), "1 of 2 pods", "kubectl logs"),
        (status.controller(OFF, READY), "left out", "set automation.controller.enabled"),
        (status.credentials(cluster()), "keys of a user, in use", ""),
        (status.credentials(cluster(role="arn:r")), "role arn:r, in use", ""),
        (status.credentials(cluster(credentialsId="")), "none handed over", "hands them over"),
        (
            status.credentials(cluster(status="failed", reconcileError="no subnet")),
            "keys of a user, not in use: no subnet",
            "`pulumi up`",
        ),
        (status.credentials(cluster(status="connecting")), "not in use: status connecting", "up"),
        (
            status.node_configuration([CONFIGURATION], "default"),
            "default: 2 subnets, 1 security groups",
            "",
        ),
        (status.node_configuration([CONFIGURATION], None), "default: 2 subnets", ""),
        (status.node_configuration([CONFIGURATION], "ours"), "default: ", "not ours, the one of"),
        (status.node_configuration([{**CONFIGURATION, "default": False}], "default"), "no default", "creates"),
        (
            status.policies(POLICIES, None, wanted=True),
            "on, unschedulable pods, at most 40 CPUs",
            "",
        ),
        (status.policies({}, {"enabled": False}, wanted=False), "off: CAST AI adds", ""),
        (status.policies(None, None, wanted=True), "off: ", "sets it again"),
        (status.policies(POLICIES, None, wanted=False), "on, ", "switched on by others"),
        (status.policies(POLICIES, {"enabled": True}, wanted=True), "deprecated ones (V1)", "V1 off"),
        (status.evictor({"enabled": True, "dryRun": True}, wanted=True), "on, dry run", ""),
        (status.evictor({"enabled": True}, wanted=True), "on", ""),
        (status.evictor(None, wanted=False), "off", ""),
        (status.evictor({}, wanted=True), "off", "sets it again"),
        (status.nodes([]), "none", ""),
        (
            status.nodes(
                [
                    node(),
                    node(**{"eks.amazonaws.com/capacityType": "SPOT"}),
                    node("cast.ai", **{"scheduling.cast.ai/spot": "true"}),
                    node("cast.ai", **{"scheduling.cast.ai/spot": "true"}),
                ]
            ),
            "2 Spot of CAST AI, 1 Spot of others, 1 on-demand of others",
            "",
        ),
    ],
)  # fmt: skip
def test_a_part_says_how_it_is_and_what_to_do(line, state, to_do):
    assert state in line.state
    assert bool(line.to_do) is bool(to_do)
    assert to_do in line.to_do


@pytest.mark.parametrize(
    ("state", "days", "to_do"),
    [
        ("Active", 12, ""),
        ("Active", 90, "raise credentials.rotation by one"),
        ("Inactive", 400, ""),
    ],
)
def test_an_old_key_in_use_is_to_be_rotated(state, days, to_do):
    key = {"AccessKeyId": "AKIA1", "Status": state, "CreateDate": NOW - timedelta(days=days)}

    assert status.access_keys([key], NOW) == [
        status.Line("access key", f"AKIA1, {state}, {days} days old", to_do)
    ]
