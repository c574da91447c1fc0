"""One installation of the agent: its values, labels and metadata."""

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
    from castai_stack.agent.settings import Agent


Document = dict[str, Any]
FORCE = "pulumi.com/patchForce"
"""Annotation with which the provider applies a field that somebody else manages."""
SKIP_AWAIT = "pulumi.com/skipAwait"
"""Annotation that keeps the provider from waiting for an object."""
DIGEST_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Release:
    """One installation of the agent: what it watches, and how it is set up."""

    cluster_name: str
    region: str
    account_id: str
    api_url: str
    settings: "Agent"
    namespace: str = NAMESPACE

    @property
    def key_secret(self) -> str:
        """Name of the secret that holds the key."""
        return self.settings.existing_secret or AGENT


def image(registry: str, name: str, tag: str, digest: str | None) -> str:
    """Return an image reference, pinned by its digest where one is given."""
    reference = f"{registry}/{name}:{tag}"
    return reference if digest is None else f"{reference}@{digest}"


def object_labels(release: Release, name: str = AGENT) -> dict[str, str]:
    """Return the labels of an object; only deployments bear a version, so that only they change."""
    return {
        **release.settings.labels,
        **pod_selector(name),
        MANAGED_BY_LABEL: MANAGER,
        PART_OF_LABEL: PART_OF,
    }


def pod_selector(name: str) -> dict[str, str]:
    """Return the labels by which a deployment knows its pods: they can never change."""
    return {NAME_LABEL: name, INSTANCE_LABEL: AGENT}


def pod_labels(release: Release, name: str) -> dict[str, str]:
    """Return the labels of the pods of one deployment; settings add to them."""
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
