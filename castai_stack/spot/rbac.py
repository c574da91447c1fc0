"""Rights of the Spot function inside the cluster when it drains nodes."""

from typing import Any

from castai_stack.kube import rbac

NAME = "castai-eks-spot-drain"
"""Name of the cluster role and of its binding.

`castai-spot-handler` is the name in CAST AI's chart of that DaemonSet: Helm refuses objects that it
did not create, and an apply of this program would conflict with the chart's fields.
"""
GROUP = NAME
"""Kubernetes group that the mapping assigns to the function's role."""
USERNAME = NAME

_METADATA = {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "castai-eks"}}

RULES: tuple[dict[str, Any], ...] = (
    rbac.rule("", ["nodes"], ["get", "list", "patch"]),
    rbac.rule("", ["pods"], ["list"]),
    # Evictions respect disruption budgets, deletions ignore them:
    # https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
    rbac.rule("", ["pods/eviction"], ["create"]),
)
"""Find and cordon a node, list its pods, evict them."""


def cluster_role() -> dict[str, Any]:
    """Return the cluster role."""
    return rbac.role(_METADATA, RULES)


def cluster_role_binding() -> dict[str, Any]:
    """Return the binding of the role to the mapped group."""
    return rbac.binding(cluster_role(), [rbac.group_subject(GROUP)])
