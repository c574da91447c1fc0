"""The rollout gate against scripted answers; a real rollout is shown elsewhere."""

import threading
from typing import Any, Self

import pytest

from castai_stack.agent.handlers import AgentRolloutHandler
from castai_stack.kube import connection, kubeconfig
from castai_stack.plugin import waiting
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.values import UNKNOWN
from tests.support.plugin import handler

PROPS = {
    "namespace": "castai-agent",
    "deployments": ["castai-agent"],
    "wanted": "abc",
    "timeout_seconds": 20,
}

STATE = {"namespace": "castai-agent", "wanted": "abc"}


class Answer:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def to_dict(self) -> dict[str, Any]:
        return self._document


class Cluster:
    """Answers with one deployment after the other; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, _kind: Any, _name: str, *, namespace: str) -> Any:
        assert namespace == "castai-agent"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer)

    def list(self, kind: Any, **_: Any) -> list[Answer]:
        if kind.__name__ == "Pod":
            return []
        refused = {
            "reason": "FailedCreate",
            "message": "exceeded quota: team",
            "involvedObject": {"kind": "ReplicaSet", "name": "castai-agent-1"},
        }
        return [Answer(refused)]


class FastClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, _stopping: threading.Event) -> None:
        self.now += seconds


def a_deployment(
    *, generation: int = 1, observed_generation: int = 1, **status: int
) -> dict[str, Any]:
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": observed_generation, **status},
    }


DONE = a_deployment(replicas=2, updatedReplicas=2, availableReplicas=2)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FastClock:
    fast = FastClock()
    monkeypatch.setattr(waiting, "CLOCK", fast)
    return fast


def create(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> Any:
    cluster = Cluster(*answers)
    monkeypatch.setattr(connection, "connect", lambda *_: cluster)
    return handler(AgentRolloutHandler).create(PROPS)


@pytest.mark.parametrize(
    "before",
    [
        a_deployment(),
        a_deployment(replicas=2, updatedReplicas=2, availableReplicas=1),
        a_deployment(replicas=3, updatedReplicas=2, availableReplicas=2),
        a_deployment(generation=2, replicas=2, updatedReplicas=2, availableReplicas=2),
        ConnectionError("away for a moment"),
    ],
    ids=["no pod", "not available", "old pods", "not seen yet", "no answer"],
)
def test_a_rollout_waits_until_all_pods_are_new_and_available(monkeypatch, clock, before):
    created = create(monkeypatch, before, before, DONE)

    assert created.outs == STATE
    assert clock.now > 0, "it must have waited"


def test_a_finished_rollout_passes_at_once(monkeypatch, clock):
    create(monkeypatch, DONE)

    assert clock.now == 0


def test_a_rollout_reports_its_progress(monkeypatch, capsys):
    create(monkeypatch, a_deployment(), DONE)

    assert capsys.readouterr().err == (
        "rollout in namespace castai-agent: "
        "deployment castai-agent has 0 of 2 pods available, 0 of 20 s\n"
    )


def test_a_timeout_names_the_cause(monkeypatch, clock):
    with pytest.raises(ResourceError) as failed:
        create(monkeypatch, a_deployment())

    assert str(failed.value) == (
        "The agent is not rolled out within 20 s: "
        "deployment castai-agent has 0 of 2 pods available. In namespace castai-agent, "
        "a resource quota refuses the pods of ReplicaSet castai-agent-1: exceeded quota: team. "
        "Put that right and run `pulumi up` again; agent.rolloutTimeoutSeconds sets the time."
    )
    assert clock.now == 20


def test_an_unusable_kubeconfig_fails_at_once(monkeypatch, clock):
    def refuse(*_: Any) -> None:
        raise kubeconfig.KubeconfigError("there is no file x")

    monkeypatch.setattr(connection, "connect", refuse)
    with pytest.raises(kubeconfig.KubeconfigError, match="there is no file x"):
        handler(AgentRolloutHandler).create(PROPS)
    assert clock.now == 0


@pytest.mark.parametrize(
    ("news", "changes"),
    [
        ({}, False),
        ({"timeout_seconds": 5}, False),
        ({"wanted": "def"}, True),
        ({"wanted": UNKNOWN}, True),
    ],
)
def test_only_another_pod_template_is_a_change(news, changes):
    olds = dict(STATE)

    result = handler(AgentRolloutHandler).diff("id", olds, {**PROPS, **news})

    assert result.changes is changes
    assert not result.replaces


def test_an_update_waits_again(monkeypatch):
    monkeypatch.setattr(connection, "connect", lambda *_: Cluster(DONE))

    updated = handler(AgentRolloutHandler).update("id", {}, {**PROPS, "wanted": "def"})

    assert updated.outs == {**STATE, "wanted": "def"}
