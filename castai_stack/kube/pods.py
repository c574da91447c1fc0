"""Reasons why pods do not run, in one sentence, from their objects and events.

`diagnose` reads plain objects as the API returns them and asks nothing itself. No sentence repeats
a text that could be a key.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from castai_stack.kube import connection
from castai_stack.kube.quoting import quote

Object = Mapping[str, Any]

_KEY_REFUSED = re.compile(r"\b401\b|unauthori[sz]ed|invalid (api )?(key|token)", re.IGNORECASE)
_FORBIDDEN = re.compile(r"\b403\b|forbidden", re.IGNORECASE)
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:([\w.-]+:[\w.-]+)")
_AWS = re.compile(
    r"\b(UnauthorizedOperation|AccessDenied\w*|AuthFailure|ExpiredToken\w*"
    r"|InvalidClientTokenId|UnrecognizedClientException|NoCredentialProviders)\b|request ?id: ",
    re.IGNORECASE,
)
_PROXY = re.compile(r"proxyconnect|proxy authentication|\b407\b", re.IGNORECASE)
_AUTHORITY = re.compile(r"x509: certificate signed by unknown authority")
_WEBHOOK = re.compile(r'webhook "([^"]+)"')

# https://kubernetes.io/docs/concepts/containers/images/ and the kubelet's own reasons
_PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
_CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_OUT_OF_MEMORY = "OOMKilled"
_MEMORY = {
    "agent": "agent.memory or agent.autoscaling.base",
    "cluster-controller": "automation.controller.resources.memoryLimit",
    "spot-handler": "automation.spotHandler.resources.memoryLimit",
}
"""Settings of the memory of a container, by its name."""
_CRASHING = 2
"""Restarts after which a container that runs but is not ready counts as crashing."""


def diagnose(pods: Sequence[Object], events: Sequence[Object], *, rolling_out: bool = False) -> str:
    """Return one sentence on what keeps `pods` from being Ready.

    `events` are those of the namespace: a refusal to create a pod is an event of the ReplicaSet.
    The most specific cause of any pod wins. During a rollout the Ready pods may be the previous
    ones, so a refusal counts beside them.
    """
    alive = [pod for pod in pods if "deletionTimestamp" not in pod.get("metadata", {})]
    causes: tuple[Callable[[], str | None], ...] = (
        lambda: _first(_image_pull, alive),
        lambda: _first(_bad_configuration, alive),
        lambda: _first(_stopped, alive),
        lambda: _refused(alive, events) if rolling_out or not _all_ready(alive) else None,
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


def describe(
    kubeconfig: str,
    context: str | None,
    namespace: str,
    labels: Mapping[str, Any],
    *,
    rolling_out: bool = False,
) -> str:
    """Describe the pods with these labels in one sentence (no final period). Never raises."""
    try:
        from lightkube.resources.core_v1 import Event, Pod  # noqa: PLC0415 - costs 0.4 s

        with connection.connect(kubeconfig, context) as client:
            chosen = client.list(Pod, namespace=namespace, labels=dict(labels))
            pods = [pod.to_dict() for pod in chosen]
            events = [event.to_dict() for event in client.list(Event, namespace=namespace)]
    except Exception as error:  # noqa: BLE001 - the wait's own message must get through
        return f"the pods could not be looked at: {connection.explain(error)}"
    return diagnose(pods, events, rolling_out=rolling_out)


def _first(cause: Callable[[Object], str | None], pods: Iterable[Object]) -> str | None:
    return next((text for pod in pods if (text := cause(pod)) is not None), None)


def _image_pull(pod: Object) -> str | None:
    for status in _containers(pod):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _PULL_REASONS:
            message = quote(waiting.get("message", waiting["reason"]))
            return (
                f"pod {_name(pod)} cannot pull the image {status.get('image', '')}: {message}; "
                "check the registry, the tag and the pull secrets"
            )
    return None


def _bad_configuration(pod: Object) -> str | None:
    for status in _containers(pod):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _CONFIG_REASONS:
            message = quote(waiting.get("message", waiting["reason"]))
            return f"container {status['name']} of pod {_name(pod)} cannot be started: {message}"
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
    if (refusal := _refusal(text)) is not None:
        return f"{who} stopped because {refusal}"
    times = f"{status.get('restartCount', 0)} restarts so far"
    if ended.get("reason") == _OUT_OF_MEMORY:
        setting = _MEMORY.get(status["name"], "its memory limit")
        return f"{who} ran out of memory ({times}); raise {setting}"
    code = f"exit code {ended['exitCode']}" if "exitCode" in ended else "no exit code known"
    message = f": {quote(text)}" if text.strip() else "; its log says more"
    return f"{who} keeps crashing ({code}, {times}){message}"


def _refusal(text: str) -> str | None:
    """Return who refused a request of the container, by the last lines of its log."""
    account = _SERVICE_ACCOUNT.search(text)
    if account is not None and _FORBIDDEN.search(text):
        name = account[1].replace(":", "/")
        cause, remedy = f"Kubernetes forbids its service account {name} what it asked for", ""
    elif _PROXY.search(text):
        cause, remedy = "its proxy refused the connection", "; check agent.proxy"
    elif _AUTHORITY.search(text):
        cause, remedy = (
            "it does not trust a server's certificate",
            "; agent.trustedCaCertificate replaces the system's authorities, so it must hold all",
        )
    elif _AWS.search(text):
        cause, remedy = (
            "AWS refused a request",
            "; check the role of its service account (agent.roleArn) or of its node",
        )
    elif _KEY_REFUSED.search(text) or _FORBIDDEN.search(text):
        cause, remedy = (
            "CAST AI refused its key",
            "; check that the key is valid and belongs to this cluster's organization",
        )
    else:
        return None
    return f"{cause}: {quote(text)}{remedy}"


def _refused(pods: Sequence[Object], events: Sequence[Object]) -> str | None:
    """Return the latest refusal to create a pod; a pod created since then makes it void."""
    newest = max((_created(pod) for pod in pods), default="")
    for event in _latest_first(events):
        if event.get("reason") != "FailedCreate" or "" < _moment(event) < newest:
            continue
        text = event.get("message", "")
        owner = event.get("involvedObject", {})
        who = f"{owner.get('kind', 'object')} {owner.get('name', '')}".strip()
        if "exceeded quota" in text or "failed quota" in text:
            return f"a resource quota refuses the pods of {who}: {quote(text)}"
        webhook = _WEBHOOK.search(text)
        if webhook is not None and "failed calling webhook" in text:
            return (
                f"the admission webhook {webhook[1]} does not answer, so the API server creates no "
                f"pods of {who}: {quote(text)}; repair the webhook's service"
            )
        if webhook is not None:
            return f"the admission webhook {webhook[1]} refuses the pods of {who}: {quote(text)}"
        if "violates PodSecurity" in text:
            return f"Pod Security refuses the pods of {who}: {quote(text)}"
        return f"the API server refuses the pods of {who}: {quote(text)}"
    return None


def _unschedulable(pod: Object) -> str | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        message = quote(scheduled.get("message", "no reason given"))
        return f"no node takes pod {_name(pod)}: {message}"
    return None


def _mount(pods: Sequence[Object], events: Sequence[Object]) -> str | None:
    waiting = {_name(pod) for pod in pods if not _is_ready(pod)}
    for event in _latest_first(events):
        involved = event.get("involvedObject", {}).get("name")
        if event.get("reason") in {"FailedMount", "FailedCreatePodSandBox"} and involved in waiting:
            return f"pod {involved} waits for its volumes or network: {quote(event['message'])}"
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
            return f"{count}; pod {_name(pod)} fails its probe: {quote(event['message'])}"
    behind = _condition(pod, "Ready").get("message") or f"phase {_phase(pod)}"
    return f"{count}; pod {_name(pod)} is not Ready: {quote(behind)}"


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


def _created(pod: Object) -> str:
    return str(pod.get("metadata", {}).get("creationTimestamp") or "")


def _moment(event: Object) -> str:
    """Return the last time of an event, in the API's UTC spelling, to the second."""
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    )
    moment = str(next((one for one in times if one), ""))
    return f"{moment[:19]}Z" if moment else ""


def _latest_first(events: Sequence[Object]) -> list[Object]:
    return sorted(events, key=_moment, reverse=True)
