"""Rights of the agent inside the cluster."""

from castai_stack.agent.names import AGENT
from castai_stack.agent.release import Document, Release, object_labels, object_metadata
from castai_stack.kube import rbac

CONFIG_NAMESPACE = "kube-system"


def service_account(release: Release) -> Document:
    """Return the service account of both deployments."""
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
    (rbac.API_GROUP, ("roles", "rolebindings", "clusterroles", "clusterrolebindings")),
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
    ("castware.cast.ai", ("*",)),
    ("pod-mutations.cast.ai", ("podmutations",)),
    ("storageoptimization.cast.ai", ("nodediskrecommendations",)),
    ("runbooks.cast.ai", ("recommendationsyncs",)),
)


def cluster_role(release: Release) -> Document:
    """Return the role that reads across the cluster; it excludes secrets and every write."""
    tables = _BUILT_IN_RULES + (_CUSTOM_RULES if release.settings.read_custom_resources else ())
    return rbac.role(
        {"name": AGENT, "labels": object_labels(release)},
        [
            *(rbac.rule(group, resources, rbac.READ) for group, resources in tables),
            rbac.rule("metrics.k8s.io", ["pods"], ["get", "list"]),
            {"nonResourceURLs": ["/version"], "verbs": ["get"]},
        ],
    )


def role(release: Release) -> Document:
    """Return the only role that writes, limited to the agent's namespace.

    It covers the leases of the leader election, the agent's metadata and, for the autoscaler, the
    agent's own deployment.
    """
    rules = [
        rbac.rule("coordination.k8s.io", ["leases"], ["create", *rbac.READ, "update"]),
        rbac.rule("", ["configmaps"], [*rbac.READ, "create", "update", "patch"]),
    ]
    if release.settings.autoscaling.enabled:
        rules.append(rbac.rule("apps", ["deployments"], ["patch"], names=[AGENT]))
    return rbac.role(object_metadata(release, AGENT), rules)


def config_role(release: Release) -> Document:
    """Return the role that reads the config maps of kube-system, aws-auth included."""
    return rbac.role(
        object_metadata(release, AGENT, in_namespace=CONFIG_NAMESPACE),
        [rbac.rule("", ["configmaps"], rbac.READ)],
    )


def binding(release: Release, bound: Document) -> Document:
    """Return the binding of a role to the agent's service account."""
    return rbac.binding(bound, [rbac.service_account_subject(AGENT, release.namespace)])
