"""A narrower role than cluster-admin for CAST AI's user, as data.

It covers what the page promises to do with nodes: see the cluster, cordon, label, drain and delete.
What it lacks against `system:masters` is written in docs/access.md.
"""

from collections.abc import Iterable
from typing import Any

from castai_stack.access.entries import MASTERS

NAME = "castai-eks-node-manager"
"""Of the cluster role and its binding."""

_API_GROUP = "rbac.authorization.k8s.io"
_API_VERSION = f"{_API_GROUP}/v1"
_READ = ["get", "list", "watch"]
_LABELS = {"app.kubernetes.io/managed-by": "castai-eks"}

RULES: tuple[dict[str, Any], ...] = (
    # Nodes: cordon, label and taint (patch, update), and take away when the instance is gone.
    {
        "apiGroups": [""],
        "resources": ["nodes"],
        "verbs": [*_READ, "patch", "update", "delete"],
    },
    # Drain by the API that keeps to disruption budgets:
    # https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
    {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    # Pods that a node takes with it when it is gone for good.
    {"apiGroups": [""], "resources": ["pods"], "verbs": [*_READ, "delete"]},
    # What placing pods takes into account; no secrets, and no config maps, aws-auth among them.
    {
        "apiGroups": [""],
        "resources": [
            "events",
            "limitranges",
            "namespaces",
            "persistentvolumeclaims",
            "persistentvolumes",
            "replicationcontrollers",
            "resourcequotas",
            "services",
        ],
        "verbs": _READ,
    },
    {
        "apiGroups": ["apps"],
        "resources": ["daemonsets", "deployments", "replicasets", "statefulsets"],
        "verbs": _READ,
    },
    {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": _READ},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": _READ},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": _READ},
    {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": _READ},
    {
        "apiGroups": ["storage.k8s.io"],
        "resources": ["csidrivers", "csinodes", "storageclasses", "volumeattachments"],
        "verbs": _READ,
    },
)


def is_narrower(groups: Iterable[str]) -> bool:
    """Tell whether these groups get the role of this module instead of everything."""
    return MASTERS not in groups


def cluster_role() -> dict[str, Any]:
    """Return the cluster role."""
    return {
        "apiVersion": _API_VERSION,
        "kind": "ClusterRole",
        "metadata": {"name": NAME, "labels": _LABELS},
        "rules": list(RULES),
    }


def cluster_role_binding(groups: Iterable[str]) -> dict[str, Any]:
    """Return what gives the role to every group."""
    return {
        "apiVersion": _API_VERSION,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME, "labels": _LABELS},
        "roleRef": {"apiGroup": _API_GROUP, "kind": "ClusterRole", "name": NAME},
        "subjects": [{"apiGroup": _API_GROUP, "kind": "Group", "name": group} for group in groups],
    }
