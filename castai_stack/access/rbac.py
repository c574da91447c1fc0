"""Cluster role for CAST AI's user, narrower than cluster-admin.

It covers what CAST AI's page documents for nodes: read the cluster, cordon, label, drain and
delete. docs/access.md lists the differences from `system:masters`.
"""

from collections.abc import Iterable
from typing import Any

from castai_stack.access.entries import MASTERS
from castai_stack.kube import rbac

NAME = "castai-eks-node-manager"
"""Name of the cluster role and of its binding."""

_METADATA = {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "castai-eks"}}

RULES: tuple[dict[str, Any], ...] = (
    # Cordon, label and taint are patch or update; a node is deleted after its instance is gone.
    rbac.rule("", ["nodes"], [*rbac.READ, "patch", "update", "delete"]),
    # A drain evicts, because evictions respect disruption budgets:
    # https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
    rbac.rule("", ["pods/eviction"], ["create"]),
    # The pods of a node that is gone are deleted.
    rbac.rule("", ["pods"], [*rbac.READ, "delete"]),
    # Objects that affect scheduling; neither secrets nor config maps (aws-auth is one).
    rbac.rule(
        "",
        [
            "events",
            "limitranges",
            "namespaces",
            "persistentvolumeclaims",
            "persistentvolumes",
            "replicationcontrollers",
            "resourcequotas",
            "services",
        ],
        rbac.READ,
    ),
    rbac.rule("apps", ["daemonsets", "deployments", "replicasets", "statefulsets"], rbac.READ),
    rbac.rule("batch", ["cronjobs", "jobs"], rbac.READ),
    rbac.rule("policy", ["poddisruptionbudgets"], rbac.READ),
    rbac.rule("autoscaling", ["horizontalpodautoscalers"], rbac.READ),
    rbac.rule("scheduling.k8s.io", ["priorityclasses"], rbac.READ),
    rbac.rule(
        "storage.k8s.io",
        ["csidrivers", "csinodes", "storageclasses", "volumeattachments"],
        rbac.READ,
    ),
)


def is_narrower(groups: Iterable[str]) -> bool:
    """Return True if these groups get this cluster role instead of `system:masters`."""
    return MASTERS not in groups


def cluster_role() -> dict[str, Any]:
    """Return the cluster role."""
    return rbac.role(_METADATA, RULES)


def cluster_role_binding(groups: Iterable[str]) -> dict[str, Any]:
    """Return the binding of the role to every group."""
    return rbac.binding(cluster_role(), [rbac.group_subject(group) for group in groups])
