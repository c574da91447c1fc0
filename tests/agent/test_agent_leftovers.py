"""What is removed from a namespace that stays; a real one is shown elsewhere."""

import json
from typing import Any

import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import Status
from pulumi.dynamic import Config, ConfigureRequest

from castai_stack.agent.resources import AgentLeftoversProvider
from castai_stack.kube import connection

STATE = {"namespace": "castai-agent", "kubeconfig": "ambient"}


def refused(code: int) -> ApiError:
    return ApiError(status=Status(code=code, message="no"))


def configured(cluster: dict[str, Any]) -> AgentLeftoversProvider:
    provider = AgentLeftoversProvider()
    castai = json.dumps({"cluster": cluster})
    provider.configure(ConfigureRequest(Config({"castai-eks:castai": castai}, "castai-eks")))
    return provider


class Cluster:
    def __init__(self, answer: Exception | None = None) -> None:
        self.deleted: list[tuple[str, str, str]] = []
        self._answer = answer

    def delete(self, kind: Any, name: str, *, namespace: str) -> None:
        self.deleted.append((kind.__name__, namespace, name))
        if self._answer is not None:
            raise self._answer


def delete(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> Cluster:
    monkeypatch.setattr(connection, "connect", lambda *_: cluster)
    configured({}).delete("castai-agent", STATE)
    return cluster


def test_exactly_what_the_agent_makes_at_run_time_is_removed(monkeypatch):
    assert delete(monkeypatch, Cluster()).deleted == [
        ("ConfigMap", "castai-agent", "castai-agent-metadata"),
        ("Lease", "castai-agent", "agent-leader-election-lock"),
        ("Lease", "castai-agent", "agent-leader-election-lock-registration"),
    ]


def test_what_is_gone_already_is_no_error(monkeypatch):
    assert len(delete(monkeypatch, Cluster(refused(404))).deleted) == 3


def test_a_refusal_is_told_in_a_sentence(monkeypatch):
    with pytest.raises(RuntimeError) as failed:
        delete(monkeypatch, Cluster(refused(403)))

    assert str(failed.value) == (
        "namespace castai-agent: cannot remove what the agent left there: "
        "the API server answered 403: no"
    )


@pytest.mark.parametrize(
    ("news", "changes"), [({}, False), ({"kubeconfig": "/x"}, False), ({"namespace": "y"}, True)]
)
def test_another_kubeconfig_is_no_change(news, changes):
    found = AgentLeftoversProvider().diff("castai-agent", STATE, {**STATE, **news})

    assert found.changes is changes
    assert bool(found.replaces) is changes


@pytest.mark.parametrize(
    ("cluster", "reached"),
    [
        ({"kubeconfig": "/here", "context": "mine"}, ("/here", "mine")),
        ({"kubeconfig": "ambient"}, ("ambient", None)),
        ({}, ("/of/another/machine", "theirs")),
    ],
)
def test_a_kubeconfig_of_now_comes_before_the_one_of_then(monkeypatch, cluster, reached):
    asked = []

    def connect(*where):
        asked.append(where)
        return Cluster()

    monkeypatch.setattr(connection, "connect", connect)
    then = {**STATE, "kubeconfig": "/of/another/machine", "context": "theirs"}
    configured(cluster).delete("castai-agent", then)

    assert asked == [reached]
