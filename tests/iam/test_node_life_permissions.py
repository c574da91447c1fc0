"""The calls of a node's life: what `scoped` allows of what CAST AI publishes, and which switch adds.

The calls are those that CAST AI's published policies are for (castai/terraform-provider-castai,
castai/policies/iam-policy.json and user-policy.json), each as AWS judges it, resource by resource.
docs/permissions.md has the same table.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from castai_stack import naming
from castai_stack.automation import security_group
from castai_stack.iam import castai_policy, feature_policy, restricted_policy
from castai_stack.iam.settings import Iam
from sandbox.iam_evaluator import Request, may_call
from tests.support import world

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
OURS = world.scope()
ID_TAG, CLUSTER_TAG = "cast:cluster-id", f"kubernetes.io/cluster/{OURS.cluster}"
IN_VPC = {"ec2:Vpc": OURS.vpc_arns[0]}
OF_CASTAI = {f"aws:ResourceTag/{ID_TAG}": OURS.cluster_id}
OF_THE_PAST = {f"ec2:ResourceTag/{CLUSTER_TAG}": "owned", f"aws:ResourceTag/{CLUSTER_TAG}": "owned"}
NEW = {f"aws:RequestTag/{ID_TAG}": OURS.cluster_id, f"aws:RequestTag/{CLUSTER_TAG}": "owned"}
KEY = OURS.own("kms", "key/k-1")
GROUP = OURS.own("autoscaling", "autoScalingGroup:u-1:autoScalingGroupName/own-group")
VIA_EC2 = {"kms:ViaService": f"ec2.{OURS.region}.amazonaws.com"}
SPOT_ROLE = f"arn:aws:iam::{OURS.account_id}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"


def ec2(action, kind, name="new", context=None):
    return Request(f"ec2:{action}", OURS.own("ec2", f"{kind}/{name}"), context or {})


def launch(*more, group=IN_VPC):
    """The parts of RunInstances as AWS judges them, one for each resource."""
    return [
        ec2("RunInstances", "instance", context=NEW),
        ec2("RunInstances", "subnet", "subnet-1", context=IN_VPC),
        ec2("RunInstances", "network-interface", context=IN_VPC),
        ec2("RunInstances", "security-group", "sg-1", context=group),
        ec2("RunInstances", "volume"),
        Request("ec2:RunInstances", f"arn:aws:ec2:{OURS.region}::image/ami-1"),
        *more,
    ]


@dataclass(frozen=True)
class Call:
    """One call; `switch` is what makes `scoped` allow it, None where nothing does."""

    name: str
    parts: list[Request]
    refused: bool = False
    switch: dict | None = None
    published: bool = True
    also: dict = field(default_factory=dict)
    """Settings under which an allowed call is to stay allowed."""


OWN_GROUP = {**IN_VPC, **OF_CASTAI}
CALLS = [
    Call("start a node with the tags of CAST AI", launch()),
    Call(
        "start it with `CastNodeSecurityGroup` while `iam.securityGroupIds` lists others",
        launch(group=OWN_GROUP),
        also={"security_group_ids": ["sg-0000000a"]},
    ),
    Call(
        "tag what the launch creates",
        [
            ec2("CreateTags", kind, context={"ec2:CreateAction": "RunInstances", **NEW})
            for kind in ("instance", "volume", "network-interface")
        ],
    ),
    Call(
        "pass the node role to the instance",
        [Request("iam:PassRole", OURS.node_role_arn, {"iam:PassedToService": "ec2.amazonaws.com"})],
    ),
    Call("use a key pair that CAST AI imported", launch(ec2("RunInstances", "key-pair", "k", context=OF_CASTAI))),
    Call("use a key pair of others", launch(ec2("RunInstances", "key-pair", "k")), refused=True),
    Call("import a key pair with the tag of CAST AI", [ec2("ImportKeyPair", "key-pair", context=NEW)]),
    Call("import a key pair without it", [ec2("ImportKeyPair", "key-pair")], refused=True),
    Call("delete a key pair that CAST AI imported", [ec2("DeleteKeyPair", "key-pair", "k", context=OF_CASTAI)]),
    Call(
        "start it in a capacity reservation",
        launch(ec2("RunInstances", "capacity-reservation", "cr-0000000a")),
        refused=True,
        switch={"capacity_reservation_ids": ["cr-0000000a"]},
    ),
    Call(
        "encrypt its volume with a customer-managed key",
        [
            Request("kms:GenerateDataKeyWithoutPlaintext", KEY, VIA_EC2),
            Request("kms:CreateGrant", KEY, {**VIA_EC2, "kms:GrantIsForAWSResource": "true"}),
        ],
        refused=True,
        switch={"kms_key_arns": [KEY]},
        published=False,
    ),
    Call(
        "create the service-linked role of Spot",
        [Request("iam:CreateServiceLinkedRole", SPOT_ROLE, {"iam:AWSServiceName": "spot.amazonaws.com"})],
        refused=True,
        switch={"service_linked_roles": True},
    ),
    Call(
        "stop, start or end a node that CAST AI started",
        [
            ec2(f"{verb}Instances", "instance", "i-1", context={**OF_CASTAI, **OF_THE_PAST})
            for verb in ("Stop", "Start", "Terminate")
        ],
    ),
    Call(
        "end an original node of an EKS node group",
        [ec2("TerminateInstances", "instance", "i-2", context={"aws:ResourceTag/aws:eks:cluster-name": OURS.cluster, **OF_THE_PAST})],
    ),
    Call(
        "end an original node that only carries the cluster's tag",
        [ec2("TerminateInstances", "instance", "i-3", context=OF_THE_PAST)],
        refused=True,
        switch={"original_nodes": "by-cluster-tag"},
    ),
    Call(
        "suspend the Auto Scaling group of an EKS node group",
        [Request("autoscaling:SuspendProcesses", GROUP, {"aws:ResourceTag/eks:cluster-name": OURS.cluster, f"autoscaling:ResourceTag/{CLUSTER_TAG}": "owned"})],
    ),
    Call(
        "suspend the Auto Scaling group of self-managed nodes",
        [Request("autoscaling:SuspendProcesses", GROUP, {f"autoscaling:ResourceTag/{CLUSTER_TAG}": "owned"})],
        refused=True,
        switch={"auto_scaling_group_names": ["own-group"]},
    ),
    Call(
        "create an Auto Scaling group",
        [Request("autoscaling:CreateAutoScalingGroup", GROUP, {f"autoscaling:ResourceTag/{CLUSTER_TAG}": "owned"})],
        refused=True,
    ),
    Call(
        "resize or delete an EKS node group",
        [
            Request(f"eks:{verb}", OURS.own("eks", f"nodegroup/{OURS.cluster}/a/b"))
            for verb in ("UpdateNodegroupConfig", "DeleteNodegroup")
        ],
    ),
    Call(
        "create a launch template and an EKS node group (hibernation)",
        [
            ec2("CreateLaunchTemplate", "launch-template", context=NEW),
            Request("eks:CreateNodegroup", OURS.own("eks", f"cluster/{OURS.cluster}")),
            Request("iam:PassRole", OURS.node_role_arn, {"iam:PassedToService": "eks.amazonaws.com"}),
        ],
        refused=True,
        switch={"create_node_groups": True},
    ),
    Call(
        "pass another role than the node role",
        [Request("iam:PassRole", OURS.iam("role", "other"), {"iam:PassedToService": "ec2.amazonaws.com"})],
        refused=True,
    ),
]  # fmt: skip
SWITCHED = [call for call in CALLS if call.switch is not None]
EVERYTHING = {key: value for call in SWITCHED for key, value in (call.switch or {}).items()}
BY_NAME = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)


def policies(flavour="scoped", **switches):
    chosen = Iam(**switches)
    documents = [
        castai_policy.castai_policy(OURS, flavour, chosen),
        restricted_policy.restricted_policy(OURS, flavour, chosen),
        feature_policy.feature_policy(OURS, flavour, chosen),
    ]
    return [document for document in documents if document]


@BY_NAME
def test_castai_publishes_the_permission_of_each_call(call):
    assert may_call(policies("documented"), call.parts) is call.published


@BY_NAME
def test_scoped_allows_a_call_or_has_a_switch_for_it_or_never_does(call):
    assert may_call(policies(), call.parts) is not call.refused
    assert may_call(policies(**call.also), call.parts) is not call.refused
    if call.refused:
        switched = policies(**(EVERYTHING if call.switch is None else call.switch))
        assert may_call(switched, call.parts) is (call.switch is not None)


def test_the_security_group_of_the_program_carries_the_tag_that_the_permissions_ask_for():
    name = OURS.names.node_group(OURS.cluster)
    tags = security_group.inputs(OURS.cluster, name, OURS.cluster_id, OURS.vpc_id, {})["tags"]

    assert {f"aws:ResourceTag/{ID_TAG}": tags[ID_TAG]} == OF_CASTAI
    assert tags["Name"] == naming.NODE_GROUP.format(cluster=OURS.cluster)


def camel(name):
    head, *rest = name.split("_")
    return "iam." + head + "".join(word.capitalize() for word in rest)


def row(call):
    if not call.refused:
        return f"| {call.name} | allowed | |"
    switches = [f"`{camel(name)}`" for name in call.switch or {}]
    return f"| {call.name} | refused | {', '.join(switches) or 'none'} |"


def test_the_page_has_the_same_table():
    text = PAGE.read_text()
    section = text.partition("## A node's life\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| (?:allowed|refused) \|.*\|$", section, re.MULTILINE)

    assert rows == [row(call) for call in CALLS]
