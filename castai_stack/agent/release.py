"""Values, labels and metadata of one installation of the agent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from castai_stack.agent.names import (
    AGENT,
    AUTOSCALER,
    INSTANCE_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
    NAME_LABEL,
    NAMESPACE,
    PART_OF,
    PART_OF_LABEL,
)

if TYPE_CHECKING:
    from castai_stack.agent.settings import Agent, Proxy


Document = dict[str, Any]
FORCE = "pulumi.com/patchForce"
"""Annotation that makes the provider overwrite fields of another field manager."""
SKIP_AWAIT = "pulumi.com/skipAwait"
"""Annotation that turns off the provider's wait for an object."""
DIGEST_LENGTH = 16
CRITICAL: Document = {"key": "CriticalAddonsOnly", "operator": "Exists"}
HIBERNATION: Document = {
    "key": "provisioning.cast.ai/temporary",
    "operator": "Equal",
    "value": "resuming",
    "effect": "NoSchedule",
}
"""Toleration of the node on which a hibernated cluster resumes.

Source: https://docs.cast.ai/docs/cluster-hibernation
"""


@dataclass(frozen=True, slots=True)
class Release:
    """One installation of the agent: the cluster that it reports, and its settings."""

    cluster_name: str
    region: str
    account_id: str
    api_url: str
    settings: "Agent"
    namespace: str = NAMESPACE

    @property
    def key_secret(self) -> str:
        """Name of the secret with the API key."""
        return self.settings.existing_secret or AGENT


def object_labels(release: Release, name: str = AGENT) -> dict[str, str]:
    """Return the labels of an object, without a version, which would change it in every upgrade."""
    return {
        **release.settings.labels,
        **pod_selector(name),
        MANAGED_BY_LABEL: MANAGER,
        PART_OF_LABEL: PART_OF,
    }


def pod_selector(name: str) -> dict[str, str]:
    """Return the labels of a deployment's selector, which Kubernetes never lets change."""
    return {NAME_LABEL: name, INSTANCE_LABEL: AGENT}


def pod_labels(release: Release, name: str) -> dict[str, str]:
    """Return the labels of a deployment's pods: the selector's and those of the settings."""
    return {**release.settings.labels, **pod_selector(name)}


def object_metadata(
    release: Release,
    name: str,
    *,
    in_namespace: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Document:
    """Return the metadata of one object: name, namespace, labels, annotations."""
    metadata: Document = {
        "name": name,
        "namespace": in_namespace or release.namespace,
        "labels": object_labels(release, name if name == AUTOSCALER else AGENT),
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata


def forced(document: Document) -> Document:
    """Add the annotation with which the provider overwrites fields of other field managers.

    Without it each such field is a conflict that fails the update.
    """
    metadata = document["metadata"]
    annotations = {**metadata.get("annotations", {}), FORCE: "true"}
    return {**document, "metadata": {**metadata, "annotations": annotations}}


def proxy_variables(proxy: "Proxy") -> dict[str, str]:
    """Return the environment variables of a proxy; none without one."""
    given = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https}
    env = {name: str(address) for name, address in given.items() if address is not None}
    if env:
        # The kubelet expands the variable. The agent connects to the API server by its IP address.
        # https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
        direct = ["$(KUBERNETES_SERVICE_HOST)", ".svc", ".cluster.local", "169.254.169.254"]
        env["NO_PROXY"] = ",".join([*direct, *proxy.no_proxy])
    return env
