"""Changes of names, policies, boundaries and paths, on the real engine and in both modes.

Each test starts from the stack that the one before left and returns to it, while CAST AI's access
is sampled. What differs between the modes is shown in both; faults in the middle of a replacement
are spread over them.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from sandbox.castai import API_KEY
from sandbox.engine.stack import OperationError, Result
from sandbox.session import Sandbox
from tests.support.life import PRINCIPAL, SECONDS, Life, operations, require_empty

pytestmark = pytest.mark.sandbox

CHANGES = {
    "documented names": {"names": "documented"},
    "no node boundary": {"iam.nodeBoundary": "false", "iam.manageNodeRole": "false"},
    "the operator's boundary": {
        "iam.permissionsBoundaryArn": "arn:aws:iam::aws:policy/AdministratorAccess"
    },
    # The last one: these permissions have no boundary for the nodes.
    "documented permissions": {"permissions": "documented"},
}
"""Settings that change IAM objects without a gap in CAST AI's access."""
MODES = ("user", pytest.param("role", marks=pytest.mark.exhaustive))
PATH = {"iam.path": "/team/"}


@pytest.fixture(scope="module", params=MODES)
def life(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Life]:
    """The stack in one mode; each test leaves it with the settings that it found."""
    life = Life(sandbox, f"changes-{request.param}", {"credentials.mode": request.param})
    life.stack().up()
    yield life
    put_faults(life)
    life.stack().destroy()


def policy_arns(life: Life) -> set[str]:
    policies = life.aws("iam").list_policies(Scope="Local")["Policies"]
    return {policy["Arn"].partition(":policy")[2] for policy in policies if "Cast" in policy["Arn"]}


def replacements(result: Result) -> set[str]:
    return {name for name, operation in operations(result).items() if "replace" in operation}


def require_settled(life: Life) -> None:
    """Fail unless AWS, the state and the program agree, and CAST AI has access."""
    refreshed = life.stack().refresh()
    require_empty([refreshed, life.stack().preview()])
    assert life.castai_can_work()
    assert life.castai_may_manage()
    assert life.castai()["status"] == "ready"


def test_access_is_never_interrupted(life: Life):
    """Each change comes on top of those before, and the last step takes all of them back."""
    base, before = dict(life.base), policy_arns(life)
    hand_overs = life.castai()["handOvers"]
    for more in (*CHANGES.values(), None):
        life.base = base if more is None else life.base | more
        with life.access_without_interruption():
            steps = operations(life.stack().up())
        assert steps, f"{more} changes nothing"
        assert "hand-over" not in steps
        require_empty([life.stack().preview()])
    assert policy_arns(life) == before
    assert life.castai()["handOvers"] == hand_overs


def test_another_path_leaves_the_gap_that_the_preview_announces_and_no_other(life: Life):
    """With `scoped` permissions for the user and `documented` ones for the role."""
    base = dict(life.base)
    if life.base["credentials.mode"] == "role":
        life.base = base | {"permissions": "documented"}
        life.stack().up()
    start = dict(life.base)
    for more, path in ((PATH, "/team/"), ({}, "/")):
        life.base = start | more
        preview = life.stack().preview()
        for text in ("CAST AI has no access for the moments", "have no working role from then on"):
            assert text in preview.output
        assert f"user /{PRINCIPAL} becomes" not in preview.output, "IAM moves a user"
        result = life.stack().up()
        assert replacements(result) == replacements(preview)
        require_settled(life)
        assert all(arn.startswith(path) for arn in policy_arns(life))
        roles = life.aws("iam").list_roles()["Roles"]
        assert {role["Path"] for role in roles if "ast-demo-eks" in role["RoleName"]} == {path}
    life.base = base
    if start != base:
        life.stack().up()


def put_faults(life: Life, **faults: object) -> None:
    url = f"{life.sandbox.aws_url}/_sandbox/faults"
    requests.put(url, json=faults, timeout=SECONDS).raise_for_status()


REFUSED = {"user": "iam:CreatePolicy", "role": "iam:CreateRole"}


@pytest.mark.exhaustive
def test_the_way_back_after_a_refused_replacement_restores_access(life: Life):
    before = policy_arns(life)
    action = REFUSED[life.base["credentials.mode"]]
    put_faults(life, rules=[{"action": action, "status": 403, "code": "AccessDenied"}])
    try:
        with pytest.raises(OperationError, match="AccessDenied"):
            life.stack(iam__path="/team/").up()
    finally:
        put_faults(life)

    life.stack().up()

    require_settled(life)
    assert policy_arns(life) == before


KILLS = {
    "user": [
        ("iam:Detach*Policy", "back"),
        ("iam:DeletePolicy", "on"),
        ("iam:CreatePolicy", "back"),
    ],
    "role": [("iam:DeletePolicy", "back"), ("iam:CreateRole", "on")],
}
"""Request after which the engine is killed, and where the next run goes."""


@pytest.mark.exhaustive
def test_a_replacement_killed_in_the_middle_loses_nothing(life: Life, subtests: pytest.Subtests):
    """Without `delete_before_replace`, the second run deletes the policies that it has created."""
    before = policy_arns(life)
    for action, then in KILLS[life.base["credentials.mode"]]:
        with subtests.test(action, then=then):
            kill_replacement(life, action)
            recover(life)
            if then == "on":
                life.stack(iam__path="/team/").up()
                assert all(arn.startswith("/team/") for arn in policy_arns(life))
                assert life.castai_may_manage()
            life.stack().up()

            require_settled(life)
            assert policy_arns(life) == before
            assert "/team/" not in life.map_users(), "the user's entry stayed where a run moved it"


def kill_replacement(life: Life, action: str) -> None:
    """Begin to replace everything under another path, and die after the second such request."""
    running = life.stack(iam__path="/team/").begin("up")
    put_faults(life, kill={"action": action, "after": 2, "pid": running.group})
    try:
        with pytest.raises(OperationError):
            running.result()
    finally:
        put_faults(life)


def recover(life: Life) -> None:
    stack = life.stack()
    done = subprocess.run(
        [sys.executable, "-m", "castai_stack", "recover", "--stack", stack.name],
        cwd=stack.work,
        env={**stack.process_environment(), "CASTAI_API_KEY": API_KEY},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
