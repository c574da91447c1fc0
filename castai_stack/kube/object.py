"""Kubernetes objects as resources, from plain documents.

The typed classes of pulumi-kubernetes take 0.8 s to import. The provider is the same without them.
"""

from collections.abc import Mapping
from typing import Any

import pulumi

Document = Mapping[str, Any]

# Name that the provider gives to the group "".
_CORE = "core"


def type_token(document: Document) -> str:
    """Return the Kubernetes provider's resource type of an object."""
    group, _, version = document["apiVersion"].rpartition("/")
    return f"kubernetes:{group or _CORE}/{version}:{document['kind']}"


def import_id(document: Document) -> str:
    """Return the id of an object in the Kubernetes provider's state, as an import takes it."""
    metadata = document["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def object_key(document: Document) -> str:
    """Return a key that is unique among the objects of a cluster."""
    return f"{type_token(document)}::{import_id(document)}"


class KubernetesObject(pulumi.CustomResource):
    """One object of the cluster. Values anywhere in the document may be Outputs."""

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
