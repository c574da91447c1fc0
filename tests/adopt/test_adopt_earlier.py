"""A cluster that an older version of this program connected, and whose state is gone."""

from dataclasses import replace
from typing import Any

import pytest

from castai_stack import naming
from castai_stack.adopt import candidates, obstacles
from castai_stack.adopt.observations import (
    EarlierSpot,
    Function,
    Observations,
    Policy,
    Principal,
)
from castai_stack.iam.castai_policy import castai_policy
from castai_stack.iam.restricted_policy import restricted_policy
from castai_stack.iam.settings import Iam
from sandbox.sources import installers
from tests.support import footprints
from tests.support.footprints import ACCOUNT, planned

NAMES = naming.names("prod", "suffixed")
OWN = f"arn:aws:iam::{ACCOUNT}:policy"
BOUNDARY = f"{OWN}/{NAMES.node_boundary}"


def observations(mode: str, flavour: Any = "scoped", **role: Any) -> Observations:
    """Return what is seen of a stack with default settings."""
    source = installers.script_with_user if mode == "user" else installers.script_with_role
    plain = footprints.observed(source(footprints.source_place()))
    scope = obstacles.scope(plain, plain.castai.clusters[0])
    managed = {NAMES.castai_policy: castai_policy(scope, flavour, Iam())}
    inline = {}
    if mode == "user":
        managed[NAMES.restricted_policy] = restricted_policy(scope, flavour, Iam())
    else:
        inline[naming.RESTRICTED_INLINE] = restricted_policy(scope, flavour, Iam())
    (one,) = plain.aws.principals
    attached = [arn for arn in one.attached if ":aws:policy/" in arn and "EC2Read" in arn]
    principal = replace(
        one,
        name=NAMES.principal,
        inline=inline,
        attached=(*attached, *(f"{OWN}/{name}" for name in managed)),
        stack_of="prod",
    )
    policies = [Policy(f"{OWN}/{n}", text, (str(principal),)) for n, text in managed.items()]
    (node,) = plain.aws.node_roles
    lambda_role = Principal(
        "role",
        NAMES.lambda_role,
        attached=(f"arn:aws:iam::aws:policy/{'AmazonEC2ReadOnlyAccess'}",),
        inline={"spot-inline-1a2b3c4": {}},
        boundary=f"{OWN}/{NAMES.lambda_boundary}",
        stack_of="prod",
    )
    spot = EarlierSpot(NAMES, lambda_role, {"spot-function": NAMES.function})
    function = Function(NAMES.function, NAMES.lambda_role, (NAMES.interruption_rule,), spot)
    in_aws = replace(
        plain.aws,
        principals=(principal,),
        policies=tuple(policies),
        node_roles=(replace(node, boundary=BOUNDARY, **role),),
        functions=(function,),
    )
    role_arn = f"arn:aws:iam::{ACCOUNT}:role/{NAMES.principal}" if mode == "role" else ""
    clusters = (replace(plain.castai.clusters[0], assume_role_arn=role_arn),)
    return replace(plain, aws=in_aws, castai=replace(plain.castai, clusters=clusters))


def test_a_user_is_taken_over_with_both_of_its_policies():
    plan = planned(observations("user"))

    imports = plan.settings["adoption"]["imports"]
    for resource, policy in (
        ("castai-policy", NAMES.castai_policy),
        ("restricted-policy", NAMES.restricted_policy),
    ):
        assert imports[f"iam-{resource}"] == f"{OWN}/{policy}"
        assert imports[f"iam-user-{resource}"] == f"{NAMES.principal}/{OWN}/{policy}"
    assert imports["iam-node-boundary"] == BOUNDARY
    assert "iam" not in plan.settings, "nothing of it is another installer's"
    assert "principal" not in plan.settings["physicalNames"]


def test_a_role_is_taken_over_with_its_inline_policy():
    imports = planned(observations("role")).settings["adoption"]["imports"]

    assert imports["iam-role"] == NAMES.principal
    assert imports["iam-role-restricted"] == f"{NAMES.principal}:CastEKSRestrictedAccess"
    assert imports["iam-castai-policy"] == f"{OWN}/{NAMES.castai_policy}"


@pytest.mark.parametrize("mode", ["user", "role"])
@pytest.mark.parametrize("flavour", ["scoped", "documented"])
def test_the_flavour_of_the_policies_stays(mode: str, flavour: str):
    assert planned(observations(mode, flavour)).settings["permissions"] == flavour


def test_it_is_said_to_go_on_with_the_state_if_there_is_one():
    rows = {row.name: row.remark for row in planned(observations("user")).rows}

    assert rows[NAMES.principal] == candidates.EARLIER
    others = footprints.observed(installers.script_with_user(footprints.source_place()))
    assert candidates.EARLIER not in {row.remark for row in planned(others).rows}


def test_a_daemon_set_beside_the_function_means_both():
    plain = observations("user")
    handler = footprints.workload("castai-spot-handler", "v0.23.0", kind="DaemonSet")
    cluster = replace(plain.cluster, workloads=(*plain.cluster.workloads, handler))

    plan = planned(replace(plain, cluster=cluster))
    assert plan.settings["spot"] == {"handler": "both"}
    assert plan.settings["adoption"]["imports"]["spot-function"] == NAMES.function
    without = replace(plain, aws=replace(plain.aws, functions=()), cluster=cluster)
    assert planned(without).settings["spot"] == {"handler": "daemonset"}


def test_a_boundary_of_the_organisation_stays():
    theirs = "arn:aws:iam::012345678901:policy/org"
    plain = observations("role")
    (principal,), (node,) = plain.aws.principals, plain.aws.node_roles
    both = replace(
        plain.aws,
        principals=(replace(principal, boundary=theirs),),
        node_roles=(replace(node, boundary=theirs),),
    )

    plan = planned(replace(plain, aws=both))
    assert plan.settings["iam"]["permissionsBoundaryArn"] == theirs
    one_only = replace(both, principals=(principal,))
    rows = [row for row in planned(replace(plain, aws=one_only)).rows if row.part == "boundary"]
    assert [row.name for row in rows] == [theirs]
    assert "goes with adoption.values: settings" in rows[0].remark
