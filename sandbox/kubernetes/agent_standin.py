"""Plays the running agent towards CAST AI and the cluster.

It is called as the agent calls: with the key from the Secret that the pod takes its environment
from, for the cluster id that the pod names, at the address that the pod names. What the agent and
its autoscaler write at run time is written too, under the pod's own service account: what its RBAC
forbids does not happen.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from lightkube import Client, codecs
from lightkube.core.exceptions import ApiError
from lightkube.core.resource import NamespacedResource, api_info
from lightkube.models.authorization_v1 import ResourceAttributes, SelfSubjectAccessReviewSpec
from lightkube.models.core_v1 import Pod
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
from lightkube.resources.core_v1 import ConfigMap, Node
from lightkube.resources.core_v1 import Pod as PodResource
from lightkube.types import PatchType

from sandbox.kubernetes.pod_standin import (
    NAMESPACE,
    PodStandIn,
    api_address,
    moment,
    pod_name,
    renew,
    require_absent,
)
from sandbox.kubernetes.standin import SECONDS

NAME = "castai-agent"
AUTOSCALER = "castai-agent-cpvpa"
METADATA = "castai-agent-metadata"
LEASE = "agent-leader-election-lock"
FIELD_MANAGER = "cpvpa"

_VERSION = "v0.161.1"
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
_MEMORY = "2Gi"


Reported = dict[tuple[str, str, str], dict[str, Any]]
"""Objects by kind, namespace and name."""


class AgentStandIn(PodStandIn):
    """A thread that plays the agent; `close` ends it."""

    role = "agent"
    container = "agent"
    required = ("API_URL", "API_KEY", "STATIC_CLUSTER_ID")
    _reported: Reported | None = None
    """What CAST AI knows; nothing before the first snapshot of a pod."""
    _is_sized = False

    def forget(self) -> None:
        """Send a full snapshot the next time, and look at the size again."""
        super().forget()
        self._reported, self._is_sized = None, False

    def started(self, client: Client, environment: Mapping[str, str]) -> Iterator[str]:
        """Write the metadata map, and list every kind that the agent reads."""
        _write_metadata(client, environment)
        return _look_at_everything(client)

    def play(self, pod: Pod, client: Client, environment: Mapping[str, str]) -> str:
        """Renew the lease, report what changed, size the agent."""
        renew(client, LEASE, NAMESPACE, pod_name(pod))
        objects: Reported = {
            (kind, str(one.metadata.namespace or ""), str(one.metadata.name)): one.to_dict()
            for kind, listed in (
                ("Node", client.list(Node)),
                ("Pod", client.list(PodResource, namespace="*")),
            )
            for one in listed
            if one.metadata is not None
        }
        refusal = _report(environment, self._reported, objects)
        if not refusal:
            self._reported = objects
        self._is_sized = self._is_sized or _size_agent(client)
        return refusal


def _look_at_everything(agent: Client) -> Iterator[str]:
    """List every kind that the agent reads; yield a sentence for each that it may not read.

    The real agent asks the same reviews, and goes on without the kinds that are refused.
    """
    for kind in _KINDS:
        info = api_info(kind)
        for verb in ("list", "watch"):
            attributes = ResourceAttributes(
                group=info.resource.group, resource=info.plural, verb=verb
            )
            review = agent.create(
                SelfSubjectAccessReview(
                    apiVersion="authorization.k8s.io/v1",
                    kind="SelfSubjectAccessReview",
                    spec=SelfSubjectAccessReviewSpec(resourceAttributes=attributes),
                )
            )
            if review.status is None or not review.status.allowed:
                yield f"the agent may not {verb} {info.plural}"
                break
        else:
            everywhere = issubclass(kind, NamespacedResource)
            list(agent.list(kind, namespace="*") if everywhere else agent.list(kind))


def _report(environment: Mapping[str, str], before: Reported | None, objects: Reported) -> str:
    """Send a full snapshot or what changed since; return why it was not taken, or nothing."""
    cluster_id = environment["STATIC_CLUSTER_ID"]
    old = before or {}
    changed = [key for key, data in objects.items() if data != old.get(key)]
    events = [("update" if key in old else "add", key, objects[key]) for key in changed]
    events += [("delete", key, data) for key, data in old.items() if key not in objects]
    delta = {
        "clusterId": cluster_id,
        "clusterVersion": "1.33",
        "agentVersion": _VERSION,
        "fullSnapshot": before is None,
        "items": [
            {"event": event, "kind": kind, "data": data, "createdAt": moment()}
            for event, (kind, _, _), data in events
        ],
    }
    answer = requests.post(
        f"{api_address(environment)}/v1/kubernetes/clusters/{cluster_id}/agent-deltas",
        data=gzip.compress(json.dumps(delta).encode()),
        headers={
            "X-API-Key": environment["API_KEY"],
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        },
        timeout=SECONDS,
    )
    return "" if answer.ok else f"CAST AI answered {answer.status_code}"


def _write_metadata(agent: Client, environment: Mapping[str, str]) -> None:
    """Patch the metadata map, or create it."""
    metadata = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": METADATA, "namespace": NAMESPACE},
        "data": {"CLUSTER_ID": environment["STATIC_CLUSTER_ID"]},
    }
    try:
        agent.patch(ConfigMap, METADATA, {"data": metadata["data"]}, namespace=NAMESPACE)
    except ApiError as error:
        require_absent(error)
        agent.create(codecs.from_dict(metadata))


def _size_agent(agent: Client) -> bool:
    """Set the agent's memory, as the autoscaler's first poll does; return whether it is set."""
    agents: list[Any] = list(agent.list(Deployment, namespace=NAMESPACE))
    deployments = {one.metadata.name: one for one in agents}
    autoscaler, target = deployments.get(AUTOSCALER), deployments.get(NAME)
    if autoscaler is None or target is None or not autoscaler.status.readyReplicas:
        return False
    containers = target.spec.template.spec.containers
    current = next((one for one in containers if one.name == "agent"), None)
    if current is None or (current.resources and "memory" in (current.resources.limits or {})):
        return True
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
    return True
