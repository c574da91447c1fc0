"""A Kubernetes object from a plain document, without the typed SDK.

The typed classes of pulumi-kubernetes take 0.8 s to import for the handful of kinds that are used
here, two thirds of the time that the whole program may take; the provider behind is the same.
"""

from collections.abc import Mapping
from typing import Any

import pulumi

Document = Mapping[str, Any]

# The provider calls the group "" by the name core; every other group by its own.
_CORE = "core"


def type_token(document: Document) -> str:
    """Name the resource type of an object, as the Kubernetes provider knows it."""
    group, _, version = document["apiVersion"].rpartition("/")
    return f"kubernetes:{group or _CORE}/{version}:{document['kind']}"


def import_id(document: Document) -> str:
    """Name an existing object the way the Kubernetes provider does in its state."""
    metadata = document["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def object_key(document: Document) -> str:
    """Tell one object of a cluster from every other."""
    return f"{type_token(document)}::{import_id(document)}"


class KubernetesObject(pulumi.CustomResource):
    """One object of the cluster; values anywhere in the document may be Outputs."""

    def __init__(
        self, name: str, document: Document, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        secret_outputs = ["data", "stringData"] if document["kind"] == "Secret" else []
        super().__init__(
            type_token(document),
            name,
            dict(document),
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=secret_outputs)
            ),
        )
