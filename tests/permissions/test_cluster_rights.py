"""Rights inside the cluster as data: who has them, and which ones cover others."""

import pytest

from castai_stack.config.model import StackConfig
from castai_stack.permissions import cluster_rights
from castai_stack.permissions.cluster_rights import Right, beyond, rights

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
DELETES_NODES = ("", "", "nodes", "", "delete")


def settings(**castai) -> StackConfig:
    return StackConfig.model_validate({"cluster": CLUSTER, **castai})


def subjects(**castai) -> set[str]:
    return {right.subject for right in rights(settings(**castai))}


@pytest.mark.parametrize(
    ("castai", "expected"),
    [
        ({"credentials": {"mode": "none"}}, {"castai-agent"}),
        ({"credentials": {"mode": "role"}}, {"castai-agent", "castai-cluster-controller"}),
        ({}, {"castai-agent", "castai-cluster-controller", "system:masters"}),
        (
            {"access": {"userGroups": ["castai:nodes"]}, "spot": {"drain": True}},
            {"castai-agent", "castai-cluster-controller", "castai:nodes", "castai-eks-spot-drain"},
        ),
        (
            {
                "credentials": {"mode": "role"},
                "spot": {"handler": "daemonset", "drain": True},
                "automation": {"controller": {"enabled": True}, "evictor": {"enabled": True}},
            },
            {
                "castai-agent",
                "castai-cluster-controller",
                "castai-evictor",
                "castai-spot-handler",
            },
        ),
    ],
)
def test_those_have_rights_that_the_settings_install_or_map(castai, expected):
    assert subjects(**castai) == expected


def test_the_controller_deletes_nodes_and_reads_no_secret():
    here = rights(settings(credentials={"mode": "role"}))

    assert Right("castai-cluster-controller", *DELETES_NODES) in here
    assert not [right for right in here if right.resource in ("secrets", "*") and right.group == ""]


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        (("", "*", "*", "", "*"), DELETES_NODES, True),
        (("castai-agent", "*", "*", "", "*"), DELETES_NODES, False),
        (("", "", "nodes", "n1", "delete"), DELETES_NODES, False),
        (DELETES_NODES, ("", "", "nodes", "n1", "delete"), True),
        (DELETES_NODES, ("", "", "nodes", "", "patch"), False),
    ],
)
def test_a_right_covers_what_it_allows(wide, narrow, covered):
    one, other = Right("s", *wide), Right("s", *narrow)

    assert one.covers(other) is covered
    assert (beyond([other], [one]) == ()) is covered
    assert not Right("another", *wide).covers(other)


def test_an_upgrading_controller_may_do_everything_in_its_namespace():
    upgrading = settings(
        credentials={"mode": "role"}, automation={"controller": {"selfUpgrade": True}}
    )
    gained = beyond(
        cluster_rights.rights(upgrading), rights(settings(credentials={"mode": "role"}))
    )

    everything = Right("castai-cluster-controller", "castai-agent", "*", "*", "", "*")
    assert everything in gained
