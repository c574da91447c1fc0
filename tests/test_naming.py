import dataclasses
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castai_stack import naming

clusters = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=100).filter(
    lambda name: name[0] not in "-_"
)
LIMITS = {
    "principal": naming.USER_LIMIT,
    "castai_policy": naming.POLICY_LIMIT,
    "feature_policy": naming.POLICY_LIMIT,
    "restricted_policy": naming.POLICY_LIMIT,
    "lambda_role": naming.ROLE_LIMIT,
    "function": naming.FUNCTION_LIMIT,
    "interruption_rule": naming.RULE_LIMIT,
    "rebalance_rule": naming.RULE_LIMIT,
    "dead_letter_queue": naming.QUEUE_LIMIT,
    "lambda_boundary": naming.POLICY_LIMIT,
    "node_boundary": naming.POLICY_LIMIT,
}


def names_of(cluster, flavour, region="eu-west-1"):
    names = naming.names(cluster, flavour, region)
    fields = [field.name for field in dataclasses.fields(names) if field.name != "given"]
    return {field: getattr(names, field) for field in fields}


@given(clusters, st.sampled_from(["suffixed", "regional", "documented"]))
def test_every_name_is_within_its_limit(cluster, flavour):
    for field, name in names_of(cluster, flavour).items():
        assert len(name) <= LIMITS[field], field


@given(clusters, clusters)
def test_two_clusters_never_share_a_suffixed_name(one, other):
    if one != other:
        ours, theirs = names_of(one, "suffixed"), names_of(other, "suffixed")
        assert all(ours[field] != theirs[field] for field in ours)


@given(clusters, clusters, st.sampled_from(["eu-west-1", "eu-west-2"]))
def test_regional_names_differ_by_region_and_by_letter_case(one, other, region):
    if (one, "eu-west-1") != (other, region):
        ours, theirs = names_of(one, "regional"), names_of(other, "regional", region)
        assert all(ours[field].lower() != theirs[field].lower() for field in ours)


@given(clusters)
def test_letter_case_alone_makes_other_regional_names(cluster):
    if cluster != cluster.swapcase():
        ours, theirs = names_of(cluster, "regional"), names_of(cluster.swapcase(), "regional")
        assert all(ours[field].lower() != theirs[field].lower() for field in ours)


def test_regional_names_keep_the_clusters_name_and_need_a_region():
    principal = naming.names("prod", "regional", "eu-west-1").principal

    assert re.fullmatch(r"cast-eks-prod-[0-9a-f]{8}", principal)
    with pytest.raises(ValueError, match="region"):
        naming.names("prod", "regional")


@given(clusters)
def test_a_name_is_exact_while_it_fits(cluster):
    if len(cluster) <= 55:
        assert naming.names(cluster, "suffixed").principal == f"cast-eks-{cluster}"


def test_the_names_of_the_page():
    names = naming.names("prod", "documented")

    assert names.principal == "cast-eks-prod"
    assert names.castai_policy == "CastEKSPolicy"
    assert names.lambda_role == "CastLambdaRoleForSpot"
    assert names.function == "cast-ai-ec2-events-handler"
    assert (
        naming.node_role("prod", "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1") == "cast-prod-eks-0f3f1ba4"
    )


@given(clusters, clusters, st.uuids(), st.uuids())
def test_node_roles_of_clusters_with_a_common_head_differ_by_id(one, other, id_, other_id):
    if str(id_)[:8] != str(other_id)[:8]:
        assert naming.node_role(one, str(id_)) != naming.node_role(other, str(other_id))
    assert len(naming.node_role(one, str(id_))) <= naming.ROLE_LIMIT


def test_shortened_names_are_listed():
    assert naming.shortened("x" * 34, "suffixed") == [
        naming.names("x" * 34, "suffixed").rebalance_rule
    ]
    assert naming.shortened("prod", "suffixed") == []
    assert naming.shortened("prod", "documented") == []


def test_a_given_name_replaces_the_computed_one():
    cluster_id = "0f3f1ba4-6f46-4f2e-9a39-6a1bb6c0f0a1"
    given = {"principal": "theirs", "node_role": "nodes", "function": None}
    names = naming.names("prod", "suffixed", given=given)

    assert names.principal == "theirs"
    assert names.function == naming.names("prod", "suffixed").function
    assert names.node_role("prod", cluster_id) == "nodes"
    assert names.instance_profile("prod", cluster_id) == "cast-prod-eks-0f3f1ba4"
    assert names.node_group("prod") == "cast-prod-cluster/CastNodeSecurityGroup"
    assert names.restricted_inline == "CastEKSRestrictedAccess"
