"""Changes of names, policies, boundaries and paths, on the real engine and in both modes.

Each test starts from the stack that the one before left, and goes to the other setting and back
while CAST AI's access is sampled.
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
    "documented permissions": {"permissions": "documented"},
    "no node boundary": {"iam.nodeBoundary": "false", "iam.manageNodeRole": "false"},
    "the operator's boundary": {
        "iam.permissionsBoundaryArn": "arn:aws:iam::aws:policy/AdministratorAccess"
    },
}
"""Settings that change IAM objects without a gap in CAST AI's access."""
MODES = ("user", "role")
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


@pytest.mark.parametrize("change", CHANGES)
def test_access_is_never_interrupted(life: Life, change: str):
    base, before = dict(life.base), policy_arns(life)
    hand_overs = life.castai()["handOvers"]
    for more in (CHANGES[change], {}):
        life.base = base | more
        with life.access_without_interruption():
            steps = operations(life.stack().up())
        assert "hand-over" not in steps
        require_empty([life.stack().preview()])
    assert policy_arns(life) == before
    assert life.castai()["handOvers"] == hand_overs


@pytest.mark.parametrize("permissions", ["scoped", "documented"])
def test_another_path_leaves_the_gap_that_the_preview_announces_and_no_other(
    life: Life, permissions: str
):
    base = dict(life.base)
    if permissions == "documented":
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
    if permissions == "documented":
        life.stack().up()


def put_faults(life: Life, **faults: object) -> None:
    url = f"{life.sandbox.aws_url}/_sandbox/faults"
    requests.put(url, json=faults, timeout=SECONDS).raise_for_status()


@pytest.mark.parametrize("action", ["iam:CreatePolicy", "iam:CreateRole"])
def test_the_way_back_after_a_refused_replacement_restores_access(life: Life, action: str):
    before = policy_arns(life)
    put_faults(life, rules=[{"action": action, "status": 403, "code": "AccessDenied"}])
    try:
        with pytest.raises(OperationError, match="AccessDenied"):
            life.stack(iam__path="/team/").up()
    finally:
        put_faults(life)

    life.stack().up()

    require_settled(life)
    assert policy_arns(life) == before


@pytest.mark.parametrize(
    ("killed_after", "then"),
    [
        ("iam:Detach*Policy", "back"),
        ("iam:DeletePolicy", "back"),
        ("iam:DeletePolicy", "on"),
        ("iam:CreatePolicy", "back"),
        ("iam:CreateRole", "on"),
    ],
)
def test_a_replacement_killed_in_the_middle_loses_nothing(life: Life, killed_after: str, then: str):
    """Without `delete_before_replace`, the second run deletes the policies that it has created."""
    before = policy_arns(life)
    running = life.stack(iam__path="/team/").begin("up")
    put_faults(life, kill={"action": killed_after, "after": 2, "pid": running.group})
    try:
        with pytest.raises(OperationError):
            running.result()
    finally:
        put_faults(life)
    recover(life)

    if then == "on":
        life.stack(iam__path="/team/").up()
        assert all(arn.startswith("/team/") for arn in policy_arns(life))
        assert life.castai_may_manage()
    life.stack().up()

    require_settled(life)
    assert policy_arns(life) == before


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
