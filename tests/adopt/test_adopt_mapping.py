"""Where the cluster admits the principals, and what becomes of each entry."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from castai_stack.adopt import mapping
from castai_stack.adopt.observations import AccessEntry, Observations, Principal
from sandbox.sources import installers
from tests.adopt.test_adopt_plan import at_castai, planned
from tests.support import footprints
from tests.support.footprints import ACCOUNT, CLUSTER_ID

IAM = f"arn:aws:iam::{ACCOUNT}"
NODES = f"{IAM}:role/cast-prod-eks-{CLUSTER_ID[:8]}"
USER = f"{IAM}:user/cast-eks-prod"
ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


def observations(
    mode: str, *entries: AccessEntry, mapped: tuple[str, ...] = (), **in_aws: Any
) -> Observations:
    """What the script of 2021 leaves, with another mapping."""
    plain = footprints.observed(installers.script_with_user(footprints.source_place()))
    return replace(
        plain,
        place=replace(plain.place, authentication_mode=mode),
        aws=replace(plain.aws, access_entries=entries, **in_aws),
        cluster=replace(plain.cluster, mapped=frozenset(mapped)),
    )


def takeover(observed: Observations) -> mapping.MappingTakeover:
    (user,), (nodes,) = observed.aws.principals, observed.aws.node_roles
    return mapping.take(observed, nodes, user)


def fates(result: mapping.MappingTakeover) -> set[tuple[str, str, str]]:
    return {(row.part, row.name, row.fate) for row in result.rows}


BOTH = (AccessEntry(NODES, "EC2_LINUX"), AccessEntry(USER, "STANDARD", (ADMIN,)))
IN_MAP = (NODES, USER)


@pytest.mark.parametrize(
    ("observed", "access"),
    [
        (observations("CONFIG_MAP", mapped=IN_MAP), {"adopt": True}),
        (observations("CONFIG_MAP"), None),
        (observations("API_AND_CONFIG_MAP", mapped=IN_MAP), {"mode": "aws-auth", "adopt": True}),
        (observations("API_AND_CONFIG_MAP", *BOTH), None),
        (observations("API_AND_CONFIG_MAP", *BOTH, mapped=IN_MAP), None),
        (observations("API_AND_CONFIG_MAP"), None),
        (observations("API", mapped=IN_MAP), None),
        (observations("API", *BOTH), None),
    ],
)
def test_the_mapping_stays_where_the_cluster_reads_it(
    observed: Observations, access: dict[str, Any] | None
):
    assert planned(observed).settings.get("access") == access


def test_access_entries_are_imported_with_the_policy_of_the_user():
    result = takeover(observations("API", *BOTH))

    assert result.imports == {
        "access-node-role-access": f"prod:{NODES}",
        "access-user-access": f"prod:{USER}",
        "access-user-cluster-admin": f"prod#{USER}#{ADMIN}",
    }
    assert fates(result) == {("mapping", NODES, "taken over"), ("mapping", USER, "taken over")}


def test_another_access_policy_of_the_user_is_said():
    result = takeover(observations("API", BOTH[0], AccessEntry(USER, "STANDARD", (VIEW,))))

    assert "access-user-cluster-admin" not in result.imports
    assert ("access policy", "AmazonEKSViewPolicy", "left") in fates(result)


def test_what_is_mapped_in_one_place_only_is_created_in_the_other():
    result = takeover(observations("API_AND_CONFIG_MAP", BOTH[0], mapped=(USER,)))

    assert result.where == "access-entries"
    assert ("mapping", USER, "created") in fates(result)
    assert ("entry of aws-auth", USER, "left") in fates(result)
    assert not result.adopts


@pytest.mark.parametrize(
    ("mode", "remark"),
    [("API", "admits nobody"), ("API_AND_CONFIG_MAP", "the access entry counts before it")],
)
def test_an_entry_of_aws_auth_beside_an_access_entry_is_left(mode: str, remark: str):
    (row,) = [
        one
        for one in takeover(observations(mode, *BOTH, mapped=(NODES,))).rows
        if one.fate == "left"
    ]

    assert row.name == NODES
    assert remark in row.remark


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (AccessEntry(NODES, "STANDARD"), "has the type STANDARD"),
        (
            AccessEntry(NODES, "EC2_LINUX", created=datetime(2026, 1, 1, tzinfo=UTC)),
            "older than the role, which it does not admit",
        ),
    ],
)
def test_an_access_entry_that_cannot_stay_is_made_anew(entry: AccessEntry, why: str):
    observed = observations("API", entry, BOTH[1])
    (nodes,) = observed.aws.node_roles
    younger = replace(nodes, created=datetime(2026, 2, 1, tzinfo=UTC))
    result = takeover(observations("API", entry, BOTH[1], node_roles=(younger,)))

    assert result.adopts
    assert "access-node-role-access" not in result.imports
    assert why in next(row.remark for row in result.rows if row.name == NODES)


def test_paths_count_in_access_entries_and_not_in_aws_auth():
    nodes = Principal("role", "nodes", path="/infra/")
    place = observations("API").place

    assert mapping.entry_arn(place, nodes) == f"{IAM}:role/infra/nodes"
    assert mapping.map_arn(place, nodes) == f"{IAM}:role/nodes"
    user = Principal("user", "jane", path="/infra/")
    assert mapping.map_arn(place, user) == mapping.entry_arn(place, user)


def test_castais_role_is_not_mapped_by_this_program_and_its_entries_are_left():
    observed = footprints.observed(installers.script_with_role(footprints.source_place()))
    (role,) = observed.aws.principals
    both = replace(
        observed,
        cluster=replace(observed.cluster, mapped=frozenset({f"{IAM}:role/{role.name}"})),
        aws=replace(
            observed.aws, access_entries=(AccessEntry(f"{IAM}:role/{role.name}", "STANDARD"),)
        ),
    )

    rows = [row for row in planned(both).rows if row.name == f"{IAM}:role/{role.name}"]
    assert {(row.part, row.fate) for row in rows} == {
        ("entry of aws-auth", "left"),
        ("access entry", "left"),
    }


def test_the_mapping_of_a_node_role_that_is_left_is_not_taken_over():
    observed = footprints.observed(installers.script_with_role(footprints.source_place()))
    profile = f"arn:aws:iam::{ACCOUNT}:instance-profile/cast-prod-eks-{CLUSTER_ID[:8]}"
    plan = planned(at_castai(observed, profile_users={profile: ("stage",)}))

    assert "access" not in plan.settings
    assert not [row for row in plan.rows if row.part == "mapping"]
