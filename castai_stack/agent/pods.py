"""Why pods do not run, in one sentence, from what the Kubernetes API says of them.

Reads plain objects as the API returns them (pods, events); asks nothing itself, and never
repeats a text that could be a key.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]

_QUOTED = 300
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{32,}")
_KEY_REFUSED = re.compile(r"\b401\b|unauthori[sz]ed|invalid (api )?(key|token)", re.IGNORECASE)
_FORBIDDEN = re.compile(r"\b403\b|forbidden", re.IGNORECASE)
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:([\w.-]+:[\w.-]+)")
_WEBHOOK = re.compile(r'webhook "([^"]+)"')

# https://kubernetes.io/docs/concepts/containers/images/ and the kubelet's own reasons
_PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
_CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_OUT_OF_MEMORY = "OOMKilled"
_CRASHING = 2
"""Restarts after which a container that runs but is not ready counts as crashing."""


def diagnose(pods: Sequence[Object], events: Sequence[Object], *, rolling_out: bool = False) -> str:
    """Say in one sentence what keeps `pods` from being Ready.

    `events` are those of the namespace. A refusal to make the pods at all shows only there,
    against the ReplicaSet. The most telling cause wins, whichever pod has it. While a rollout is
    under way, Ready pods may be those of before, and a refusal counts beside them.
    """
    alive = [pod for pod in pods if "deletionTimestamp" not in pod.get("metadata", {})]
    causes: tuple[Callable[[], str | None], ...] = (
        lambda: _first(_image_pull, alive),
        lambda: _first(_bad_configuration, alive),
        lambda: _first(_stopped, alive),
        lambda: _refused(events) if rolling_out or not _all_ready(alive) else None,
        lambda: _first(_unschedulable, alive),
        lambda: _mount(alive, events),
        lambda: _unready(alive, events),
    )
    for cause in causes:
        if (sentence := cause()) is not None:
            return sentence
    if not alive:
        return "no pod exists, and no event says why"
    return f"all {len(alive)} pods are Ready"


def _first(cause: Callable[[Object], str | None], pods: Iterable[Object]) -> str | None:
    return next((found for pod in pods if (found := cause(pod)) is not None), None)


def _image_pull(pod: Object) -> str | None:
    for status in _containers(pod):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _PULL_REASONS:
            said = _quote(waiting.get("message", waiting["reason"]))
            return (
                f"pod {_name(pod)} cannot pull the image {status.get('image', '')}: {said}; "
                "check the registry, the tag and the pull secrets"
            )
    return None


def _bad_configuration(pod: Object) -> str | None:
    for status in _containers(pod):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _CONFIG_REASONS:
            said = _quote(waiting.get("message", waiting["reason"]))
            return f"container {status['name']} of pod {_name(pod)} cannot be started: {said}"
    return None


def _stopped(pod: Object) -> str | None:
    for status in _containers(pod):
        state = status.get("state", {})
        came_back = "running" in state and status.get("restartCount", 0) < _CRASHING
        if status.get("ready") or came_back:
            continue
        ended = state.get("terminated") or status.get("lastState", {}).get("terminated")
        waiting = state.get("waiting", {}).get("reason")
        if ended is None and waiting != "CrashLoopBackOff":
            continue
        return _end(pod, status, ended or {})
    return None


def _end(pod: Object, status: Object, ended: Object) -> str:
    who = f"container {status['name']} of pod {_name(pod)}"
    text = ended.get("message", "")
    account = _SERVICE_ACCOUNT.search(text)
    if account is not None and _FORBIDDEN.search(text):
        return (
            f"{who} stopped because Kubernetes forbids its service account "
            f"{account[1].replace(':', '/')} what it asked for: {_quote(text)}"
        )
    if _KEY_REFUSED.search(text) or _FORBIDDEN.search(text):
        return (
            f"{who} stopped because CAST AI refused its key: {_quote(text)}; "
            "check that the key is valid and belongs to this cluster's organization"
        )
    times = f"{status.get('restartCount', 0)} restarts so far"
    if ended.get("reason") == _OUT_OF_MEMORY:
        return f"{who} ran out of memory ({times}); raise agent.memory or agent.autoscaling.base"
    code = f"exit code {ended['exitCode']}" if "exitCode" in ended else "no exit code known"
    said = f": {_quote(text)}" if text.strip() else "; its log says more"
    return f"{who} keeps crashing ({code}, {times}){said}"


def _refused(events: Sequence[Object]) -> str | None:
    for event in _latest_first(events):
        if event.get("reason") != "FailedCreate":
            continue
        text = event.get("message", "")
        owner = event.get("involvedObject", {})
        who = f"{owner.get('kind', 'object')} {owner.get('name', '')}".strip()
        if "exceeded quota" in text or "failed quota" in text:
            return f"a resource quota refuses the pods of {who}: {_quote(text)}"
        if (webhook := _WEBHOOK.search(text)) is not None:
            return f"the admission webhook {webhook[1]} refuses the pods of {who}: {_quote(text)}"
        if "violates PodSecurity" in text:
            return f"Pod Security refuses the pods of {who}: {_quote(text)}"
        return f"the API server refuses the pods of {who}: {_quote(text)}"
    return None


def _unschedulable(pod: Object) -> str | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        said = _quote(scheduled.get("message", "no reason given"))
        return f"no node takes pod {_name(pod)}: {said}"
    return None


def _mount(pods: Sequence[Object], events: Sequence[Object]) -> str | None:
    waiting = {_name(pod) for pod in pods if not _is_ready(pod)}
    for event in _latest_first(events):
        involved = event.get("involvedObject", {}).get("name")
        if event.get("reason") in {"FailedMount", "FailedCreatePodSandBox"} and involved in waiting:
            return f"pod {involved} waits for its volumes or network: {_quote(event['message'])}"
    return None


def _unready(pods: Sequence[Object], events: Sequence[Object]) -> str | None:
    unready = [pod for pod in pods if not _is_ready(pod)]
    if not unready:
        return None
    pod = unready[0]
    count = f"{len(pods) - len(unready)} of {len(pods)} pods are Ready"
    for event in _latest_first(events):
        involved = event.get("involvedObject", {}).get("name")
        if event.get("reason") == "Unhealthy" and involved == _name(pod):
            return f"{count}; pod {_name(pod)} fails its probe: {_quote(event['message'])}"
    behind = _condition(pod, "Ready").get("message") or f"phase {_phase(pod)}"
    return f"{count}; pod {_name(pod)} is not Ready: {_quote(behind)}"


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _condition(pod: Object, kind: str) -> Object:
    conditions = pod.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one.get("type") == kind), {})


def _is_ready(pod: Object) -> bool:
    return _condition(pod, "Ready").get("status") == "True"


def _all_ready(pods: Sequence[Object]) -> bool:
    return bool(pods) and all(_is_ready(pod) for pod in pods)


def _phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase", "unknown"))


def _name(pod: Object) -> str:
    return str(pod.get("metadata", {}).get("name", "without a name"))


def _latest_first(events: Sequence[Object]) -> list[Object]:
    def when(event: Object) -> str:
        return str(event.get("lastTimestamp") or event.get("eventTime") or "")

    return sorted(events, key=when, reverse=True)


def _quote(text: str) -> str:
    one_line = " ".join(text.split())
    hidden = _LONG_TOKEN.sub(_mask, one_line)
    return hidden if len(hidden) <= _QUOTED else f"{hidden[:_QUOTED]}…"


def _mask(found: re.Match[str]) -> str:
    """Hide what could be a key; names of objects have dashes between words and may stay."""
    text = found[0]
    return text if re.fullmatch(r"[a-z0-9]{1,31}(-[a-z0-9]{1,31})+", text) else "[hidden]"
