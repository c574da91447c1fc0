"""Each step of a take-over says what CAST AI gains and loses."""

from dataclasses import replace
from typing import Literal

import pytest

from castai_stack import naming
from castai_stack.adopt import later
from castai_stack.adopt import plan as adopt_plan
from castai_stack.adopt.mapping import MappingTakeover
from castai_stack.adopt.observations import Choices
from castai_stack.adopt.steps import Step
from castai_stack.adopt.written import files
from castai_stack.commands.target import Target
from castai_stack.iam.scope import Scope
from sandbox.sources import installers
from tests.adopt.test_adopt_earlier import observations
from tests.support import footprints

NODES = ("nodeRole", "instanceProfile")
SCOPE = Scope(
    partition="aws",
    region=footprints.REGION,
    account_id=footprints.ACCOUNT,
    cluster="prod",
    cluster_id=footprints.CLUSTER_ID,
    vpc_id=footprints.VPC,
    names=naming.names("prod", "suffixed"),
)


def steps(observed) -> list[Step]:
    plan, problems = adopt_plan.make(observed, Choices())
    assert problems == ()
    assert plan is not None
    return list(plan.steps)


def of(installer) -> list[Step]:
    return steps(footprints.observed(installer(footprints.source_place())))


def test_the_script_in_user_mode_gains_what_was_published_later_and_loses_it_with_scoped():
    first, values, inline, shared, scoped, *_ = of(installers.script_with_user)

    assert "eks:createnodegroup" in first.gains, "its new policies are those of all years"
    assert first.loses == ()
    assert (values.gains, values.loses) == ((), ()), "nothing of a text is taken over"
    assert (inline.gains, inline.loses) == ((), ())
    assert (shared.gains, shared.loses) == ((), ())
    assert "eks:createnodegroup" in scoped.loses
    assert "iam:passrole" in scoped.elsewhere


def test_terraforms_policies_get_their_new_texts_with_the_settings():
    first, values, *_ = of(installers.terraform)

    assert (first.gains, first.loses, first.elsewhere) == ((), (), ())
    assert "iam:createrole" in values.gains, "published until 2022"


def test_a_stack_of_this_program_changes_nothing():
    for step in steps(observations("role")):
        assert (step.gains, step.loses, step.elsewhere) == ((), (), ())


@pytest.mark.parametrize(
    ("installer", "gains"),
    [
        (installers.script_with_user, (11, 0)),
        (installers.script_with_role, (18, 17)),
        (installers.terraform, (0, 24)),
    ],
)
def test_the_figures_of_the_document(installer, gains):
    """docs/adopt.md has them in its table of the steps."""
    first, values, inline, shared, scoped, *_ = of(installer)
    between = inline, shared

    assert (len(first.gains), len(values.gains)) == gains
    assert {len(one.gains) + len(one.loses) for one in between} == {0}
    assert (len(scoped.gains), len(scoped.loses), len(scoped.elsewhere)) == (0, 12, 38)
    assert not any(one.loses for one in (first, values))


def by_name(all_steps: list[Step]) -> dict[str, Step]:
    return {one.step.removeprefix("5, "): one for one in all_steps}


@pytest.mark.parametrize(
    ("installer", "settings"),
    [
        (installers.script_with_user, ("instanceProfile", "nodeRole")),
        (installers.script_with_role, ("principal", "instanceProfile", "nodeRole")),
        (
            installers.terraform,
            ("restrictedInline", "principal", "instanceProfile", "nodeRole"),
        ),
    ],
)
def test_each_name_that_is_not_computed_is_a_step_of_its_own(installer, settings):
    names = [name for name in by_name(of(installer)) if "physicalNames" in name]

    assert names == [f"without `physicalNames.{one}`" for one in settings]


def test_the_names_of_the_script_are_the_computed_ones():
    step = by_name(of(installers.script_with_user))["without `physicalNames.nodeRole`"]

    assert (step.gains, step.loses, step.elsewhere) == ((), (), ())
    assert step.changes[0] == "Nothing: cast-prod-eks-0f3f1ba4 is the computed name"
    assert "loses iam-node-role, iam-node-AmazonEKSWorkerNodePolicy" in step.changes[1]


def test_another_node_role_moves_what_castai_may_do_with_it():
    steps_by_name = by_name(of(installers.terraform))
    role, profile = (steps_by_name[f"without `physicalNames.{one}`"] for one in NODES)

    assert (role.gains, role.loses) == ((), ())
    assert "iam:passrole" in role.elsewhere
    assert "iam:addroletoinstanceprofile" in profile.elsewhere
    assert "castai-eks-instance-prod becomes cast-prod-eks-0f3f1ba4" in role.changes[0]
    assert "Its ARN changes, and its mapping with it" in role.changes[0]
    assert "iam-instance-profile" not in role.changes[1], "it left with its own setting"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("user", "Its keys are deleted before CAST AI has new ones, so it lacks access"),
        ("role", "is deleted before the new one exists, so CAST AI lacks access"),
    ],
)
def test_another_name_of_the_principal_interrupts_the_access(
    kind: Literal["user", "role"], sentence
):
    scope = later.with_names(SCOPE, {"principal": "theirs"})
    settings = {
        "adoption": {"imports": {f"iam-{kind}": "theirs", "iam-node-role": "nodes"}},
        "physicalNames": {"principal": "theirs"},
    }
    *_, step = later.steps(settings, (), kind, scope, MappingTakeover("access-entries"))

    assert sentence in step.changes[0]
    assert step.changes[1] == f"`adoption.imports` loses iam-{kind} at the same time"
    assert (step.gains, step.loses, step.elsewhere) == ((), (), ())


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("castaiPolicy", "The policy given becomes CastEKSPolicy-prod"),
        ("securityGroup", "which AWS refuses while a node has it"),
        ("lambdaRole", "The object given becomes CastLambdaRoleForSpot-prod"),
    ],
)
def test_other_names_that_a_take_over_writes_are_steps_too(setting, sentence):
    settings = {"adoption": {"imports": {}}, "physicalNames": {setting: "given"}}
    scope = later.with_names(SCOPE, settings["physicalNames"])
    *_, step = later.steps(settings, (), "role", scope, MappingTakeover("access-entries"))

    assert sentence in step.changes[0]


@pytest.mark.parametrize(
    ("mode", "name", "sentences"),
    [
        (
            "CONFIG_MAP",
            "access entries",
            ("update-cluster-config --name prod", "moves the mapping"),
        ),
        ("API_AND_CONFIG_MAP", "without `access.mode`", ("moves the mapping",)),
        ("API", "access entries", ("Nothing",)),
    ],
)
def test_the_step_to_access_entries_depends_on_what_the_cluster_reads(mode, name, sentences):
    original = footprints.observed(installers.script_with_user(footprints.source_place()))
    place = replace(original.place, authentication_mode=mode)
    step = by_name(steps(replace(original, place=place)))[name]

    text = " ".join(step.changes)
    assert (step.gains, step.loses, step.elsewhere) == ((), (), ())
    for sentence in sentences:
        assert sentence in text
    if "moves" in text:
        assert "role/cast-prod-eks-0f3f1ba4, arn:aws:iam::012345678901:user/cast-eks-prod" in text


def test_policies_that_are_detached_leave_the_imports():
    steps_by_name = by_name(of(installers.terraform))

    assert steps_by_name["without `iam.principalPolicyArns`"].changes == ()
    nodes = steps_by_name["without `iam.nodePolicyArns`"]
    assert "AmazonSSMManagedInstanceCore" in nodes.changes[0]
    assert "iam-node-AmazonSSMManagedInstanceCore" in nodes.changes[1]
    shared = by_name(of(installers.script_with_role))["without `iam.principalPolicyArns`"]
    assert shared.changes == (
        "Detached, and left: CastEKSPolicy",
        "`adoption.imports` loses iam-role-CastEKSPolicy at the same time",
    )


@pytest.mark.parametrize("installer", [installers.script_with_role, installers.terraform])
def test_the_report_has_a_row_for_each_step(installer):
    observed = footprints.observed(installer(footprints.source_place()))
    plan, _ = adopt_plan.make(observed, Choices())
    assert plan is not None
    text = files(Target("prod", footprints.REGION, footprints.ACCOUNT), plan, "p")["adopt-p.md"]

    for step in plan.steps:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {step.step} | ")]
        assert all(change in row for change in step.changes)
