"""What the service sends back is compared in one spelling, and only where the program sets it."""

import pytest

from castai_stack.castai import autoscaler_policies, node_configuration
from castai_stack.castai.autoscaler_policies import AutoscalerPoliciesHandler
from castai_stack.castai.evictor_configuration import EvictorConfigurationHandler
from castai_stack.castai.node_configuration import NodeConfigurationHandler
from castai_stack.castai.node_template import NodeTemplateHandler
from castai_stack.castai.remote_fields import body, canonical, change_text, seconds, values
from castai_stack.plugin.values import UNKNOWN
from tests.support.plugin import handler

CLUSTER = "00000000-1111-2222-3333-444444444444"
CONFIGURATION = {
    "cluster_id": CLUSTER,
    "name": "default",
    "subnet_ids": ["subnet-0a", "subnet-0b"],
    "security_group_ids": ["sg-0a", "sg-0b"],
    "instance_profile_arn": "arn:aws:iam::012345678901:instance-profile/cast-demo-eks-00000000",
    "disk_gib": 100,
    "volume_type": "gp3",
    "image_family": "al2023",
    "imds_v1": False,
    "imds_hop_limit": 2,
    "tags": [{"key": "team_name", "value": "Core"}],
}
REMOTE = {
    "id": "c-1",
    "name": "default",
    "version": 3,
    "default": True,
    "subnets": ["subnet-0a", "subnet-0b"],
    "minDiskSize": 100,
    "diskCpuRatio": 0,
    "drainTimeoutSec": 0,
    "tags": {"team_name": "Core"},
    "eks": {
        "instanceProfileArn": CONFIGURATION["instance_profile_arn"],
        "securityGroups": ["sg-0a", "sg-0b"],
        "volumeType": "gp3",
        "imageFamily": "FAMILY_AL2023",
        "imdsV1": False,
        "imdsHopLimit": 2,
        "dnsClusterIp": "172.20.0.10",
    },
}
POLICIES = {
    "cluster_id": CLUSTER,
    "enabled": True,
    "unschedulable_pods": True,
    "limit_cpu": True,
    "max_cores": 20,
    "empty_nodes": True,
    "empty_nodes_delay_seconds": 300,
}
TEMPLATE = {
    "cluster_id": CLUSTER,
    "enabled": True,
    "spot": True,
    "on_demand": True,
    "spot_fallbacks": True,
    "architectures": ["amd64", "arm64"],
    "zones": ["eu-central-1a"],
    "min_cpu": 2,
}
EVICTOR = {
    "cluster_id": CLUSTER,
    "enabled": True,
    "dry_run": True,
    "aggressive_mode": False,
    "scoped_mode": False,
    "ignore_pod_disruption_budgets": False,
    "cycle_interval_seconds": 60,
    "node_grace_period_minutes": 5,
}
TYPES = [
    (NodeConfigurationHandler, CONFIGURATION),
    (AutoscalerPoliciesHandler, POLICIES),
    (NodeTemplateHandler, TEMPLATE),
    (EvictorConfigurationHandler, EVICTOR),
]
BY_NAME = pytest.mark.parametrize(
    ("handler_class", "props"), TYPES, ids=lambda one: getattr(one, "name", "")
)


def after_a_refresh(handler_class, props, remote):
    """Return whether a refresh that reads `remote` leaves something to change."""
    one = handler(handler_class)
    state = {**one.outs(props, remote), "is_default": True}
    return one.diff("id", state, canonical(props)).changes


@BY_NAME
def test_what_was_sent_and_comes_back_is_no_difference(handler_class, props):
    fields = handler_class.fields
    remote = body(fields, props)

    assert values(fields, remote, props) == {
        name: value for name, value in props.items() if name in fields
    }
    assert not after_a_refresh(handler_class, props, remote)


@BY_NAME
def test_every_field_of_the_service_that_differs_is_drift(handler_class, props):
    fields = handler_class.fields
    for name in fields:
        if props.get(name) is None:
            continue
        remote = {name: value for name, value in props.items() if name in fields}
        value = remote[name]
        remote[name] = {bool: lambda v: not v, int: lambda v: v + 1}.get(
            type(value), lambda v: v[:-1] if v else ["x"]
        )(value)
        assert after_a_refresh(handler_class, props, body(fields, remote)), name


@BY_NAME
def test_an_unknown_is_a_change_and_no_replacement(handler_class, props):
    one = handler(handler_class)
    for name in ("cluster_id", *one.fields):
        result = one.diff("id", props, {**props, name: UNKNOWN})
        assert (result.changes, result.replaces) == (True, []), name
    inside = {**props, next(iter(one.fields)): [UNKNOWN, "sg-0a"]}
    assert one.diff("id", props, inside).changes


@BY_NAME
def test_another_cluster_is_another_object(handler_class, props):
    other = {**props, "cluster_id": "another"}

    assert handler(handler_class).diff("id", props, other).replaces == ["cluster_id"]


def test_a_node_configuration_is_sent_as_the_service_takes_it():
    expected = {
        key: value
        for key, value in REMOTE.items()
        if key in {"subnets", "minDiskSize", "tags", "eks"}
    }
    expected["eks"] = {k: v for k, v in REMOTE["eks"].items() if k != "dnsClusterIp"}

    assert body(node_configuration.FIELDS, CONFIGURATION) == expected


def test_policies_are_sent_as_the_service_takes_them():
    assert body(autoscaler_policies.FIELDS, POLICIES) == {
        "enabled": True,
        "unschedulablePods": {"enabled": True},
        "clusterLimits": {"enabled": True, "cpu": {"maxCores": 20}},
        "nodeDownscaler": {"emptyNodesEnabled": True, "emptyNodesDelay": "300s"},
    }


def eks(**fields):
    return {**REMOTE, "eks": {**REMOTE["eks"], **fields}}


def without(*names):
    return {key: value for key, value in REMOTE.items() if key not in names}


@pytest.mark.parametrize(
    "remote",
    [
        pytest.param({**REMOTE, "version": 4}, id="the version changes with every write"),
        pytest.param(eks(ipsPerPrefix=1), id="prefix of one address where none was set"),
        pytest.param(eks(ipsPerPrefix=16), id="prefix of sixteen addresses"),
        pytest.param(eks(ipsPerPrefix=0), id="prefix of none"),
        pytest.param(eks(imageFamily="family_al2023"), id="family in lower case"),
        pytest.param(eks(imageFamily="al2023"), id="family under its alias"),
        pytest.param(eks(volumeType="GP3"), id="volume type in upper case"),
        pytest.param(eks(securityGroups=["sg-0b", "sg-0a"]), id="groups in another order"),
        pytest.param({**REMOTE, "subnets": ["subnet-0b", "subnet-0a"]}, id="subnets so, too"),
        pytest.param({**REMOTE, "containerRuntime": "CONTAINERD"}, id="runtime that nobody set"),
        pytest.param({**REMOTE, "aks": {"osDiskType": "x"}}, id="another cloud's part"),
        pytest.param(without("minDiskSize"), id="a default that is left out"),
        pytest.param(eks(volumeKmsKeyArn="arn:aws:kms:..."), id="key that this program sets not"),
    ],
)
def test_a_spelling_of_the_service_is_no_perpetual_difference(remote):
    args = (NodeConfigurationHandler, CONFIGURATION)

    assert not after_a_refresh(*args, remote)


@pytest.mark.parametrize(
    ("written", "read"),
    [("5m0s", 300), ("300s", 300), ("1h30m0s", 5400), ("500ms", 0), ("soon", "soon"), ("", 0)],
)
def test_durations_are_compared_in_seconds(written, read):
    assert seconds(written) == (read if written else 0)


@pytest.mark.parametrize(
    "remote",
    [
        {
            "version": "7",
            "unschedulablePods": {"podPinner": {"status": "POD_PINNER_STATUS_MISSING"}},
        },
        {"nodeDownscaler": {"emptyNodesDelay": "5m0s"}},
        {"scopedMode": True},
    ],
)
def test_version_statuses_and_another_spelling_are_no_drift_of_the_policies(remote):
    whole = body(autoscaler_policies.FIELDS, POLICIES)
    for key, value in remote.items():
        whole[key] = {**whole.get(key, {}), **value} if isinstance(value, dict) else value

    args = (AutoscalerPoliciesHandler, POLICIES)
    assert not after_a_refresh(*args, whole)


def test_a_missing_field_of_the_policies_means_off():
    """Protobuf's JSON leaves false out."""
    args = (AutoscalerPoliciesHandler,)
    off = {**POLICIES, "empty_nodes": False}
    remote = body(autoscaler_policies.FIELDS, off)
    del remote["nodeDownscaler"]["emptyNodesEnabled"]

    assert not after_a_refresh(*args, off, remote)
    assert after_a_refresh(*args, POLICIES, remote)


def test_changes_are_told_by_name():
    changes = {
        "subnet_ids": (["subnet-0a"], ["subnet-0b", "subnet-0c"]),
        "kms_key_arn": (None, "k"),
    }

    assert (
        change_text(changes)
        == "subnet_ids: subnet-0a -> subnet-0b, subnet-0c; kms_key_arn: nothing -> k"
    )
