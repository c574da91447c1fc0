"""Each step of a take-over says what CAST AI gains and loses."""

import pytest

from castai_stack.adopt import plan as adopt_plan
from castai_stack.adopt.observations import Choices
from castai_stack.adopt.steps import Step
from castai_stack.adopt.written import files
from castai_stack.commands.target import Target
from sandbox.sources import installers
from tests.adopt.test_adopt_earlier import seen
from tests.support import footprints


def steps(observed) -> list[Step]:
    plan, problems = adopt_plan.make(observed, Choices())
    assert problems == ()
    assert plan is not None
    return list(plan.steps)


def of(installer) -> list[Step]:
    return steps(footprints.observed(installer(footprints.source_place())))


def test_the_script_in_user_mode_gains_what_was_published_later_and_loses_it_with_scoped():
    first, values, inline, shared, scoped = of(installers.script_with_user)

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
    for step in steps(seen("role")):
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
    first, values, *between, scoped = of(installer)

    assert (len(first.gains), len(values.gains)) == gains
    assert {len(one.gains) + len(one.loses) for one in between} == {0}
    assert (len(scoped.gains), len(scoped.loses), len(scoped.elsewhere)) == (0, 12, 38)
    assert not any(one.loses for one in (first, values))


@pytest.mark.parametrize("installer", [installers.script_with_role, installers.terraform])
def test_the_report_has_a_row_for_each_step(installer):
    observed = footprints.observed(installer(footprints.source_place()))
    plan, _ = adopt_plan.make(observed, Choices())
    assert plan is not None
    text = files(Target("prod", footprints.REGION, footprints.ACCOUNT), plan, "p")["adopt-p.md"]

    assert "| 5, `permissions: scoped` | " in text
    assert text.count("\n| 5, ") == 2
