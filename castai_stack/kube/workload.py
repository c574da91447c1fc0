"""Parts of deployments and pods as plain documents."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]

NON_ROOT = 65532
"""Id of the user and group `nonroot` of distroless images.

Source: https://github.com/GoogleContainerTools/distroless, common/variables.bzl
"""
NO_WINDOWS: Document = {
    "nodeSelectorTerms": [
        {
            "matchExpressions": [
                {"key": "kubernetes.io/os", "operator": "NotIn", "values": ["windows"]}
            ]
        }
    ]
}
"""Nodes of every system but Windows, as a required node affinity."""


def image(registry: str, name: str, tag: str, digest: str | None) -> str:
    """Return an image reference, pinned by its digest where one is given."""
    reference = f"{registry}/{name}:{tag}"
    return reference if digest is None else f"{reference}@{digest}"


def security(user: int) -> Document:
    """Return a pod's security context that meets the `restricted` Pod Security level.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(*, writable: bool = False) -> Document:
    """Return a container's security context that meets the `restricted` Pod Security level."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": not writable,
        "capabilities": {"drop": ["ALL"]},
    }


def variables(values: Mapping[str, object]) -> list[Document]:
    """Return environment variables of these values, which may be Outputs."""
    return [{"name": name, "value": value} for name, value in values.items()]


def field_variable(name: str, path: str) -> Document:
    """Return the environment variable of a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
