"""The preflight refuses what an update would be refused half-way."""

import pytest

from castai_stack.access import entries, writer
from castai_stack.access.entries import MASTERS, NODE_GROUPS, NODE_USERNAME
from castai_stack.access.guards import Caller
from castai_stack.access.protocol import Snapshot, Snapshots
from castai_stack.preflight.cluster import AwsAuthPlan, aws_auth_findings

ACCOUNT = "012345678901"
NODES = entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-nodes", NODE_USERNAME, NODE_GROUPS)
USER = entries.user(f"arn:aws:iam::{ACCOUNT}:user/cast-eks-demo", "cast-eks-demo", [MASTERS])
BROKEN = (
    f"- userarn: arn:aws:iam::{ACCOUNT}:user/jane\n"
    "    username: jane\n"
    "  groups: [platform:read-only]\n"
)


@pytest.fixture
def problems(monkeypatch):
    def check(data, *, adopt=False, overrides=()):
        live = Snapshot("7", data)
        monkeypatch.setattr(writer, "look", lambda _: Snapshots(None, live))
        monkeypatch.setattr(writer, "ask_caller", lambda _: Caller(""))
        plan = AwsAuthPlan((NODES, USER), adopt, frozenset(overrides))
        return aws_auth_findings(None, plan).problems

    return check


def test_a_map_that_accepts_both_entries_is_no_problem(problems):
    assert problems({"mapUsers": "[]"}) == ()


def test_a_list_that_the_authenticator_drops_is_a_problem_with_its_line(problems):
    [problem] = problems({"mapUsers": BROKEN})

    assert "mapUsers is neither YAML nor JSON, line 2" in problem
    assert "access.overrideGuards: [unreadable]" in problem
    assert problems({"mapUsers": BROKEN}, overrides=["unreadable"]) == ()


def test_an_entry_of_another_writer_is_a_problem_unless_it_is_adopted(problems):
    foreign = {"mapUsers": f"- {{userarn: {USER.arn}, username: x}}\n"}

    [problem] = problems(foreign)

    assert "set access.adopt" in problem
    assert problems(foreign, adopt=True) == ()
