"""The guard of the agent's namespace against scripted answers."""

from typing import Any, Self

import httpx2
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from castai_stack.agent.namespace_guard import NamespaceGuardHandler
from castai_stack.kube import connection
from castai_stack.plugin.run import ResourceError
from tests.support.plugin import handler

PROPS = {"namespace": "castai-agent", "uid_before": "uid-1"}
STATE = {"namespace": "castai-agent", "uid": "uid-1"}
GONE = "is gone from the cluster"
ANOTHER = "was deleted and created again since the last run"


class Cluster:
    """Answers with a namespace of one uid, or with an error."""

    def __init__(self, uid: str | Exception) -> None:
        self._uid = uid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, kind: Any, name: str) -> Any:
        assert (kind, name) == (Namespace, "castai-agent")
        if isinstance(self._uid, Exception):
            raise self._uid
        return Namespace(metadata=ObjectMeta(name=name, uid=self._uid))


def api_error(code: int) -> ApiError:
    request = httpx2.Request("GET", "https://api.example")
    status = {"kind": "Status", "code": code, "message": "no", "status": "Failure"}
    return ApiError(request, httpx2.Response(code, request=request, json=status))


def guard(monkeypatch: pytest.MonkeyPatch, uid: str | Exception) -> NamespaceGuardHandler:
    monkeypatch.setattr(connection, "connect", lambda *_: Cluster(uid))
    return handler(NamespaceGuardHandler)


def sentence(what: str) -> str:
    return (
        f"namespace castai-agent {what}, while the state still holds the agent's objects; "
        "run `pulumi refresh`, then `pulumi up` creates them again"
    )


@pytest.mark.parametrize(
    ("at_last_run", "now", "reason"),
    [
        ("uid-1", "", GONE),
        ("", "", GONE),
        ("uid-1", "uid-2", ANOTHER),
        ("uid-1", "uid-1", None),
        ("", "uid-1", None),
        ("uid-1", None, None),
    ],
)
def test_a_namespace_deleted_since_the_last_run_is_refused(at_last_run, now, reason):
    def compare() -> Any:
        olds = {**STATE, "uid": at_last_run}
        return handler(NamespaceGuardHandler).diff("id", olds, {**PROPS, "uid_before": now})

    if reason is None:
        assert not compare().changes
        return
    with pytest.raises(ResourceError) as refused:
        compare()
    assert str(refused.value) == sentence(reason)


def test_another_namespace_has_another_guard():
    news = {"namespace": "another", "uid_before": None}

    assert handler(NamespaceGuardHandler).diff("id", STATE, news).replaces == ["namespace"]


@pytest.mark.parametrize(
    ("uid", "noted"), [("uid-1", "uid-1"), (api_error(403), ""), (ConnectionError("away"), "")]
)
def test_a_first_run_notes_the_namespace(monkeypatch, uid, noted):
    created = guard(monkeypatch, uid).create({**PROPS, "uid_before": ""})

    assert created.outs == {**STATE, "uid": noted}


def test_a_namespace_that_went_before_its_guard_is_refused(monkeypatch):
    with pytest.raises(ResourceError) as refused:
        guard(monkeypatch, api_error(404)).create({**PROPS, "uid_before": ""})

    assert str(refused.value) == sentence(GONE)


@pytest.mark.parametrize("uid", ["uid-1", api_error(403), api_error(500), ConnectionError("away")])
def test_a_refresh_keeps_the_guard_unless_the_namespace_is_gone(monkeypatch, uid):
    assert guard(monkeypatch, uid).read("id", dict(STATE)).outs == STATE


@pytest.mark.parametrize("uid", ["uid-2", api_error(404)])
def test_a_refresh_drops_the_guard_with_its_namespace(monkeypatch, capsys, uid):
    assert guard(monkeypatch, uid).read("id", dict(STATE)).id == ""
    assert "Namespace castai-agent was deleted outside of this stack" in capsys.readouterr().err


def test_a_refresh_after_the_first_run_compares_with_no_namespace_of_before():
    """The engine hands the inputs of the last run to `diff` while it refreshes."""
    one = handler(NamespaceGuardHandler)
    remaining = one.check({}, {**PROPS, "uid_before": ""}).inputs

    assert remaining == {"namespace": "castai-agent"}
    assert not one.diff("id", STATE, remaining).changes
    assert one.check(remaining, PROPS).inputs == PROPS
