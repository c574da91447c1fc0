"""Kubernetes permissions that the operator of a stack needs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from castai_stack.agent.names import AGENT, NAMESPACE, TRUSTED_CA
from castai_stack.config.model import StackConfig


@dataclass(frozen=True, slots=True)
class KubernetesRequirement:
    """Verbs on one kind of Kubernetes object; an empty namespace means cluster-wide."""

    verbs: tuple[str, ...]
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


ROOT_CERTIFICATES = "kube-root-ca.crt"
"""ConfigMap in which every cluster publishes its own certificate authority."""
# The Kubernetes provider lists and watches what it deletes until it is gone.
_WRITES = ("create", "delete", "get", "list", "patch", "watch")
_GRANTS = ("bind", "escalate")


def kubernetes_requirements(
    settings: StackConfig, *, aws_auth: bool
) -> tuple[KubernetesRequirement, ...]:
    """Return what applying takes in the cluster; a preview takes `get` of it."""
    needed = [
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "clusterroles"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "clusterrolebindings"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "roles", "kube-system"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "rolebindings", "kube-system"),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "roles", NAMESPACE),
        KubernetesRequirement(_WRITES, "rbac.authorization.k8s.io", "rolebindings", NAMESPACE),
        KubernetesRequirement(_WRITES, "apps", "deployments", NAMESPACE),
        KubernetesRequirement(_WRITES, "policy", "poddisruptionbudgets", NAMESPACE),
        KubernetesRequirement(_WRITES, "", "serviceaccounts", NAMESPACE),
        KubernetesRequirement(_WRITES, "", "configmaps", NAMESPACE),
        # A name limits all but creating, and looking on until a deleted one is gone.
        KubernetesRequirement(("create", "list", "watch"), "", "secrets", NAMESPACE),
        *(
            KubernetesRequirement(("delete", "get", "patch"), "", "secrets", NAMESPACE, name)
            for name in (AGENT, TRUSTED_CA)
        ),
        KubernetesRequirement(_WRITES, "", "resourcequotas", NAMESPACE),
        KubernetesRequirement(("get", "list"), "", "pods", NAMESPACE),
        KubernetesRequirement(("get",), "", "configmaps", "kube-system", ROOT_CERTIFICATES),
        KubernetesRequirement(("get", "list", "watch"), "", "events", NAMESPACE),
        # Writing a rule into a role, or a role into a binding, takes holding it, or these verbs.
        KubernetesRequirement(_GRANTS, "rbac.authorization.k8s.io", "clusterroles"),
        KubernetesRequirement(_GRANTS, "rbac.authorization.k8s.io", "roles", "kube-system"),
        KubernetesRequirement(_GRANTS, "rbac.authorization.k8s.io", "roles", NAMESPACE),
    ]
    if settings.agent.create_namespace:
        needed.append(KubernetesRequirement(_WRITES, "", "namespaces"))
    else:
        # What the agent made at run time is removed from a namespace that stays.
        needed.append(
            KubernetesRequirement(("delete",), "coordination.k8s.io", "leases", NAMESPACE)
        )
    if settings.agent.network_policy:
        needed.append(
            KubernetesRequirement(_WRITES, "networking.k8s.io", "networkpolicies", NAMESPACE)
        )
    if aws_auth and settings.credentials.mode != "none":
        needed += [
            # Creating cannot be limited to a name.
            KubernetesRequirement(("create",), "", "configmaps", "kube-system"),
            *(
                KubernetesRequirement(
                    ("delete", "get", "patch"), "", "configmaps", "kube-system", name
                )
                for name in ("aws-auth", "castai-aws-auth-backup")
            ),
        ]
    return tuple(needed)


def cluster_role(needed: Iterable[KubernetesRequirement], *, apply: bool) -> dict[str, Any]:
    """Cluster role for the operator: everything, or the `get` of a preview."""
    rules: dict[tuple[str, str, str], set[str]] = {}
    for requirement in needed:
        verbs = set(requirement.verbs) if apply else {"get"}.intersection(requirement.verbs)
        if verbs:
            key = (requirement.group, requirement.resource, requirement.name)
            rules.setdefault(key, set()).update(verbs)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"castai-eks-{'operator' if apply else 'preview'}"},
        "rules": [
            {
                "apiGroups": [group],
                "resources": [resource],
                **({"resourceNames": [name]} if name else {}),
                "verbs": sorted(verbs),
            }
            for (group, resource, name), verbs in rules.items()
        ],
    }
