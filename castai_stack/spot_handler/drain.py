"""Cordon a node and evict its pods through the Kubernetes API.

Label, taint and order are those of CAST AI's DaemonSet (castai/spot-handler,
`internal/actions/cordon.go`), so that either may run first. The API server holds evictions to
disruption budgets.
"""

import base64
import http.client
import json
import ssl
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .deadline import Deadline
from .decide import Report

LABEL = "autoscaling.cast.ai/draining"
LABEL_VALUE = "spot-interruption"
MIRROR = "kubernetes.io/config.mirror"
PAGE = 500
ATTEMPT_SECONDS = 10.0
ROUND_SECONDS = 2.0
"""Pause between two rounds over pods whose eviction a disruption budget refuses."""

_NAMED = 20
_TEXT_LIMIT = 200
_TAINT = {"key": LABEL, "value": "true", "effect": "NoSchedule"}


class KubernetesError(Exception):
    """The API server refused a request or did not answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 when there was no answer."""

    @property
    def retryable(self) -> bool:
        """Return True if another attempt may succeed."""
        return self.status in (0, http.HTTPStatus.TOO_MANY_REQUESTS) or self.status >= (
            http.HTTPStatus.INTERNAL_SERVER_ERROR
        )


class UntrustedServerError(KubernetesError):
    """The server's certificate is not signed by the cluster's authority."""

    @property
    def retryable(self) -> bool:
        """No retry changes a certificate."""
        return False


@dataclass(frozen=True, slots=True)
class Drain:
    """Result of a drain."""

    node: str
    """Empty when the cluster has no such node."""
    cordoned: bool = False
    """False if the node was unschedulable before."""
    evicted: int = 0
    left_alone: int = 0
    """Number of mirror pods, pods of DaemonSets, and finished or terminating pods."""
    blocked: tuple[str, ...] = ()
    """Pods not evicted by the deadline, as `namespace/name`."""

    def as_log(self) -> dict[str, Any]:
        """Return the fields of the log line, with at most 20 names of pods."""
        return {
            "node": self.node,
            "cordoned": self.cordoned,
            "evicted": self.evicted,
            "leftAlone": self.left_alone,
            "blocked": len(self.blocked),
            "blockedPods": list(self.blocked[:_NAMED]),
        }


class Cluster:
    """Connection to one API server, with the cluster's CA and a bearer token."""

    def __init__(self, endpoint: str, certificate_authority: str, token: str) -> None:
        """`certificate_authority` is base64 of PEM, as EKS spells it."""
        address = urllib.parse.urlsplit(endpoint)
        if address.scheme != "https" or not address.hostname:
            raise KubernetesError(f"cluster endpoint {endpoint!r}: must be an https address")
        context = ssl.create_default_context(
            cadata=base64.b64decode(certificate_authority).decode()
        )
        # CAs of older EKS clusters lack key identifiers, which Python 3.13 requires by default:
        # https://github.com/kubernetes-client/python/issues/2394. Chain and name are still checked.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._connection = http.client.HTTPSConnection(
            address.hostname, address.port or 443, timeout=ATTEMPT_SECONDS, context=context
        )
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        media_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request. Raises KubernetesError for anything but success."""
        headers = {**self._headers, "Content-Type": media_type}
        try:
            self._connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = self._connection.getresponse()
            status, text = answer.status, answer.read()
        except ssl.SSLCertVerificationError as error:
            self._connection.close()
            raise UntrustedServerError(
                f"{method} {path}: the API server's certificate is not signed by the cluster's "
                f"authority ({error.verify_message}); nothing was sent"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise KubernetesError(
                f"{method} {path}: no answer from the API server ({type(error).__name__})"
            ) from None
        document = _document(text)
        if status >= http.HTTPStatus.BAD_REQUEST:
            message = str(document.get("message", ""))[:_TEXT_LIMIT]
            raise KubernetesError(f"{method} {path}: status {status}, {message}", status)
        return document

    def call_with_retries(
        self, deadline: Deadline, method: str, path: str, **options: Any
    ) -> dict[str, Any]:
        """Send a request, with retries until the deadline. Raises KubernetesError."""
        attempts = 0
        while True:
            try:
                return self.call(method, path, **options)
            except KubernetesError as error:
                attempts += 1
                if not error.retryable or not deadline.pause(attempts):
                    raise


def drain(cluster: Cluster, report: Report, deadline: Deadline) -> Drain:
    """Cordon the node of a reported instance and evict its pods until the deadline."""
    try:
        node = _find_node(cluster, report, deadline)
        if node is None:
            return Drain(node="")
        cordoned = _cordon(cluster, node, deadline)
        name = node["metadata"]["name"]
        movable, left_alone = _pods(cluster, name, deadline)
        blocked = _evict(cluster, movable, deadline)
    finally:
        cluster.close()
    return Drain(name, cordoned, len(movable) - len(blocked), left_alone, tuple(blocked))


def _find_node(cluster: Cluster, report: Report, deadline: Deadline) -> dict[str, Any] | None:
    """Return the node of an instance: by its usual name, else by a search through all nodes.

    The provider id decides in both cases. With resource-based naming, EC2's DNS name is not the
    node's name.
    """
    if report.private_dns_name:
        path = f"/api/v1/nodes/{urllib.parse.quote(report.private_dns_name, safe='')}"
        try:
            node = cluster.call_with_retries(deadline, "GET", path)
        except KubernetesError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
        else:
            if _is_node_of(node, report):
                return node
    return next(
        (
            node
            for node in _items(cluster, "/api/v1/nodes", {}, deadline)
            if _is_node_of(node, report)
        ),
        None,
    )


def _is_node_of(node: dict[str, Any], report: Report) -> bool:
    provider_id = node.get("spec", {}).get("providerID", "")
    return provider_id.rsplit("/", 1)[-1] == report.instance_id


def _cordon(cluster: Cluster, node: dict[str, Any], deadline: Deadline) -> bool:
    """Cordon the node unless it is; the version protects taints that others set meanwhile."""
    path = f"/api/v1/nodes/{node['metadata']['name']}"
    attempts = 0
    while not node.get("spec", {}).get("unschedulable"):
        try:
            cluster.call_with_retries(
                deadline,
                "PATCH",
                path,
                body=_cordoned(node),
                media_type="application/strategic-merge-patch+json",
            )
        except KubernetesError as error:
            attempts += 1
            if error.status != http.HTTPStatus.CONFLICT or not deadline.pause(attempts):
                raise
            node = cluster.call_with_retries(deadline, "GET", path)
        else:
            return True
    return False


def _cordoned(node: dict[str, Any]) -> dict[str, Any]:
    """Return the patch of a node, with all taints, since the patch replaces the list."""
    others = [taint for taint in node["spec"].get("taints", []) if taint.get("key") != LABEL]
    return {
        "metadata": {
            "resourceVersion": node["metadata"]["resourceVersion"],
            "labels": {LABEL: LABEL_VALUE},
        },
        "spec": {"unschedulable": True, "taints": [*others, _TAINT]},
    }


def _pods(cluster: Cluster, node: str, deadline: Deadline) -> tuple[list[dict[str, Any]], int]:
    movable, left_alone = [], 0
    for pod in _items(
        cluster, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"}, deadline
    ):
        if _stays(pod):
            left_alone += 1
        else:
            movable.append(pod["metadata"])
    return movable, left_alone


def _stays(pod: dict[str, Any]) -> bool:
    metadata = pod["metadata"]
    return (
        MIRROR in metadata.get("annotations", {})
        or "deletionTimestamp" in metadata
        or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        or any(
            owner.get("controller") and owner.get("kind") == "DaemonSet"
            for owner in metadata.get("ownerReferences", [])
        )
    )


def _evict(cluster: Cluster, pods: list[dict[str, Any]], deadline: Deadline) -> list[str]:
    """Evict the pods in rounds until the deadline; return the names of those that stay."""
    waiting = pods
    rounds = 0
    while True:
        refused = [pod for pod in waiting if not _evicted(cluster, pod, deadline)]
        rounds += 1
        if not refused or not deadline.pause(rounds, ROUND_SECONDS):
            return [f"{pod['namespace']}/{pod['name']}" for pod in refused]
        waiting = refused


def _evicted(cluster: Cluster, pod: dict[str, Any], deadline: Deadline) -> bool:
    if deadline.left() <= 0:
        return False
    try:
        cluster.call(
            "POST",
            f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}/eviction",
            body={
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": pod["name"], "namespace": pod["namespace"]},
                "deleteOptions": {"preconditions": {"uid": pod["uid"]}},
            },
        )
    except KubernetesError as error:
        # The pod is gone, or another one has its name: nothing is left to evict.
        if error.status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.CONFLICT):
            return True
        if error.retryable:
            return False
        raise
    return True


def _items(
    cluster: Cluster, path: str, query: dict[str, str], deadline: Deadline
) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        parameters = {**query, "limit": str(PAGE), **({"continue": token} if token else {})}
        answer = cluster.call_with_retries(
            deadline, "GET", f"{path}?{urllib.parse.urlencode(parameters)}"
        )
        yield from answer.get("items", [])
        token = answer.get("metadata", {}).get("continue", "")
        if not token:
            return


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
