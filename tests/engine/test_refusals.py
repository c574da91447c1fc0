"""What wrong settings, wrong credentials or a cluster out of reach look like; they start nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.castai import VIEWER_KEY
from sandbox.engine.stack import OperationError, Stack
from sandbox.processes import free_port
from sandbox.session import Sandbox

pytestmark = pytest.mark.sandbox


def writes(sandbox: Sandbox) -> list[str]:
    """Every write that any of the three services has seen, other than by the sandbox itself."""
    http_writes = [
        f"{one['service']}:{one['action']}"
        for url in (sandbox.aws_url, sandbox.castai_url)
        for one in requests.get(f"{url}/_sandbox/requests", timeout=10).json()["log"]
        if one["write"] and one["action"] != "SendDelta"
    ]
    kubernetes = [
        f"kubernetes:{one.verb} {one.resource}"
        for one in sandbox.control_plane.requests()
        if one.write and not one.own
    ]
    return http_writes + kubernetes


@pytest.fixture
def unchanged(sandbox: Sandbox) -> Iterator[None]:
    before = writes(sandbox)
    yield
    assert writes(sandbox)[len(before) :] == [], "a refused operation wrote something"


def refused(stack: Stack, operation: str) -> str:
    with pytest.raises(OperationError) as failure:
        stack.begin(operation).result()
    assert "Traceback" not in str(failure.value), "a sentence is wanted, not a traceback"
    return str(failure.value)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        (["cluster.accountId=111122223333"], "111122223333"),
        (["cluster.name=nosuch"], "cluster nosuch in eu-central-1"),
        (["cluster.name=other"], "leads to another cluster than other"),
        (["agent.replicas=zero", "nonsense=1"], "agent.replicas"),
        (["cluster.kubeconfig=/nonexistent/kubeconfig"], "/nonexistent/kubeconfig"),
    ],
    ids=[
        "wrong-account",
        "missing-cluster",
        "foreign-cluster",
        "wrong-settings",
        "missing-kubeconfig",
    ],
)
def test_a_wrong_setting_is_told_and_starts_nothing(
    sandbox: Sandbox, settings: list[str], messages: str
):
    stack = sandbox.stack(settings, name="refusals")

    assert messages in refused(stack, "up")


@pytest.mark.usefixtures("unchanged")
def test_expired_credentials_are_told_and_start_nothing(sandbox: Sandbox):
    assert "expired" in refused(sandbox.stack(who="expired", name="refusals"), "up")


@pytest.mark.usefixtures("unchanged")
def test_an_up_by_the_reader_says_what_is_missing_and_starts_nothing(sandbox: Sandbox):
    stack = sandbox.stack(who="reader", name="refusals")

    text = refused(stack, "up")

    remaining = {one["type"] for one in stack.export()["deployment"]["resources"]}
    assert all(kind.startswith(("pulumi:pulumi:Stack", "pulumi:providers:")) for kind in remaining)
    assert "iam:CreateUser" in text
    assert "namespaces" in text


@pytest.mark.usefixtures("unchanged")
def test_a_preview_by_the_reader_shows_the_whole_plan(sandbox: Sandbox):
    result = sandbox.stack(who="reader", name="refusals").preview()

    assert result.changes["create"] > 50, "a pull request must see the whole plan"


def with_key(sandbox: Sandbox, key: str) -> Stack:
    stack = sandbox.stack(name="refusals")
    stack.environment = {**stack.environment, "CASTAI_API_KEY": key}
    return stack


@pytest.mark.usefixtures("unchanged")
def test_a_key_that_nobody_made_is_told_and_not_shown(sandbox: Sandbox):
    text = refused(with_key(sandbox, "nobody-made-this-key"), "up")

    assert "CAST AI" in text
    assert "nobody-made-this-key" not in text, "a key must not be in a message"


def test_a_key_that_may_only_read_is_told_and_not_shown(sandbox: Sandbox):
    # No question without an effect shows it, so the registration is refused, and tells it.
    with pytest.raises(OperationError, match="403") as failure:
        with_key(sandbox, VIEWER_KEY).up()
    sandbox.stack(name="refusals").destroy()

    assert VIEWER_KEY not in failure.value.output, "a key must not be in a message"


@pytest.mark.usefixtures("unchanged")
def test_a_cluster_out_of_reach_is_told_within_a_minute(sandbox: Sandbox, tmp_path: Path):
    text = sandbox.control_plane.operator_kubeconfig.read_text()
    config = json.loads(text)
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    nowhere = tmp_path / "kubeconfig.json"
    nowhere.write_text(json.dumps(config))
    stack = sandbox.stack(name="refusals")
    stack.environment = {**stack.environment, "KUBECONFIG": str(nowhere)}

    assert "Kubernetes" in refused(stack, "up")
