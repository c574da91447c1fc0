"""RBAC objects of Kubernetes as plain documents: rules, roles, bindings and subjects.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = dict[str, Any]

API_GROUP = "rbac.authorization.k8s.io"
API_VERSION = f"{API_GROUP}/v1"
READ = ("get", "list", "watch")
"""Verbs that read objects of a kind."""


def rule(
    group: str, resources: Sequence[str], verbs: Sequence[str], *, names: Sequence[str] = ()
) -> Document:
    """Return a rule for resources of one API group, limited to objects of these names if any."""
    limit = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": list(resources), **limit, "verbs": list(verbs)}


def role(metadata: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]) -> Document:
    """Return a Role, or a ClusterRole when the metadata has no namespace."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Role" if "namespace" in metadata else "ClusterRole",
        "metadata": dict(metadata),
        "rules": [dict(one) for one in rules],
    }


def binding(bound: Document, subjects: Iterable[Document]) -> Document:
    """Return the binding of a role, with the metadata of the role."""
    return {
        "apiVersion": API_VERSION,
        "kind": f"{bound['kind']}Binding",
        "metadata": bound["metadata"],
        "roleRef": {
            "apiGroup": API_GROUP,
            "kind": bound["kind"],
            "name": bound["metadata"]["name"],
        },
        "subjects": list(subjects),
    }


def service_account_subject(name: str, namespace: str) -> Document:
    """Return a service account as a subject of a binding."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def group_subject(name: str) -> Document:
    """Return a group as a subject of a binding."""
    return {"apiGroup": API_GROUP, "kind": "Group", "name": name}


def resource_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the API group and the plural resource name of an object, as rules name them."""
    group = document["apiVersion"].rpartition("/")[0]
    singular = document["kind"].lower()
    plural = f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"
    return group, plural
