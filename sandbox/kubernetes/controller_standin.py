"""Plays the running cluster-controller: fetches CAST AI's actions and carries them out.

It works under the pod's own service account, so the API server's RBAC decides what it may do.
Actions and their order of calls: internal/actions/ of castai/cluster-controller.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from lightkube import Client, codecs
from lightkube.core.exceptions import ApiError
from lightkube.models.core_v1 import Pod
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Node, PodEviction
from lightkube.resources.core_v1 import Pod as PodResource
from lightkube.resources.storage_v1 import VolumeAttachment

from sandbox.kubernetes.pod_standin import (
    PodStandIn,
    api_address,
    moment,
    pod_name,
    renew,
    require_absent,
)
from sandbox.kubernetes.standin import SECONDS

Content = Mapping[str, Any]

_TOO_MANY = 429
_PAUSE = 0.3
_POLL_SECONDS = 300
"""How long the controller waits for the answer to a poll."""
_DRAIN_SECONDS = 600
_FINISHED = ("Succeeded", "Failed")


class ActionError(Exception):
    """An action failed; the text is acknowledged."""


class ControllerStandIn(PodStandIn):
    """A thread that plays the controller, and one for every action; `close` ends it."""

    role = "controller"
    container = "cluster-controller"
    required = (
        "API_KEY", "API_URL", "CLUSTER_ID", "CAST_NAMESPACE", "KUBERNETES_NODE_NAME",
        "KUBERNETES_POD", "LEADER_ELECTION_LOCK_NAME",
    )  # fmt: skip

    def play(self, pod: Pod, client: Client, environment: Mapping[str, str]) -> str:
        """Take the lease, fetch the actions, and start those that are new."""
        renew(
            client,
            environment["LEADER_ELECTION_LOCK_NAME"],
            environment["CAST_NAMESPACE"],
            pod_name(pod),
        )
        castai = _Castai(environment)
        answer = castai.send("GET", "", timeout=_POLL_SECONDS)
        if not answer.ok:
            return f"CAST AI answered {answer.status_code}"
        under_way = {thread.name for thread in threading.enumerate()}
        for action in answer.json()["items"]:
            if action["id"] not in under_way:
                work = (client, castai, action)
                threading.Thread(
                    target=self._carry_out, name=action["id"], args=work, daemon=True
                ).start()
        return ""

    def _carry_out(self, client: Client, castai: "_Castai", action: dict[str, Any]) -> None:
        kind = next(name for name in action if name.startswith("action"))
        error: str | None = None
        try:
            _HANDLERS.get(kind, _refuse)(client, action[kind])
        except ApiError as refusal:
            error = str(refusal.status.message)
        except Exception as failure:  # noqa: BLE001 - whatever fails is acknowledged
            error = str(failure) or type(failure).__name__
        if self.client is not client:
            # The pod is gone, and with it the process: its successor is given the action again.
            return
        if error:
            self.say(f"{kind}: {error}")
        log = {"level": "error" if error else "info", "time": moment(), "fields": {}}
        castai.send("POST", "/logs", {**log, "message": f"{kind} {error or 'done'}"})
        castai.send("POST", f"/{action['id']}/ack", {"error": error})


class _Castai:
    """The calls to CAST AI of one pod."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._url = f"{api_address(environment)}/v1/kubernetes/clusters/{environment['CLUSTER_ID']}"
        self._headers = {"X-API-Key": environment["API_KEY"], "X-K8s-Version": "1.33"}

    def send(self, method: str, path: str, body: Any = None, timeout: float = SECONDS) -> Any:
        url = f"{self._url}/actions{path}"
        return requests.request(method, url, json=body, headers=self._headers, timeout=timeout)


def _refuse(_client: Client, _content: Content) -> None:
    raise ActionError("action is not supported")


def _patch_node(client: Client, content: Content) -> None:
    metadata = {key: content[key] for key in ("labels", "annotations") if content.get(key)}
    spec = {key: content[key] for key in ("taints", "unschedulable") if key in content}
    client.patch(Node, content["nodeName"], {"metadata": metadata, "spec": spec})
    if capacity := content.get("capacity"):
        client.patch(Node.Status, content["nodeName"], {"status": {"capacity": capacity}})


def _drain(client: Client, content: Content) -> None:
    """Cordon, evict every pod while its disruption budget forbids it, wait until all are gone."""
    node = content["nodeName"]
    client.patch(Node, node, {"spec": {"unschedulable": True}})
    deadline = time.monotonic() + content.get("drainTimeoutSeconds", _DRAIN_SECONDS)
    refused = ""
    while pods := _evictable(client, node):
        if time.monotonic() > deadline:
            if not content.get("force"):
                names = ", ".join(pod_name(pod) for pod in pods)
                raise ActionError(f"drain timeout: {names} stayed on {node} {refused}".rstrip())
            _delete_pods(client, pods)
        for pod in pods:
            if pod.metadata.deletionTimestamp is None:
                refused = _evict(client, pod_name(pod), pod.metadata.namespace) or refused
        time.sleep(_PAUSE)
    if any(one.spec.nodeName == node for one in client.list(VolumeAttachment)):
        raise ActionError(f"volumes are still attached to {node}")


def _evictable(client: Client, node: str) -> list[Any]:
    pods: list[Any] = list(_pods(client, node))
    return [
        pod
        for pod in pods
        if pod.status.phase not in _FINISHED
        and not any(one.kind in ("DaemonSet", "Node") for one in pod.metadata.ownerReferences or [])
    ]


def _pods(client: Client, node: str) -> Any:
    return client.list(PodResource, namespace="*", fields={"spec.nodeName": node})


def _evict(client: Client, name: str, namespace: str) -> str:
    """Ask for an eviction; return why a disruption budget forbids it, or nothing."""
    metadata = ObjectMeta(name=name, namespace=namespace)
    eviction = PodEviction(apiVersion="policy/v1", kind="Eviction", metadata=metadata)
    try:
        client.create(eviction, name, namespace=namespace)
    except ApiError as error:
        if error.status.code == _TOO_MANY:
            return f"({error.status.message})"
        require_absent(error)
    return ""


def _evict_pod(client: Client, content: Content) -> None:
    if refused := _evict(client, content["podName"], content["namespace"]):
        raise ActionError(refused)


def _delete_node(client: Client, content: Content) -> None:
    """Delete the node, and at once what is bound to it."""
    node = content["nodeName"]
    try:
        client.get(Node, node)
        client.delete(Node, node)
    except ApiError as error:
        require_absent(error)
    _delete_pods(client, _pods(client, node))


def _delete_pods(client: Client, pods: Any) -> None:
    for pod in pods:
        try:
            namespace = pod.metadata.namespace
            client.delete(PodResource, pod_name(pod), namespace=namespace, grace_period=0)
        except ApiError as error:
            require_absent(error)


def _check_node_deleted(client: Client, content: Content) -> None:
    try:
        client.get(Node, content["nodeName"])
    except ApiError as error:
        require_absent(error)
        return
    raise ActionError("node is not deleted")


def _check_node_status(client: Client, content: Content) -> None:
    if content["nodeStatus"] == "NodeStatus_DELETED":
        _check_node_deleted(client, content)
        return
    deadline = time.monotonic() + content.get("waitTimeoutSeconds", SECONDS)
    while time.monotonic() < deadline:
        node: Any = client.get(Node, content["nodeName"])
        conditions = (node.status and node.status.conditions) or []
        if any(one.type == "Ready" and one.status == "True" for one in conditions):
            return
        time.sleep(_PAUSE)
    raise ActionError("node is not ready")


def _create_event(client: Client, content: Content) -> None:
    """Create an event, or count one more where the same one is there."""
    about = content["objectRef"]
    namespace = about.get("namespace") or "default"
    fields = {"reason": content["reason"], "involvedObject.uid": about.get("uid", "")}
    for event in client.list(Event, namespace=namespace, fields=fields):
        if event.message == content["message"] and event.metadata is not None:
            counted = {"count": (event.count or 1) + 1, "lastTimestamp": content["eventTime"]}
            client.patch(Event, str(event.metadata.name), counted, namespace=namespace)
            return
    document = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{about['name']}.", "namespace": namespace},
        "involvedObject": about,
        "type": content["eventType"],
        "reason": content["reason"],
        "message": content["message"],
        "source": {"component": content["reporter"]},
        "firstTimestamp": content["eventTime"],
        "lastTimestamp": content["eventTime"],
        "count": 1,
    }
    client.create(codecs.from_dict(document))


_HANDLERS: Mapping[str, Callable[[Client, Content], None]] = {
    "actionPatchNode": _patch_node,
    "actionDrainNode": _drain,
    "actionDeleteNode": _delete_node,
    "actionEvictPod": _evict_pod,
    "actionCheckNodeDeleted": _check_node_deleted,
    "actionCheckNodeStatus": _check_node_status,
    "actionCreateEvent": _create_event,
}
