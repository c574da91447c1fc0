"""Settings of the automation that disagree with others are refused, each with its key."""

import pytest

from castai_stack.config.validation import SettingsError, validate

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
KEY_ARN = "arn:aws:kms:eu-central-1:012345678901:key/k-1"
BY_HAND = {"register": False, "clusterId": "00000000-1111-2222-3333-444444444444"}


def problems(automation, **others):
    raw = {"cluster": CLUSTER, "automation": automation, **others}
    with pytest.raises(SettingsError) as error:
        validate(raw, "castai")
    return [line.removeprefix("  castai.") for line in str(error.value).splitlines()[1:]]


def settings(automation, **others):
    return validate({"cluster": CLUSTER, "automation": automation, **others}, "castai")


def template(**fields):
    return {"autoscaler": {"nodeTemplate": fields}}


ON = {"autoscaler": {"enabled": True}}
SUBNETS = {"subnetIds": ["subnet-0000000a", "subnet-0000000b"]}


@pytest.mark.parametrize(
    ("automation", "others", "line"),
    [
        (ON, {"credentials": {"mode": "none"}}, "autoscaler.enabled: found true while credentials.mode is none"),
        (ON, {"api": BY_HAND}, "autoscaler.enabled: found true while api.register is false"),
        ({**ON, "controller": {"enabled": False}}, {}, "autoscaler.enabled: found true while automation.controller.enabled is false"),
        ({"evictor": {"enabled": True}, "controller": {"enabled": False}}, {}, "evictor.enabled: found true while automation.controller.enabled is false"),
        ({"nodes": {"kmsKeyArn": KEY_ARN}}, {}, f"nodes.kmsKeyArn: found {KEY_ARN}, which is not in iam.kmsKeyArns"),
        ({"nodes": {"kmsKeyArn": KEY_ARN.replace("central", "west")}}, {"iam": {"kmsKeyArns": []}}, "nodes.kmsKeyArn: found an ARN of region eu-west-1"),
        ({"nodes": SUBNETS}, {"iam": {"subnetIds": ["subnet-0000000a"]}}, "nodes.subnetIds: found subnet-0000000b, which iam.subnetIds does not list"),
        ({"nodes": {"securityGroupIds": ["sg-0000000b"]}}, {"iam": {"securityGroupIds": ["sg-0000000a"]}}, "nodes.securityGroupIds: found sg-0000000b, which iam.securityGroupIds does not list"),
        ({"nodes": {"tags": {"cast:cluster-id": "x"}}}, {}, "nodes.tags.cast:cluster-id: the prefix is reserved"),
        ({"nodes": {"imageFamily": "windows"}}, {}, "nodes.imageFamily: found 'windows'; allowed: 'al2', 'al2023' or 'bottlerocket'"),
        ({"nodes": {"maxPodsFormula": "NUM_PODS + 1"}}, {}, "nodes.maxPodsFormula: found 'NUM_PODS + 1'; allowed: a formula of numbers"),
        (template(spot=False, onDemand=False), {}, "autoscaler.nodeTemplate: found spot and onDemand false"),
        (template(minCpu=8, maxCpu=4), {}, "autoscaler.nodeTemplate.maxCpu: found 4; allowed: no less than"),
        (template(minMemoryMib=2048, maxMemoryMib=1024), {}, "autoscaler.nodeTemplate.maxMemoryMib: found 1024"),
        (template(includeFamilies=["m7i"], excludeFamilies=["m7i"]), {}, "autoscaler.nodeTemplate.excludeFamilies: found m7i"),
        (template(zones=["eu-west-1a"]), {}, "autoscaler.nodeTemplate.zones: found eu-west-1a; allowed: zones of eu-central-1"),
    ],
)  # fmt: skip
def test_what_cannot_be_together_is_one_line_with_its_key(automation, others, line):
    result = problems(automation, **others)

    assert any(one.startswith(f"automation.{line}") for one in result), result


@pytest.mark.parametrize(
    ("automation", "others"),
    [
        (ON, {}),
        (ON, {"credentials": {"mode": "role"}}),
        ({"nodes": {"kmsKeyArn": KEY_ARN}}, {"iam": {"kmsKeyArns": [KEY_ARN]}}),
        ({"nodes": SUBNETS}, {"iam": SUBNETS}),
        ({"nodes": SUBNETS}, {"iam": {"subnetIds": ["subnet-0000000a"]}, "permissions": "documented"}),
        ({"nodes": {**SUBNETS, "enabled": False}}, {"iam": {"subnetIds": ["subnet-0000000a"]}}),
        ({"nodes": {"maxPodsFormula": "math.least(110, NUM_MAX_NET_INTERFACES * (NUM_IP_PER_INTERFACE - 1) + 2)"}}, {}),
        (template(spot=True, minCpu=2, maxCpu=2, zones=["eu-central-1a"]), {}),
        ({}, {"credentials": {"mode": "none"}}),
    ],
)  # fmt: skip
def test_what_fits_is_accepted(automation, others):
    settings(automation, **others)


@pytest.mark.parametrize("mode", ["none", "user", "role"])
@pytest.mark.parametrize("register", [True, False])
@pytest.mark.parametrize("controller", [True, False])
def test_nodes_are_set_where_castai_has_access_and_a_controller(mode, register, controller):
    principal = {} if mode != "role" else {"principalArn": "arn:aws:iam::809060229965:user/castai"}
    result = settings(
        {"controller": {"enabled": controller}},
        credentials={"mode": mode},
        api={} if register else {**BY_HAND, **principal},
    )

    acts = mode != "none" and register and controller
    assert result.sets_nodes is result.creates_security_group is acts
    assert result.autoscales is False


def test_each_switch_takes_its_part_away():
    assert settings(ON).autoscales
    assert not settings({"nodes": {"enabled": False}}).sets_nodes
    assert not settings({"nodes": {"enabled": False}}).creates_security_group
    remaining = settings({"nodes": {"createSecurityGroup": False}})
    assert remaining.sets_nodes
    assert not remaining.creates_security_group
