"""What CAST AI holds becomes settings, as far as they can express it, and the rest is named."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from castai_stack.adopt import at_castai
from castai_stack.adopt.at_castai import Sections
from castai_stack.adopt.observations import Group, Observations
from castai_stack.adopt.rows import Row
from castai_stack.castai.node_template import DEFAULT_TEMPLATE
from sandbox.castai.node_configurations import NodeConfigurations
from sandbox.castai.node_templates import NodeTemplates
from sandbox.castai.policies import Policies
from sandbox.sources import installers
from tests.support import footprints

OWN, CLUSTER, NODES = "sg-0a1b2c3d4e5f60718", "sg-11111111", "sg-22222222"
GROUP = Group(OWN, "cast-prod-cluster/CastNodeSecurityGroup", footprints.CLUSTER_ID)


def policies(**sections: Any) -> dict[str, Any]:
    service = Policies()
    return service.patch({"enabled": True, "version": "1", **sections})


def template(**body: Any) -> dict[str, Any]:
    service = NodeTemplates()
    service.add_default()
    return service.replace(DEFAULT_TEMPLATE, body) if body else service.get(DEFAULT_TEMPLATE)


def configuration(*, groups: list[str], eks: Mapping[str, Any] | None = None, **body: Any) -> Any:
    profile = f"arn:aws:iam::{footprints.ACCOUNT}:instance-profile/cast-prod-eks-0f3f1ba4"
    service = NodeConfigurations()
    sections = {"instanceProfileArn": profile, "securityGroups": groups, **(eks or {})}
    plain = {"name": "default", "subnets": ["subnet-0a1b2c3d4e"], "eks": sections}
    return service.create({**plain, **body}, default=True)


def observations(**fields: Any) -> Observations:
    plain = footprints.observed(installers.script_with_role(footprints.source_place()))
    place = replace(plain.place, cluster_group=CLUSTER)
    return replace(plain, place=place, castai=replace(plain.castai, **fields))


def sections_of(group: Group | None = GROUP, **fields: Any) -> Sections:
    return at_castai.sections(observations(**fields), group)


def remarks(sections: Sections) -> dict[str, tuple[str, str]]:
    return {row.part: (row.fate, row.remark) for row in sections.rows}


def test_policies_and_template_become_settings():
    constraints = {"spot": True, "architectures": ["arm64", "amd64"], "minCpu": 4, "azs": []}
    result = sections_of(
        policies=policies(
            unschedulablePods={"enabled": True},
            clusterLimits={"enabled": True, "cpu": {"maxCores": 64}},
            nodeDownscaler={"emptyNodesEnabled": True, "emptyNodesDelay": "4m"},
        ),
        template=template(constraints=constraints),
    )

    assert result.automation["autoscaler"] == {
        "enabled": True,
        "unschedulablePods": True,
        "cpuLimit": 64,
        "emptyNodes": {"enabled": True, "delaySeconds": 240},
        "nodeTemplate": {
            "spot": True,
            "onDemand": True,
            "spotFallbacks": False,
            "architectures": ["amd64", "arm64"],
            "minCpu": 4,
        },
    }
    assert remarks(result)["autoscaler policies"] == ("taken over", "its values are settings")


def test_a_limit_that_is_off_is_no_setting():
    assert "cpuLimit" not in sections_of(policies=policies()).automation["autoscaler"]


def test_policies_that_are_off_are_left_off():
    result = sections_of(policies=Policies().get())

    assert "autoscaler" not in result.automation
    assert "off, and they stay off" in remarks(result)["autoscaler policies"][1]


def test_what_no_setting_has_is_named_and_stays():
    pods = {"enabled": True, "podPinner": {"enabled": True}}
    result = sections_of(
        policies=policies(scopedMode=True, unschedulablePods=pods),
        template=template(customLabels={"team": "a"}, rebalancingConfig={"minNodes": 3}),
    )

    fate, remark = remarks(result)["autoscaler policies"]
    assert fate == "taken over"
    for part in (
        "scopedMode true",
        "unschedulablePods.podPinner.enabled true",
        "node template customLabels.team",
        "node template rebalancingConfig.minNodes 3",
    ):
        assert part in remark
    assert "status" not in remark


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"policies": policies(nodeDownscaler={"emptyNodesDelay": "48h"})},
            "automation.autoscaler.emptyNodes.delaySeconds: found 172800; allowed: 86400 or less",
        ),
        (
            {"policies": policies(), "template": template(isEnabled=False)},
            f"node template {DEFAULT_TEMPLATE} is off",
        ),
    ],
)
def test_policies_that_the_settings_cannot_express_are_left_as_a_whole(fields: Any, why: str):
    result = sections_of(**fields)

    assert "autoscaler" not in result.automation
    fate, remark = remarks(result)["autoscaler policies"]
    assert fate == "left"
    assert why in remark


def test_policies_of_v1_are_left():
    result = sections_of(policies=policies(), old_policies_on=True)

    assert "autoscaler" not in result.automation
    assert "Go to V2 first" in remarks(result)["autoscaler policies"][1]


def test_groups_besides_those_that_the_program_names_become_a_setting():
    result = sections_of(configuration=configuration(groups=[CLUSTER, NODES, OWN]))

    assert result.automation["nodes"]["securityGroupIds"] == [NODES]
    assert "createSecurityGroup" not in result.automation["nodes"]
    assert "adds" not in remarks(result)["node configuration"][1]


def test_without_a_group_of_castai_none_is_created():
    result = sections_of(None, configuration=configuration(groups=[NODES]))

    assert result.automation["nodes"]["securityGroupIds"] == [NODES]
    assert result.automation["nodes"]["createSecurityGroup"] is False
    assert "adds the cluster's own security group" in remarks(result)["node configuration"][1]


def test_an_image_family_that_castai_chooses_is_said_to_change():
    remark = "sets an image family"
    named = configuration(groups=[OWN], eks={"imageFamily": "FAMILY_AL2023"})

    chosen = sections_of(configuration=configuration(groups=[OWN]))
    assert remark in remarks(chosen)["node configuration"][1]
    assert remark not in remarks(sections_of(configuration=named))["node configuration"][1]


def test_a_key_of_the_volumes_is_allowed_to_castai_too():
    key = f"arn:aws:kms:{footprints.REGION}:{footprints.ACCOUNT}:key/1"
    result = sections_of(configuration=configuration(groups=[OWN], eks={"volumeKmsKeyArn": key}))

    assert result.automation["nodes"]["kmsKeyArn"] == key
    assert result.kms_keys == [key]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"eks": {"volumeType": "io2"}}, "automation.nodes.volumeType: found 'io2'"),
        ({"tags": {"cast:team": "a"}}, "automation.nodes.tags.cast:team: the prefix is reserved"),
    ],
)
def test_a_node_configuration_that_the_settings_cannot_express_is_left(changes: Any, why: str):
    result = sections_of(configuration=configuration(groups=[OWN], **changes))

    assert result.automation["nodes"] == {"enabled": False}
    fate, remark = remarks(result)["node configuration"]
    assert fate == "left"
    assert why in remark


def test_a_script_of_the_nodes_is_named_and_not_shown():
    result = sections_of(configuration=configuration(groups=[OWN], initScript="U0VOVElORUw="))

    assert "no setting has initScript, which stay" in remarks(result)["node configuration"][1]
    assert "U0VOVElORUw" not in str(result.rows)


def test_further_configurations_and_templates_are_left():
    rows = sections_of(configurations=("gpu",), templates=("batch",)).rows

    assert Row("node configuration", "gpu", "left", "the console or Terraform keeps it") in rows
    assert Row("node template", "batch", "left", "the console or Terraform keeps it") in rows
