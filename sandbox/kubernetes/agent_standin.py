"""Plays the running agent towards CAST AI and the cluster, because KWOK's pods run nothing.

While a pod of Deployment `castai-agent` is Ready, it is called as the agent calls: with the key
from the Secret that the pod takes its environment from, for the cluster id that the pod names, at
the address that the pod names. What the agent and its autoscaler write at run time is written too,
under the pod's own service account: what its RBAC forbids does not happen.
"""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from lightkube import Client, KubeConfig, codecs
from lightkube.core.exceptions import ApiError
from lightkube.core.resource import NamespacedResource, api_info
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.authorization_v1 import ResourceAttributes, SelfSubjectAccessReviewSpec
from lightkube.models.core_v1 import Container, Pod
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources import (
    apps_v1,
    autoscaling_v2,
    batch_v1,
    core_v1,
    networking_v1,
    policy_v1,
    rbac_authorization_v1,
    storage_v1,
)
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.authorization_v1 import SelfSubjectAccessReview
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Node, Secret, ServiceAccountToken
from lightkube.resources.core_v1 import Pod as PodResource
from lightkube.types import PatchType

NAMESPACE = "castai-agent"
NAME = "castai-agent"
AUTOSCALER = "castai-agent-cpvpa"
METADATA = "castai-agent-metadata"
LEASE = "agent-leader-election-lock"
FIELD_MANAGER = "cpvpa"

_VERSION = "v0.123.1"
_KINDS: tuple[Any, ...] = (
    core_v1.Pod,
    core_v1.Node,
    core_v1.ReplicationController,
    core_v1.PersistentVolumeClaim,
    core_v1.PersistentVolume,
    core_v1.Service,
    core_v1.Namespace,
    core_v1.Event,
    core_v1.LimitRange,
    core_v1.ResourceQuota,
    apps_v1.Deployment,
    apps_v1.ReplicaSet,
    apps_v1.DaemonSet,
    apps_v1.StatefulSet,
    storage_v1.StorageClass,
    storage_v1.CSINode,
    batch_v1.Job,
    batch_v1.CronJob,
    autoscaling_v2.HorizontalPodAutoscaler,
    policy_v1.PodDisruptionBudget,
    networking_v1.NetworkPolicy,
    networking_v1.Ingress,
    rbac_authorization_v1.Role,
    rbac_authorization_v1.RoleBinding,
    rbac_authorization_v1.ClusterRole,
    rbac_authorization_v1.ClusterRoleBinding,
)
"""Built-in kinds that the agent lists and watches across the cluster."""
_NOT_FOUND = 404
_SECONDS = 10
_MEMORY = "2Gi"


class AgentStandIn:
    """A thread that plays the agent; `close` ends it."""

    def __init__(self, kubeconfig: Path, *, interval: float = 1.0) -> None:
        self._kubeconfig = json.loads(kubeconfig.read_text())
        self._kubelet = Client(config=KubeConfig.from_dict(self._kubeconfig))
        self._agent: tuple[str, Client] | None = None
        self._reported: dict[str, Any] | None = None
        """Nodes by name as CAST AI knows them; none before the first snapshot of a pod."""
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.last_error = ""
        """Why the last look did not end in a call that CAST AI took."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """End, and wait for a call under way."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS)
        self._forget_agent()
        self._kubelet.close()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.step()

    def step(self) -> None:
        """Look once, and do what an agent would do."""
        try:
            self._note(self._play())
        except ApiError as error:
            self._forget_agent()
            self._note(str(error.status.message))
        except Exception as error:  # noqa: BLE001 - a dead thread would be an agent gone for ever
            self._forget_agent()
            self._note(f"{type(error).__name__}: {error}")

    def _note(self, text: str) -> None:
        if text and text != self.last_error:
            print(f"agent stand-in: {text}", flush=True)
        self.last_error = text

    def _play(self) -> str:
        pods = self._kubelet.list(PodResource, namespace=NAMESPACE)
        ready = [pod for pod in pods if _is_ready(pod) and _container(pod, "agent") is not None]
        if not ready:
            self._forget_agent()
            return "no pod of the agent is Ready"
        # A Lease has one holder, and so have the calls.
        pod = min(ready, key=_name)
        environment = self._environment(pod)
        missing = [n for n in ("API_URL", "API_KEY", "STATIC_CLUSTER_ID") if n not in environment]
        if missing:
            return f"the agent's environment lacks {', '.join(missing)}"
        agent = self._as_agent(pod)
        _write_run_time_objects(agent, environment, _name(pod))
        nodes = {str(_name(node)): node.to_dict() for node in agent.list(Node)}
        refusal = _report(environment, self._reported, nodes)
        if not refusal:
            self._reported = nodes
        _size_agent(agent)
        return refusal

    def _as_agent(self, pod: Any) -> Client:
        """Return a client with the token that the kubelet would mount into the pod."""
        if self._agent is None or self._agent[0] != pod.metadata.uid:
            self._forget_agent()
            account = pod.spec.serviceAccountName or "default"
            request = ServiceAccountToken(
                apiVersion="authentication.k8s.io/v1",
                kind="TokenRequest",
                metadata=ObjectMeta(),
                spec=TokenRequestSpec(audiences=[]),
            )
            made = self._kubelet.create(request, account, namespace=NAMESPACE)
            token = made.status.token if made.status is not None else ""
            users = [{"name": "sandbox", "user": {"token": token}}]
            config = KubeConfig.from_dict({**self._kubeconfig, "users": users})
            self._agent = (pod.metadata.uid, Client(config=config))
            for sentence in _look_at_everything(self._agent[1]):
                print(f"agent stand-in: {sentence}", flush=True)
        return self._agent[1]

    def _forget_agent(self) -> None:
        if self._agent is not None:
            self._agent[1].close()
        self._agent = self._reported = None

    def _environment(self, pod: Pod) -> dict[str, str]:
        container = _container(pod, "agent")
        assert container is not None  # noqa: S101 - chosen by it
        environment: dict[str, str] = {}
        for source in container.envFrom or []:
            if source.secretRef is not None and source.secretRef.name:
                secret = self._kubelet.get(Secret, source.secretRef.name, namespace=NAMESPACE)
                for key, value in (secret.data or {}).items():
                    environment[key] = base64.b64decode(value).decode()
        for variable in container.env or []:
            if variable.value is not None:
                environment[variable.name] = variable.value
        return environment


def _look_at_everything(agent: Client) -> Iterator[str]:
    """List every kind that the agent reads; yield a sentence for each that it may not read.

    The real agent asks the same reviews, and goes on without the kinds that are refused.
    """
    for kind in _KINDS:
        info = api_info(kind)
        for verb in ("list", "watch"):
            asked = ResourceAttributes(group=info.resource.group, resource=info.plural, verb=verb)
            review = agent.create(
                SelfSubjectAccessReview(
                    apiVersion="authorization.k8s.io/v1",
                    kind="SelfSubjectAccessReview",
                    spec=SelfSubjectAccessReviewSpec(resourceAttributes=asked),
                )
            )
            if review.status is None or not review.status.allowed:
                yield f"the agent may not {verb} {info.plural}"
                break
        else:
            everywhere = issubclass(kind, NamespacedResource)
            list(agent.list(kind, namespace="*") if everywhere else agent.list(kind))


def _report(
    environment: dict[str, str], before: dict[str, Any] | None, nodes: dict[str, Any]
) -> str:
    """Send a full snapshot or what changed since; return why it was not taken, or nothing."""
    url = environment["API_URL"].rstrip("/")
    if "://" not in url:
        url = f"https://{url}"
    cluster_id = environment["STATIC_CLUSTER_ID"]
    old = before or {}
    events = [("add" if name not in old else "update", nodes[name]) for name in nodes]
    events = [(event, node) for event, node in events if node != old.get(_node_name(node))]
    events += [("delete", old[name]) for name in old if name not in nodes]
    delta = {
        "clusterId": cluster_id,
        "clusterVersion": "1.33",
        "agentVersion": _VERSION,
        "fullSnapshot": before is None,
        "items": [
            {"event": event, "kind": "Node", "data": node, "createdAt": _now()}
            for event, node in events
        ],
    }
    answer = requests.post(
        f"{url}/v1/kubernetes/clusters/{cluster_id}/agent-deltas",
        data=gzip.compress(json.dumps(delta).encode()),
        headers={
            "X-API-Key": environment["API_KEY"],
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        },
        timeout=_SECONDS,
    )
    return "" if answer.ok else f"CAST AI answered {answer.status_code}"


def _write_run_time_objects(agent: Client, environment: dict[str, str], holder: str) -> None:
    """Patch the metadata map and renew the lease; create what is not there."""
    metadata = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": METADATA, "namespace": NAMESPACE},
        "data": {"CLUSTER_ID": environment["STATIC_CLUSTER_ID"]},
    }
    try:
        agent.patch(ConfigMap, METADATA, {"data": metadata["data"]}, namespace=NAMESPACE)
    except ApiError as error:
        _require_absent(error)
        agent.create(codecs.from_dict(metadata))
    now = _now()
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": now}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": NAMESPACE},
        "spec": {**spec, "acquireTime": now},
    }
    try:
        current = agent.get(Lease, LEASE, namespace=NAMESPACE).to_dict()
    except ApiError as error:
        _require_absent(error)
        agent.create(codecs.from_dict(lease))
        return
    if current["spec"].get("holderIdentity") == holder:
        lease["spec"]["acquireTime"] = current["spec"].get("acquireTime", now)
    agent.replace(codecs.from_dict({**lease, "metadata": current["metadata"]}))


def _require_absent(error: ApiError) -> None:
    if error.status.code != _NOT_FOUND:
        raise error


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _node_name(node: dict[str, Any]) -> str:
    return str(node["metadata"]["name"])


def _size_agent(agent: Client) -> None:
    """Set the agent's memory once, as the autoscaler's first poll does."""
    found: list[Any] = list(agent.list(Deployment, namespace=NAMESPACE))
    deployments = {one.metadata.name: one for one in found}
    autoscaler, target = deployments.get(AUTOSCALER), deployments.get(NAME)
    if autoscaler is None or target is None or not autoscaler.status.readyReplicas:
        return
    containers = target.spec.template.spec.containers
    current = next((one for one in containers if one.name == "agent"), None)
    if current is None or (current.resources and "memory" in (current.resources.limits or {})):
        return
    memory = {"memory": _MEMORY}
    sized = {"name": "agent", "resources": {"requests": memory, "limits": memory}}
    agent.patch(
        Deployment,
        NAME,
        {"spec": {"template": {"spec": {"containers": [sized]}}}},
        namespace=NAMESPACE,
        patch_type=PatchType.STRATEGIC,
        field_manager=FIELD_MANAGER,
    )


def _name(pod: Any) -> str:
    return str(pod.metadata.name)


def _is_ready(pod: Any) -> bool:
    if not _name(pod).startswith(f"{NAME}-") or _name(pod).startswith(f"{AUTOSCALER}-"):
        return False
    if pod.metadata.deletionTimestamp is not None or pod.status is None:
        return False
    return any(
        condition.type == "Ready" and condition.status == "True"
        for condition in pod.status.conditions or []
    )


def _container(pod: Any, name: str) -> Container | None:
    return next((one for one in pod.spec.containers if one.name == name), None)
