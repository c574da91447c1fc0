"""Values, labels and metadata of the workloads of one stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from castai_stack.agent.names import (
    INSTANCE_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
    NAME_LABEL,
    NAMESPACE,
    PART_OF,
    PART_OF_LABEL,
    TRUSTED_CA,
)
from castai_stack.agent.release import (
    CRITICAL,
    HIBERNATION,
    SKIP_AWAIT,
    Document,
    proxy_variables,
)
from castai_stack.automation.names import INSTANCES, SHARED
from castai_stack.kube import workload

if TYPE_CHECKING:
    from castai_stack.agent.settings import Agent
    from castai_stack.automation.settings import Automation, Workload


@dataclass(frozen=True, slots=True)
class Release:
    """The workloads of one stack: their settings, and those of the agent that they share."""

    api_url: str
    settings: "Automation"
    agent: "Agent"
    """Its proxy, certificates, labels and priority class are those of every workload."""
    namespace: str = NAMESPACE
    spot_daemonset: bool = False
    """CAST AI's DaemonSet reports Spot interruptions (`spot.handler`)."""

    @property
    def existing_secret(self) -> str | None:
        """Name of an existing secret with the cluster's token: the automation's or the agent's."""
        return self.settings.existing_secret or self.agent.existing_secret

    @property
    def key_secret(self) -> str:
        """Name of the secret with the cluster's token."""
        return self.existing_secret or SHARED


def everything(agent: "Agent") -> Release:
    """Return a release with every workload and every right, whatever a stack's settings."""
    from castai_stack.automation.settings import (  # noqa: PLC0415 - the plugin imports no pydantic
        Automation,
        Controller,
        Evictor,
    )

    settings = Automation(controller=Controller(self_upgrade=True), evictor=Evictor(enabled=True))
    return Release(api_url="", settings=settings, agent=agent, spot_daemonset=True)


def selector(name: str) -> dict[str, str]:
    """Return the labels of a workload's selector, which Kubernetes never lets change."""
    return {NAME_LABEL: name, INSTANCE_LABEL: INSTANCES[name]}


def object_labels(release: Release, name: str) -> dict[str, str]:
    """Return the labels of an object of the workload `name`."""
    return {
        **release.agent.labels,
        **selector(name),
        MANAGED_BY_LABEL: MANAGER,
        PART_OF_LABEL: PART_OF,
    }


def object_metadata(release: Release, workload_name: str, name: str | None = None) -> Document:
    """Return the metadata of a workload's object in the namespace; named like it by default."""
    return {
        "name": name or workload_name,
        "namespace": release.namespace,
        "labels": object_labels(release, workload_name),
    }


def cluster_metadata(release: Release, workload_name: str, name: str | None = None) -> Document:
    """Return the metadata of a workload's object outside of namespaces."""
    metadata = object_metadata(release, workload_name, name)
    del metadata["namespace"]
    return metadata


def service_account(release: Release, name: str) -> Document:
    """Return the service account of a workload."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": object_metadata(release, name),
    }


def workload_metadata(release: Release, name: str, version: str) -> Document:
    """Return the metadata of a deployment; a gate waits for it instead of the provider."""
    metadata = object_metadata(release, name)
    return {
        **metadata,
        "labels": {**metadata["labels"], "app.kubernetes.io/version": version},
        "annotations": {SKIP_AWAIT: "true"},
    }


def image(release: Release, name: str, settings: "Workload", tag: str) -> str:
    """Return the reference of one of CAST AI's images."""
    return workload.image(release.settings.image_registry, name, tag, settings.digest)


def pod(
    release: Release,
    account: str,
    settings: "Workload",
    tolerations: Sequence[Document] = (CRITICAL, HIBERNATION),
) -> Document:
    """Return what the pods of all workloads have in common, without containers."""
    spec: Document = {
        "serviceAccountName": account,
        "automountServiceAccountToken": True,
        "tolerations": [*tolerations, *settings.tolerations],
    }
    if release.agent.priority_class:
        # The agent's quota admits critical pods to the namespace where a cluster limits them.
        spec["priorityClassName"] = release.agent.priority_class
    if settings.node_selector:
        spec["nodeSelector"] = settings.node_selector
    if release.settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in release.settings.pull_secrets]
    return spec


def environment(release: Release, own: Mapping[str, str]) -> list[Document]:
    """Return the variables of a container: its own, and the proxy's."""
    return workload.variables({**own, **proxy_variables(release.agent.proxy)})


def environment_sources(release: Release) -> list[Document]:
    """Return the objects whose keys are variables: token, API, cluster id, certificates."""
    sources: list[Document] = [
        {"secretRef": {"name": release.key_secret}},
        {"configMapRef": {"name": SHARED}},
    ]
    if release.agent.trusted_ca_certificate is not None:
        sources.append({"secretRef": {"name": TRUSTED_CA}})
    return sources
