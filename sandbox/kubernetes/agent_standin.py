"""What CAST AI and the cluster see of a running agent; KWOK's pods run nothing.

While a pod of Deployment `castai-agent` is Ready, it is called as the agent calls: with the key
from the Secret that the pod takes its environment from, for the cluster id that the pod names, at
the address that the pod names. What the agent and its autoscaler write at run time is written too,
under the pod's own service account: what its RBAC forbids does not happen.
"""

import base64
import json
import threading
from pathlib import Path
from typing import Any

import requests
from lightkube import Client, KubeConfig, codecs
from lightkube.core.exceptions import ApiError
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.core_v1 import Container, Pod
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Node, Secret, ServiceAccountToken
from lightkube.resources.core_v1 import Pod as PodResource
from lightkube.types import PatchType

NAMESPACE = "castai-agent"
NAME = "castai-agent"
AUTOSCALER = "castai-agent-cpvpa"
METADATA = "castai-agent-metadata"
LEASE = "agent-leader-election-lock"
FIELD_MANAGER = "cpvpa"

_CONFLICT = 409
_SECONDS = 10
_MEMORY = "2Gi"


class AgentStandIn:
    """A thread that plays the agent; `close` ends it."""

    def __init__(self, kubeconfig: Path, *, interval: float = 1.0) -> None:
        self._kubeconfig = json.loads(kubeconfig.read_text())
        self._kubelet = Client(config=KubeConfig.from_dict(self._kubeconfig))
        self._agent: tuple[str, Client] | None = None
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
        refusal = _report(environment, [node.to_dict() for node in agent.list(Node)])
        _write_run_time_objects(agent, environment, _name(pod))
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
        return self._agent[1]

    def _forget_agent(self) -> None:
        if self._agent is not None:
            self._agent[1].close()
        self._agent = None

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


def _report(environment: dict[str, str], nodes: list[dict[str, Any]]) -> str:
    """Send what was seen; return why it was not taken, or nothing."""
    url = environment["API_URL"].rstrip("/")
    if "://" not in url:
        url = f"https://{url}"
    cluster_id = environment["STATIC_CLUSTER_ID"]
    answer = requests.post(
        f"{url}/v1/kubernetes/clusters/{cluster_id}/agent-deltas",
        json={
            "cluster_id": cluster_id,
            "items": [{"event": "add", "kind": "Node", "data": node} for node in nodes],
        },
        headers={"X-API-Key": environment["API_KEY"]},
        timeout=_SECONDS,
    )
    return "" if answer.ok else f"CAST AI answered {answer.status_code}"


def _write_run_time_objects(agent: Client, environment: dict[str, str], holder: str) -> None:
    metadata = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": METADATA, "namespace": NAMESPACE},
        "data": {"CLUSTER_ID": environment["STATIC_CLUSTER_ID"]},
    }
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": NAMESPACE},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
    }
    for document in (metadata, lease):
        try:
            agent.create(codecs.from_dict(document))
        except ApiError as error:
            if error.status.code != _CONFLICT:
                raise


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
