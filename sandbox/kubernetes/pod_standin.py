"""Plays what runs in a pod, because KWOK's pods run nothing.

The pod's environment and its service account are those that the kubelet would give it: a Secret
that is not there, or a right that RBAC does not grant, fails here as well.
"""

import base64
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightkube import Client, codecs
from lightkube.core.exceptions import ApiError
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.core_v1 import Container, EnvVarSource, Pod
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Secret, ServiceAccountToken
from lightkube.resources.core_v1 import Pod as PodResource

from sandbox.kubernetes.clients import connect, with_token
from sandbox.kubernetes.standin import StandIn

NAMESPACE = "castai-agent"
_NOT_FOUND = 404


@dataclass(frozen=True)
class _Running:
    """A pod that is played; its environment is that of its start."""

    uid: str
    client: Client
    environment: Mapping[str, str]


class PodStandIn(StandIn):
    """Plays one container of one Ready pod."""

    container = ""
    """Name of the container whose environment counts."""
    required: tuple[str, ...] = ()
    """Variables without which it would not start."""

    def __init__(self, kubeconfig: Path, *, interval: float = 1.0) -> None:
        super().__init__(interval)
        self._kubeconfig = json.loads(kubeconfig.read_text())
        self._kubelet = connect(self._kubeconfig)
        self._running: _Running | None = None

    def close(self) -> None:
        """End, and close the clients."""
        super().close()
        self.forget()
        self._kubelet.close()

    def step(self) -> None:
        """Look once, and do what the program in the pod would do."""
        self._note(self._look())

    @abstractmethod
    def play(self, pod: Pod, client: Client, environment: Mapping[str, str]) -> str:
        """Do what the program does once; return why CAST AI did not take it, or nothing."""

    def started(self, client: Client, environment: Mapping[str, str]) -> Iterator[str]:
        """Do what the program does when it starts; yield what is worth a line of the log."""
        del client, environment
        yield from ()

    @property
    def client(self) -> Client | None:
        """The client of the pod that is played."""
        return self._running.client if self._running is not None else None

    def forget(self) -> None:
        """Drop what is known of the pod that was played."""
        if self._running is not None:
            self._running.client.close()
        self._running = None

    def _look(self) -> str:
        pods = self._kubelet.list(PodResource, namespace=NAMESPACE)
        ready = [pod for pod in pods if _is_ready(pod) and self._container(pod) is not None]
        if not ready:
            self.forget()
            return f"no pod of the {self.role} is Ready"
        # A Lease has one holder, and so have the calls.
        pod: Any = min(ready, key=pod_name)
        if self._running is None or self._running.uid != pod.metadata.uid:
            self.forget()
            environment = self._environment(pod)
            if missing := [name for name in self.required if not environment.get(name)]:
                return f"the {self.role}'s environment lacks {', '.join(missing)}"
            self._running = _Running(pod.metadata.uid, self._client_of(pod), environment)
            for sentence in self.started(self._running.client, environment):
                self.say(sentence)
        return self.play(pod, self._running.client, self._running.environment)

    def _container(self, pod: Any) -> Container | None:
        return next((one for one in pod.spec.containers if one.name == self.container), None)

    def _client_of(self, pod: Any) -> Client:
        """Return a client with the token that the kubelet would mount into the pod."""
        request = ServiceAccountToken(
            apiVersion="authentication.k8s.io/v1",
            kind="TokenRequest",
            metadata=ObjectMeta(),
            spec=TokenRequestSpec(audiences=[]),
        )
        account = pod.spec.serviceAccountName or "default"
        response = self._kubelet.create(request, account, namespace=NAMESPACE)
        token = response.status.token if response.status is not None else ""
        return with_token(self._kubeconfig, token or "")

    def _environment(self, pod: Any) -> dict[str, str]:
        container = self._container(pod)
        assert container is not None  # noqa: S101 - chosen by it
        environment: dict[str, str] = {}
        for source in container.envFrom or []:
            if source.secretRef is not None and source.secretRef.name:
                environment |= self._secret(source.secretRef.name)
            if source.configMapRef is not None and source.configMapRef.name:
                environment |= self._config_map(source.configMapRef.name)
        for variable in container.env or []:
            if variable.value is not None:
                environment[variable.name] = variable.value
            elif variable.valueFrom is not None:
                environment[variable.name] = self._value(variable.valueFrom, pod)
        return environment

    def _value(self, source: EnvVarSource, pod: Any) -> str:
        if source.secretKeyRef is not None:
            return self._secret(source.secretKeyRef.name or "").get(source.secretKeyRef.key, "")
        if source.configMapKeyRef is not None:
            values = self._config_map(source.configMapKeyRef.name or "")
            return values.get(source.configMapKeyRef.key, "")
        value: Any = pod
        for part in source.fieldRef.fieldPath.split(".") if source.fieldRef is not None else ():
            value = getattr(value, part, None)
        return value if isinstance(value, str) else ""

    def _secret(self, name: str) -> dict[str, str]:
        data = self._kubelet.get(Secret, name, namespace=NAMESPACE).data or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _config_map(self, name: str) -> dict[str, str]:
        return dict(self._kubelet.get(ConfigMap, name, namespace=NAMESPACE).data or {})


def api_address(environment: Mapping[str, str]) -> str:
    """Return the API's address as the programs read it: without a scheme it is https."""
    url = environment["API_URL"].rstrip("/")
    return url if "://" in url else f"https://{url}"


def renew(client: Client, name: str, namespace: str, holder: str) -> None:
    """Renew a lease, or create it."""
    now = moment()
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": now}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**spec, "acquireTime": now},
    }
    try:
        current = client.get(Lease, name, namespace=namespace).to_dict()
    except ApiError as error:
        require_absent(error)
        client.create(codecs.from_dict(lease))
        return
    if current["spec"].get("holderIdentity") == holder:
        lease["spec"]["acquireTime"] = current["spec"].get("acquireTime", now)
    client.replace(codecs.from_dict({**lease, "metadata": current["metadata"]}))


def require_absent(error: ApiError) -> None:
    """Raise the error again unless it tells that the object is absent."""
    if error.status.code != _NOT_FOUND:
        raise error


def moment() -> str:
    """Return the time as Kubernetes writes it, with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pod_name(pod: Any) -> str:
    """Return the pod's name."""
    return str(pod.metadata.name)


def _is_ready(pod: Any) -> bool:
    if pod.metadata.deletionTimestamp is not None or pod.status is None:
        return False
    return any(
        condition.type == "Ready" and condition.status == "True"
        for condition in pod.status.conditions or []
    )
