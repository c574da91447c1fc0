"""What is removed from a namespace that stays; a real one is shown elsewhere."""

from typing import Any

import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import Status

from castai_stack.agent.handlers import AgentLeftoversHandler
from castai_stack.kube import connection
from castai_stack.plugin.run import ResourceError
from tests.support.plugin import handler

STATE = {"namespace": "castai-agent"}


def refused(code: int) -> ApiError:
    return ApiError(status=Status(code=code, message="no"))


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
    handler(AgentLeftoversHandler).delete("castai-agent", STATE)
    return cluster


def test_only_objects_that_castai_creates_at_run_time_are_removed(monkeypatch):
    assert delete(monkeypatch, Cluster()).deleted == [
        ("ConfigMap", "castai-agent", "castai-agent-metadata"),
        ("Lease", "castai-agent", "agent-leader-election-lock"),
        ("Lease", "castai-agent", "agent-leader-election-lock-registration"),
        ("Lease", "castai-agent", "cluster-controller"),
    ]


def test_an_absent_object_is_no_error(monkeypatch):
    assert len(delete(monkeypatch, Cluster(refused(404))).deleted) == 4


def test_a_refusal_is_one_sentence(monkeypatch):
    with pytest.raises(ResourceError) as failed:
        delete(monkeypatch, Cluster(refused(403)))

    assert str(failed.value) == (
        "namespace castai-agent: cannot remove what the agent left there: "
        "the API server answered 403: no"
    )


@pytest.mark.parametrize(("news", "changes"), [({}, False), ({"namespace": "y"}, True)])
def test_another_namespace_is_another_place(news, changes):
    result = handler(AgentLeftoversHandler).diff("castai-agent", STATE, {**STATE, **news})

    assert result.changes is changes
    assert bool(result.replaces) is changes


def test_the_cluster_is_that_of_the_provider(monkeypatch):
    calls = []

    def connect(*where):
        calls.append(where)
        return Cluster()

    monkeypatch.setattr(connection, "connect", connect)
    handler(AgentLeftoversHandler, kubeconfig="/here", context="mine").delete("", STATE)

    assert calls == [("/here", "mine")]
