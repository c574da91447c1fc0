"""Rights of the agent inside the cluster."""

from castai_stack.agent.names import AGENT
from castai_stack.agent.release import Document, Release, object_labels, object_metadata

CONFIG_NAMESPACE = "kube-system"
_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]


def service_account(release: Release) -> Document:
    """Return the identity of both deployments."""
    role = release.settings.role_arn
    annotations = {} if role is None else {"eks.amazonaws.com/role-arn": role}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": object_metadata(release, AGENT, annotations=annotations),
    }


_BUILT_IN_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "",
        (
            "pods",
            "nodes",
            "replicationcontrollers",
            "persistentvolumeclaims",
            "persistentvolumes",
            "services",
            "namespaces",
            "events",
            "limitranges",
            "resourcequotas",
        ),
    ),
    ("apps", ("deployments", "replicasets", "daemonsets", "statefulsets")),
    ("storage.k8s.io", ("storageclasses", "csinodes")),
    ("batch", ("jobs", "cronjobs")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("policy", ("poddisruptionbudgets",)),
    (
        "resource.k8s.io",
        (
            "deviceclasses",
            "resourceclaims",
            "resourceclaimtemplates",
            "resourceslices",
            "devicetaintrules",
        ),
    ),
    ("networking.k8s.io", ("networkpolicies", "ingresses")),
    (_RBAC, ("roles", "rolebindings", "clusterroles", "clusterrolebindings")),
)
_CUSTOM_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("autoscaling.k8s.io", ("verticalpodautoscalers",)),
    ("keda.sh", ("scaledobjects", "scaledjobs")),
    (
        "karpenter.sh",
        ("provisioners", "machines", "nodepools", "nodeclaims", "nodeoverlays"),
    ),
    ("karpenter.k8s.aws", ("awsnodetemplates", "ec2nodeclasses")),
    ("datadoghq.com", ("extendeddaemonsetreplicasets",)),
    ("argoproj.io", ("rollouts",)),
    ("autoscaling.cast.ai", ("*",)),
    ("pod-mutations.cast.ai", ("podmutations",)),
    ("storageoptimization.cast.ai", ("nodediskrecommendations",)),
    ("runbooks.cast.ai", ("recommendationsyncs",)),
)


def cluster_role(release: Release) -> Document:
    """Return what the agent reads across the cluster; no secrets, and no verb that writes."""
    tables = _BUILT_IN_RULES + (_CUSTOM_RULES if release.settings.read_custom_resources else ())
    rules: list[Document] = [_rule(group, resources, _READ) for group, resources in tables]
    rules.append(_rule("metrics.k8s.io", ("pods",), ["get", "list"]))
    rules.append({"nonResourceURLs": ["/version"], "verbs": ["get"]})
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": AGENT, "labels": object_labels(release)},
        "rules": rules,
    }


def cluster_role_binding(release: Release) -> Document:
    """Return the grant of the cluster role."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": AGENT, "labels": object_labels(release)},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": AGENT},
        "subjects": _subjects(release),
    }


def role(release: Release) -> Document:
    """Return all that may be written, and in the agent's namespace only.

    Leases of its leader election, its metadata, and for the autoscaler the agent's own deployment.
    """
    rules = [
        _rule("coordination.k8s.io", ("leases",), ["create", "get", "list", "watch", "update"]),
        _rule("", ("configmaps",), [*_READ, "create", "update", "patch"]),
    ]
    if release.settings.autoscaling.enabled:
        rules.append({**_rule("apps", ("deployments",), ["patch"]), "resourceNames": [AGENT]})
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": object_metadata(release, AGENT),
        "rules": rules,
    }


def role_binding(release: Release) -> Document:
    """Return the grant of the role in the agent's namespace."""
    return _role_binding(release, release.namespace)


def config_role(release: Release) -> Document:
    """Return the right to read the config maps of kube-system, aws-auth among them."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": object_metadata(release, AGENT, in_namespace=CONFIG_NAMESPACE),
        "rules": [_rule("", ("configmaps",), _READ)],
    }


def config_role_binding(release: Release) -> Document:
    """Return the grant of the role in kube-system."""
    return _role_binding(release, CONFIG_NAMESPACE)


def _rule(group: str, resources: tuple[str, ...], verbs: list[str]) -> Document:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _subjects(release: Release) -> list[Document]:
    return [{"kind": "ServiceAccount", "name": AGENT, "namespace": release.namespace}]


def _role_binding(release: Release, in_namespace: str) -> Document:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": object_metadata(release, AGENT, in_namespace=in_namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": AGENT},
        "subjects": _subjects(release),
    }
