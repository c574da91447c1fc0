"""What the Spot function may do in the cluster when it drains nodes, as data."""

from typing import Any

NAME = "castai-spot-handler"
"""Of the cluster role and its binding."""
GROUP = "castai-spot-handler"
"""Group that the mapping gives the function's role."""
USERNAME = "castai-spot-handler"

_API_GROUP = "rbac.authorization.k8s.io"
_API_VERSION = f"{_API_GROUP}/v1"
_LABELS = {"app.kubernetes.io/managed-by": "castai-eks"}

RULES: tuple[dict[str, Any], ...] = (
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    # Evictions keep to disruption budgets, deletions do not:
    # https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
    {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
)
"""Find a node, cordon it, see its pods, evict them; nothing else."""


def cluster_role() -> dict[str, Any]:
    """Return the cluster role."""
    return {
        "apiVersion": _API_VERSION,
        "kind": "ClusterRole",
        "metadata": {"name": NAME, "labels": _LABELS},
        "rules": list(RULES),
    }


def cluster_role_binding() -> dict[str, Any]:
    """Return what gives the role to the mapped group."""
    return {
        "apiVersion": _API_VERSION,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME, "labels": _LABELS},
        "roleRef": {"apiGroup": _API_GROUP, "kind": "ClusterRole", "name": NAME},
        "subjects": [{"apiGroup": _API_GROUP, "kind": "Group", "name": GROUP}],
    }
