"""What is found of other installers' work becomes a plan, or sentences and no plan."""

from dataclasses import replace
from typing import Any

import pytest

from castai_stack.adopt import plan as adopt_plan
from castai_stack.adopt.observations import (
    AccessKey,
    Choices,
    Group,
    Observations,
    Policy,
)
from castai_stack.adopt.plan import Plan
from castai_stack.adopt.written import files
from castai_stack.commands.target import Target
from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import validate
from sandbox.sources import installers
from tests.support import footprints
from tests.support.footprints import ACCOUNT, CASTAI_USER, CLUSTER_ID, REGION, observed, planned

AWS = "arn:aws:iam::aws:policy"
OWN = f"arn:aws:iam::{ACCOUNT}:policy"
TARGET = Target("prod", REGION, ACCOUNT)


def problems(observations: Observations, choices: Choices | None = None) -> str:
    plan, sentences = adopt_plan.make(observations, choices or Choices())
    assert plan is None
    return "\n".join(sentences)


def fates(plan: Plan) -> dict[str, str]:
    return {row.name: row.fate for row in plan.rows}


def in_aws(observations: Observations, **changes: Any) -> Observations:
    return replace(observations, aws=replace(observations.aws, **changes))


def at_castai(observations: Observations, **changes: Any) -> Observations:
    return replace(observations, castai=replace(observations.castai, **changes))


def with_principal(observations: Observations, **changes: Any) -> Observations:
    (one,) = observations.aws.principals
    return in_aws(observations, principals=(replace(one, **changes),))


@pytest.fixture
def user() -> Observations:
    return observed(installers.script_with_user(footprints.source_place()))


@pytest.fixture
def role() -> Observations:
    return observed(installers.script_with_role(footprints.source_place()))


@pytest.fixture
def modules() -> Observations:
    return observed(installers.terraform(footprints.source_place()))


def test_the_script_in_user_mode(user: Observations):
    plan = planned(user)

    assert plan.settings["credentials"] == {"mode": "user", "rotation": 1}
    imports = plan.settings["adoption"]["imports"]
    assert imports["iam-user"] == "cast-eks-prod"
    assert imports["iam-key-a"] == "AKIAOFTHESCRIPT00000"
    assert imports["iam-node-role"] == imports["iam-instance-profile"] == "cast-prod-eks-0f3f1ba4"
    assert imports["node-security-group"] == "sg-0a1b2c3d4e5f60718"
    assert plan.settings["physicalNames"] == {
        "nodeRole": "cast-prod-eks-0f3f1ba4",
        "instanceProfile": "cast-prod-eks-0f3f1ba4",
    }
    assert plan.settings["iam"]["principalPolicyArns"] == [
        f"{AWS}/AmazonEventBridgeReadOnlyAccess",
        f"{AWS}/AWSLambda_ReadOnlyAccess",
        f"{OWN}/CastEKSPolicy",
    ]
    assert plan.settings["access"] == {"adopt": True}
    assert plan.settings["agent"] == {"adopt": True, "tag": "v0.123.1"}
    assert "iam-castai-policy" not in imports


def test_what_all_clusters_of_the_account_share_is_left_with_its_users(user: Observations):
    (policy,) = user.aws.policies
    shared = replace(policy, used_by=("user cast-eks-other", "user cast-eks-prod"))
    plan = planned(in_aws(user, policies=(shared,)))

    left = {row.name: row.remark for row in plan.rows if row.fate == "left"}
    assert "also used by user cast-eks-other" in left["CastEKSPolicy"]
    for name in (installers.FUNCTION, installers.LAMBDA_ROLE, installers.RULE):
        assert "every cluster of the account" in left[name]
    assert not set(plan.settings["adoption"]["imports"].values()) & {shared.arn}


def test_the_script_in_role_mode(role: Observations):
    plan = planned(role)

    name = "cast-eks-prod-cluster-role-0f3f1ba4"
    assert plan.settings["credentials"] == {"mode": "role"}
    assert plan.settings["physicalNames"]["principal"] == name
    imports = plan.settings["adoption"]["imports"]
    assert imports["iam-role"] == name
    assert imports["iam-role-restricted"] == f"{name}:CastEKSRestrictedAccess"
    assert imports["iam-role-CastEKSPolicy"] == f"{name}/{OWN}/CastEKSPolicy"
    assert plan.settings["permissions"] == "documented"


def test_the_terraform_modules(modules: Observations):
    plan = planned(modules)

    names = plan.settings["physicalNames"]
    assert names["principal"] == "castai-eks-prod"
    assert names["restrictedInline"] == "castai-user-policy-prod"
    assert names["nodeRole"] == "castai-eks-instance-prod"
    assert "castaiPolicy" not in names, "the name is that of this program"
    imports = plan.settings["adoption"]["imports"]
    assert imports["iam-castai-policy"] == f"{OWN}/CastEKSPolicy-prod"
    assert imports["iam-role-castai-policy"] == f"castai-eks-prod/{OWN}/CastEKSPolicy-prod"
    assert plan.settings["iam"]["nodePolicyArns"] == [
        f"{AWS}/service-role/AmazonEBSCSIDriverPolicy",
        f"{AWS}/AmazonSSMManagedInstanceCore",
        f"{OWN}/CastEC2AssignIPv6Policy-prod",
    ]
    assert "node-security-group" not in imports


def test_terraforms_state_is_told_with_what_to_do_there(modules: Observations, role: Observations):
    plan = planned(modules)

    assert any(row.part == "Terraform's state" for row in plan.rows)
    assert [one for one in plan.before if one.startswith("terraform state rm ")]
    other = planned(role)
    assert not [row for row in other.rows if row.part == "Terraform's state"]
    assert other.before == ()


@pytest.mark.parametrize("name", ["user", "role", "modules"])
def test_the_written_stack_file_is_valid(name: str, request: pytest.FixtureRequest):
    texts = files(TARGET, planned(request.getfixturevalue(name)), "prod")

    assert set(texts) == {"Pulumi.prod.yaml", "adopt-prod.md"}
    assert f'"{ACCOUNT}"' in texts["Pulumi.prod.yaml"], "a number would lose its first zero"


def test_a_role_that_serves_several_clusters_is_left_and_one_is_created_beside_it(
    modules: Observations,
):
    (own,) = modules.castai.clusters
    twin = replace(own, id="1" * 36, name="stage")
    plan = planned(at_castai(modules, clusters=(own, twin)))

    assert fates(plan)["castai-eks-prod"] == "left"
    assert fates(plan)["cast-eks-prod"] == "created"
    assert not [name for name in plan.settings["adoption"]["imports"] if "iam-role" in name]
    assert "principal" not in plan.settings["physicalNames"]


def test_a_node_role_of_several_clusters_is_left(role: Observations):
    profile = f"arn:aws:iam::{ACCOUNT}:instance-profile/cast-prod-eks-0f3f1ba4"
    plan = planned(at_castai(role, profile_users={profile: ("stage",)}))

    assert fates(plan)["cast-prod-eks-0f3f1ba4"] == "left"
    assert "iam-node-role" not in plan.settings["adoption"]["imports"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"clusters": ()}, "no live cluster prod"),
        (
            {"clusters": (footprints.cluster(status="archived"),)},
            "1 of that name are archived",
        ),
        (
            {"clusters": (footprints.cluster(), footprints.cluster(id="2" * 36))},
            "choose with --cluster-id",
        ),
        ({"clusters": (footprints.cluster(status="deleted"),)}, "is disconnected"),
        (
            {"clusters": (footprints.cluster(credentials_id=""),)},
            "the installer ended before the hand-over",
        ),
    ],
)
def test_what_castai_holds_may_leave_nothing_to_take_over(
    user: Observations, changes: dict[str, Any], sentence: str
):
    assert sentence in problems(at_castai(user, **changes))


def test_an_archived_namesake_is_told_apart(user: Observations):
    clusters = (footprints.cluster(id="2" * 36, status="archived"), footprints.cluster())

    assert fates(planned(at_castai(user, clusters=clusters)))[CLUSTER_ID] == "taken over"


def test_two_users_are_a_question(user: Observations):
    (one,) = user.aws.principals
    both = in_aws(user, principals=(one, replace(one, name="castai-eks-prod")))

    assert "user cast-eks-prod, user castai-eks-prod; choose with --principal" in problems(both)
    chosen = planned(both, Choices(principal="castai-eks-prod"))
    assert chosen.settings["physicalNames"]["principal"] == "castai-eks-prod"


def test_a_user_that_is_gone_is_a_sentence(user: Observations):
    assert "there is no user" in problems(in_aws(user, principals=()))


def test_a_cluster_id_that_castai_does_not_have_is_corrected(user: Observations):
    message = problems(user, Choices(cluster_id="2" * 36))

    assert f"but {CLUSTER_ID} (ready); correct --cluster-id" in message


def test_a_principal_is_chosen_among_users_only(role: Observations):
    assert "it chooses among users" in problems(role, Choices(principal="jane"))
    assert planned(role, Choices(principal="cast-eks-prod-cluster-role-0f3f1ba4"))


def test_two_node_roles_are_a_question_that_the_node_configuration_answers(role: Observations):
    (one,) = role.aws.node_roles
    other = replace(one, name="castai-eks-instance-prod", profiles=("theirs",))
    both = in_aws(role, node_roles=(one, other))

    assert "choose with --node-role" in problems(both)
    configuration = {
        "name": "default",
        "default": True,
        "eks": {"instanceProfileArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/theirs"},
    }
    plan = planned(at_castai(both, configuration=configuration))
    assert plan.settings["physicalNames"]["nodeRole"] == "castai-eks-instance-prod"


def test_two_security_groups_are_a_question_and_another_clusters_is_none(role: Observations):
    (one,) = role.aws.groups
    untagged = Group("sg-11111111", one.name, "")

    assert "choose with --security-group" in problems(in_aws(role, groups=(one, untagged)))
    foreign = replace(untagged, cluster_id="3" * 36)
    assert (
        planned(in_aws(role, groups=(one, foreign))).settings["adoption"]["imports"][
            "node-security-group"
        ]
        == one.id
    )


def test_a_user_with_two_keys_is_refused(user: Observations):
    keys = (AccessKey("AKIA1", "Active"), AccessKey("AKIA2", "Inactive"))

    assert "AKIA1 (Active), AKIA2 (Inactive)" in problems(with_principal(user, keys=keys))


@pytest.mark.parametrize(
    "trusted",
    [
        {"AWS": [CASTAI_USER, "arn:aws:iam::123456789012:root"]},
        {"AWS": "*"},
        "*",
        {"AWS": CASTAI_USER, "Service": "lambda.amazonaws.com"},
    ],
)
def test_a_role_that_trusts_somebody_else_is_refused(role: Observations, trusted: Any):
    trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trusted}]}

    assert "somebody else can act with CAST AI's rights" in problems(
        with_principal(role, trust=trust)
    )


def test_a_policy_of_the_clusters_name_that_others_use_is_left_too(modules: Observations):
    policies = tuple(
        replace(one, used_by=(*one.used_by, "role theirs")) for one in modules.aws.policies
    )
    plan = planned(in_aws(modules, policies=policies))

    assert fates(plan)["CastEKSPolicy-prod"] == "left"
    assert plan.settings["physicalNames"]["castaiPolicy"] == "CastEKSPolicy-prod-0f3f1ba4"
    assert "iam-castai-policy" not in plan.settings["adoption"]["imports"]


def test_a_path_is_kept_and_several_are_refused(modules: Observations):
    (role,), (node,) = modules.aws.principals, modules.aws.node_roles
    policies = tuple(
        replace(one, arn=one.arn.replace(":policy/", ":policy/infra/"))
        for one in modules.aws.policies
    )
    attached = tuple(
        one.replace(f"{ACCOUNT}:policy/", f"{ACCOUNT}:policy/infra/") for one in role.attached
    )
    moved = in_aws(
        modules,
        principals=(replace(role, path="/infra/", attached=attached),),
        node_roles=(replace(node, path="/infra/"),),
        policies=policies,
    )

    assert planned(moved).settings["iam"]["path"] == "/infra/"
    assert "under the IAM paths /, /infra/" in problems(in_aws(moved, node_roles=(node,)))


def test_a_policy_that_somebody_edited_is_refused_until_that_is_accepted(role: Observations):
    (policy,) = role.aws.policies
    more = {"Sid": "Friday", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    document = {**policy.document, "Statement": [*policy.document["Statement"], more]}
    edited = in_aws(role, policies=(Policy(policy.arn, document, policy.used_by),))

    assert "in Friday: somebody edited it" in problems(edited)
    assert planned(edited, Choices(accept_edited_policies=True))


def test_an_inline_policy_that_somebody_edited_is_refused_too(role: Observations):
    (one,) = role.aws.principals
    more = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    (name, document), *_ = one.inline.items()
    statements = [*document["Statement"], more]
    edited = with_principal(role, inline={name: {**document, "Statement": statements}})

    number = f"statement {len(statements)}"
    assert f"{name} of {one.name} allows more than CAST AI has published, in {number}" in problems(
        edited
    )


def test_a_role_that_aws_does_not_have_is_a_sentence(role: Observations):
    assert "which AWS does not have" in problems(in_aws(role, principals=()))


@pytest.mark.parametrize(
    ("name", "end"), [("user", "deletes it with the user"), ("role", "stops at the role")]
)
def test_an_inline_policy_of_others_is_refused(name: str, end: str, request: pytest.FixtureRequest):
    observations = request.getfixturevalue(name)
    (one,) = observations.aws.principals
    theirs = with_principal(observations, inline={**one.inline, "s3-backup": {"Statement": []}})

    sentences = problems(theirs)
    assert f"{one} has the inline policy s3-backup" in sentences
    assert end in sentences
    assert planned(theirs, Choices(accept_edited_policies=True))


def test_what_keeps_the_node_role_from_being_deleted_is_said(role: Observations):
    (one,) = role.aws.node_roles
    role_in_use = replace(
        one, inline={"s3-backup": {"Statement": []}}, profiles=(*one.profiles, "theirs")
    )
    rows = {row.name: row.remark for row in planned(in_aws(role, node_roles=(role_in_use,))).rows}

    for name in ("s3-backup", "theirs"):
        assert "delete it before `pulumi destroy`" in rows[name]


def test_a_spot_handler_of_the_chart_keeps_the_function_away(role: Observations):
    workloads = (
        *role.cluster.workloads,
        footprints.workload("castai-spot-handler", "v0.23.0", kind="DaemonSet"),
    )
    cluster = replace(
        role.cluster,
        workloads=workloads,
        releases={"castai-agent": "castai-agent-0.153.2", "castai-pod-pinner": "x"},
        components=("castai-agent",),
    )
    plan = planned(replace(role, cluster=cluster))

    assert plan.settings["spot"] == {"handler": "daemonset"}
    assert "Spot function" not in {row.part for row in plan.rows}
    assert ("Spot function", "created") in {(row.part, row.fate) for row in planned(role).rows}
    assert plan.settings["automation"]["spotHandler"] == {"tag": "v0.23.0"}
    assert plan.commands == (
        "kubectl delete secret -n castai-agent -l owner=helm,name=castai-agent",
        "kubectl delete components.castware.cast.ai -n castai-agent castai-agent --cascade=orphan",
    )


def test_a_node_configuration_is_reproduced(role: Observations):
    configuration = {
        "name": "theirs",
        "default": True,
        "subnets": ["subnet-0a1b2c3d4e"],
        "minDiskSize": 150,
        "eks": {"imageFamily": "FAMILY_BOTTLEROCKET", "imdsV1": True},
        "tags": {"team": "platform"},
    }
    nodes = planned(at_castai(role, configuration=configuration)).settings["automation"]["nodes"]

    assert nodes == {
        "name": "theirs",
        "subnetIds": ["subnet-0a1b2c3d4e"],
        "diskGib": 150,
        "imageFamily": "bottlerocket",
        "imdsV1": True,
        "imdsHopLimit": 2,
        "volumeType": "gp3",
        "tags": {"team": "platform"},
    }


def test_a_profile_of_an_unknown_role_is_a_question(role: Observations):
    theirs = f"arn:aws:iam::{ACCOUNT}:instance-profile/theirs"
    configuration = {"name": "default", "eks": {"instanceProfileArn": theirs}}
    unknown = at_castai(role, configuration=configuration)

    assert "names the instance profile theirs" in problems(unknown)
    assert "choose" not in problems(unknown)
    (one,) = role.aws.node_roles
    assert planned(unknown, Choices(node_role=one.name))
    assert "none of the names" in problems(in_aws(unknown, node_roles=()))


def test_a_node_configuration_that_is_left_leaves_its_group(role: Observations):
    configuration = {"name": "default", "eks": {"volumeType": "io2"}}
    plan = planned(at_castai(role, configuration=configuration))

    assert "node-security-group" not in plan.settings["adoption"]["imports"]
    assert fates(plan)["cast-prod-cluster/CastNodeSecurityGroup"] == "left"
    assert validate(plan.settings, KEY)


def test_a_key_of_the_volumes_is_listed_for_castai(role: Observations):
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
    configuration = {"name": "default", "eks": {"volumeKmsKeyArn": key}}
    plan = planned(at_castai(role, configuration=configuration))

    assert plan.settings["iam"]["kmsKeyArns"] == [key]
    assert validate(plan.settings, KEY)


@pytest.mark.parametrize("name", ["user", "role", "modules"])
def test_every_imported_name_is_accepted_as_a_setting(name: str, request: pytest.FixtureRequest):
    plan = planned(request.getfixturevalue(name))

    settings = validate(plan.settings, KEY)
    assert dict(settings.adoption.imports) == plan.settings["adoption"]["imports"]
