"""What AwsAuthMapping asks the engine for; what becomes of the map is shown on a real API server."""

from typing import Any

import pulumi
import pytest
from google.protobuf import json_format

from castai_stack.access import rbac, settings
from castai_stack.access.component import AwsAuthMapping, AwsAuthMappingArgs
from tests.support import engine

COMPONENT = "castai-stack:index:AwsAuthMapping"
MAP_ENTRY = "castai-stack:index:AwsAuthEntry"
PLACE = "castai-stack:index:AccessEntryPlace"
ACCESS_ENTRY = "aws:eks/accessEntry:AccessEntry"
ASSOCIATION = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
CLUSTER_ROLE = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole"
BINDING = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding"
NODE_ARN = "arn:aws:iam::012345678901:role/cast-demo-eks-0f1e2d3c"
USER_ARN = "arn:aws:iam::012345678901:user/cast-eks-demo"


def some_args(mode="aws-auth", *, user=False, partition="aws", **changes: Any):
    args: AwsAuthMappingArgs = {
        "cluster_name": "demo",
        "region": "eu-central-1",
        "partition": partition,
        "mode": mode,
        "node_role_arn": pulumi.Output.from_input(NODE_ARN),
        "node_role_unique_id": pulumi.Output.from_input("AROANODES"),
        "settings": settings.Access.model_validate(changes),
        "tags": {"team": "platform"},
    }
    if user:
        args["user_arn"] = USER_ARN
        args["user_unique_id"] = "AIDAUSER"
        args["user_name"] = "cast-eks-demo"
    return args


def recorded(*names, preview=False, roles=None, **args: Any):
    def program():
        for name in names or ("aws-auth",):
            given = some_args(**args)
            if roles:
                given["roles"] = roles
            AwsAuthMapping(name, given)

    return engine.run(program, preview=preview)


def resources(recorder):
    return [(kind, name) for kind, name, _ in recorder.inventory() if kind != COMPONENT]


def named(recorder, name):
    return next(one for one in recorder.requests if one.name == name)


def inputs(request):
    return json_format.MessageToDict(request.object)


def entry_of(request):
    return {k: inputs(request)[k] for k in ("kind", "arn", "username", "groups")}


def needs(recorder, name):
    return {urn.rpartition("::")[2] for urn in named(recorder, name).dependencies}


NODE_ENTRY = {
    "kind": "role",
    "arn": NODE_ARN,
    "username": "system:node:{{EC2PrivateDNSName}}",
    "groups": ["system:bootstrappers", "system:nodes"],
}


def test_in_role_mode_only_the_node_role_is_mapped():
    recorder = recorded()

    assert resources(recorder) == [(MAP_ENTRY, "aws-auth-node-role")]
    assert entry_of(named(recorder, "aws-auth-node-role")) == NODE_ENTRY


def test_in_user_mode_the_user_has_an_entry_of_its_own():
    recorder = recorded(user=True)

    assert resources(recorder) == [(MAP_ENTRY, "aws-auth-node-role"), (MAP_ENTRY, "aws-auth-user")]
    assert entry_of(named(recorder, "aws-auth-user")) == {
        "kind": "user",
        "arn": USER_ARN,
        "username": "cast-eks-demo",
        "groups": ["system:masters"],
    }


def test_the_switch_for_adoption_reaches_every_entry():
    recorder = recorded(user=True, adopt=True)

    for name in ("aws-auth-node-role", "aws-auth-user"):
        given = inputs(named(recorder, name))
        assert given["adopt"] is True
        assert "kubeconfig" not in given, "that is the provider's"


def test_another_role_gets_the_groups_that_it_is_given_in_both_modes():
    roles = {
        "spot": {
            "arn": "arn:aws:iam::012345678901:role/Spot",
            "unique_id": "AROASPOT",
            "username": "castai-eks-spot-drain",
            "groups": ("castai-eks-spot-drain",),
        }
    }

    entry = entry_of(named(recorded(roles=roles), "aws-auth-spot"))
    access = inputs(named(recorded(mode="access-entries", roles=roles), "aws-auth-spot-access"))

    assert entry == {
        "kind": "role",
        "arn": "arn:aws:iam::012345678901:role/Spot",
        "username": "castai-eks-spot-drain",
        "groups": ["castai-eks-spot-drain"],
    }
    assert access["kubernetesGroups"] == ["castai-eks-spot-drain"]
    assert (access["type"], access["userName"]) == ("STANDARD", "castai-eks-spot-drain")


def test_access_entries_take_the_place_of_map_entries():
    recorder = recorded(mode="access-entries", user=True)

    assert resources(recorder) == [
        (ACCESS_ENTRY, "aws-auth-node-role-access"),
        (ACCESS_ENTRY, "aws-auth-user-access"),
        (ASSOCIATION, "aws-auth-user-cluster-admin"),
        (PLACE, "aws-auth-node-role-place"),
        (PLACE, "aws-auth-user-place"),
    ]


def test_the_node_role_is_admitted_as_ec2_linux_without_groups_or_name():
    given = inputs(named(recorded(mode="access-entries"), "aws-auth-node-role-access"))

    assert given == {
        "clusterName": "demo",
        "principalArn": NODE_ARN,
        "type": "EC2_LINUX",
        "tags": {"team": "platform"},
    }


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_the_user_is_cluster_admin_by_an_access_policy_never_by_a_group(partition):
    recorder = recorded(mode="access-entries", user=True, partition=partition)

    assert "kubernetesGroups" not in inputs(named(recorder, "aws-auth-user-access"))
    assert inputs(named(recorder, "aws-auth-user-cluster-admin")) == {
        "clusterName": "demo",
        "principalArn": USER_ARN,
        "policyArn": f"arn:{partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
        "accessScope": {"type": "cluster"},
    }
    assert "aws-auth-user-access" in needs(recorder, "aws-auth-user-cluster-admin")


def test_an_access_entry_is_replaced_with_its_principal_old_before_new():
    recorder = recorded(mode="access-entries", user=True)

    for name, trigger in (
        ("aws-auth-node-role-access", "AROANODES"),
        ("aws-auth-user-access", "AIDAUSER"),
        ("aws-auth-user-cluster-admin", "AIDAUSER"),
    ):
        request = named(recorder, name)
        assert request.replacement_trigger.string_value == trigger, name
        assert request.deleteBeforeReplace, name


def test_an_access_entry_waits_until_its_place_is_free():
    recorder = recorded(mode="access-entries", adopt=True)

    assert needs(recorder, "aws-auth-node-role-access") == {"aws-auth-node-role-place"}
    assert inputs(named(recorder, "aws-auth-node-role-place"))["adopt"] is True


@pytest.mark.parametrize("mode", ["aws-auth", "access-entries"])
def test_a_narrower_group_gets_a_cluster_role_of_its_own_and_nothing_else(mode):
    recorder = recorded(mode=mode, user=True, userGroups=["castai"])
    entry = "aws-auth-user" if mode == "aws-auth" else "aws-auth-user-access"
    groups = inputs(named(recorder, entry))

    assert groups["groups" if mode == "aws-auth" else "kubernetesGroups"] == ["castai"]
    assert ASSOCIATION not in {kind for kind, _ in resources(recorder)}, "no cluster-admin then"
    assert inputs(recorder.one(BINDING))["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "castai"}
    ]
    assert inputs(recorder.one(CLUSTER_ROLE))["rules"] == list(rbac.RULES)
    rights = {"aws-auth-user-cluster-role", "aws-auth-user-cluster-role-binding"}
    assert rights <= needs(recorder, entry), "the user is let in when its rights are there"


@pytest.mark.parametrize("args", [{"user": True}, {"userGroups": ["castai"]}])
def test_without_a_narrower_group_there_is_no_cluster_role(args):
    assert {kind for kind, _ in resources(recorded(**args))} == {MAP_ENTRY}


def test_modes_share_no_resource_so_that_a_change_of_mode_makes_before_it_deletes():
    old = {(kind, name) for kind, name in resources(recorded(user=True))}
    new = {(kind, name) for kind, name in resources(recorded(mode="access-entries", user=True))}

    assert not old & new, "one resource in both modes would be replaced, which deletes first"


@pytest.mark.parametrize("mode", ["aws-auth", "access-entries"])
def test_preview_shows_what_up_makes_and_everything_has_its_parent(mode):
    up = recorded(mode=mode, user=True, userGroups=["castai"])
    parent = up.one(COMPONENT)

    assert recorded(mode=mode, user=True, userGroups=["castai"], preview=True).inventory() == (
        up.inventory()
    )
    for request in up.requests:
        if request.type not in (COMPONENT, "pulumi:pulumi:Stack"):
            assert request.parent.endswith(f"{COMPONENT}::{parent.name}"), request.name


def test_ready_is_registered():
    assert {"ready": True} in recorded(user=True).registered_outputs.values()
