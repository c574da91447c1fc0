"""Names are recognised for exactly one cluster."""

import pytest

from castai_stack import naming
from castai_stack.commands.aws_kinds import OURS, SCRIPT, SHARED, TERRAFORM
from castai_stack.commands.leftovers import NamePatterns, instance_origin

FIELDS = {
    "principal": ("user", "role"),
    "castai_policy": ("policy",),
    "restricted_policy": ("policy",),
    "feature_policy": ("policy",),
    "lambda_role": ("role",),
    "function": ("function",),
    "interruption_rule": ("rule",),
    "rebalance_rule": ("rule",),
    "dead_letter_queue": ("queue",),
    "lambda_boundary": ("policy",),
    "node_boundary": ("policy",),
}


@pytest.mark.parametrize("cluster", ["demo", "a", "x" * 100, "Demo-1_b"])
def test_every_name_that_this_program_gives_is_recognised(cluster):
    assert set(FIELDS) == set(naming.Names.__slots__) - {"given"}, "a name is not looked for"
    patterns = NamePatterns(cluster, "eu-west-1")
    for flavour in ("suffixed", "regional"):
        names = naming.names(cluster, flavour, "eu-west-1")
        for field, kinds in FIELDS.items():
            for kind in kinds:
                assert patterns.origin(kind, getattr(names, field)) == OURS, field


def test_the_same_name_in_another_region_is_none_of_ours():
    patterns = NamePatterns("demo", "eu-west-1")
    here, there = (
        naming.names("demo", "regional", region).castai_policy
        for region in ("eu-west-1", "eu-west-2")
    )

    assert patterns.origin("policy", there) is None
    assert patterns.of_another_region("policy", there)
    assert not patterns.of_another_region("policy", here)
    assert not patterns.of_another_region("policy", "CastEKSPolicy-demo")
    assert not patterns.of_another_region("policy", "CastEKSPolicy-demo-production")


def test_the_node_role_and_profile_are_recognised_by_the_shape_of_their_id():
    name = naming.node_role("demo", "3f2b8a4c-7d1e-4c5f-9a6b-0e8d2c4b6a1f")
    for kind in ("role", "instance profile"):
        assert NamePatterns("demo").origin(kind, name) == f"{OURS} or CAST AI's script"
        assert NamePatterns("demo").origin(kind, "cast-demo-eks-prod-eks-3f2b8a4c") is None


@pytest.mark.parametrize(
    ("kind", "name", "origin"),
    [
        ("policy", "CastEKSPolicy", SHARED),
        ("role", "CastLambdaRoleForSpot", SHARED),
        ("function", "cast-ai-ec2-events-handler", SHARED),
        ("log group", "/aws/lambda/cast-ai-ec2-events-handler", SHARED),
        ("role", "cast-eks-demo-cluster-role-3f2b8a4c", SCRIPT),
        ("security group", "cast-demo-cluster/CastNodeSecurityGroup", SCRIPT),
        ("function", "eks-demo-events-listener", SCRIPT),
        ("role", "demo-lambda-role", SCRIPT),
        ("role", "castai-eks-demo", TERRAFORM),
        ("role", "castai-eks-instance-demo", TERRAFORM),
        ("user", "castai-eks-demo", TERRAFORM),
        ("user", "CAST-EKS-DEMO", OURS),
    ],
)
def test_objects_of_others_are_no_leftovers(kind, name, origin):
    assert NamePatterns("demo").origin(kind, name) == origin


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("user", "cast-eks-demo2"),
        ("user", "cast-eks-dem"),
        ("role", "cast-eks-demo2-cluster-role-3f2b8a4c"),
        ("policy", "CastEKSPolicy-demo2"),
        ("policy", "AmazonEKSCNIPolicy"),
        ("rule", "cast-ai-spot-interruption-other"),
        ("user", "castxeksxdemo"),
    ],
)
def test_objects_of_other_clusters_or_without_an_owner_are_no_leftovers(kind, name):
    assert NamePatterns("demo").origin(kind, name) is None


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        ({"kubernetes.io/cluster/demo": "owned", "cast:cluster-id": "x"}, True),
        ({"kubernetes.io/cluster/demo": "owned", "Name": "demo-cast-ab12"}, True),
        ({"kubernetes.io/cluster/demo": "owned", "Name": "demo-node"}, False),
        ({"kubernetes.io/cluster/other": "owned", "cast:cluster-id": "x"}, False),
        ({"cast:cluster-id": "x"}, False),
    ],
)
def test_only_nodes_that_castai_launched_are_leftovers(tags, result):
    assert (instance_origin("demo", tags) is not None) is result
