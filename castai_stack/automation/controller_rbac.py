"""Rights of cluster-controller inside the cluster.

The rules are those of chart 0.92.6, the last whose templates are public, without those for
certificate signing requests, which the controller approves on GKE only.
Source: castai/helm-charts, charts/castai-cluster-controller/templates/rbac.yaml and
child-charts/castai-cluster-controller-ext; castai/cluster-controller, cmd/controller/run.go
"""

from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.release import Document
from castai_stack.automation.names import CONTROLLER, CONTROLLER_EXTENSION, LEASE
from castai_stack.automation.release import Release, cluster_metadata, object_metadata
from castai_stack.kube import rbac

_CHANGE = ("get", "list", "watch", "patch", "create", "delete", "update")
_COMPONENTS = tuple(
    f"castai-{name}"
    for name in (
        "cluster-controller",
        "evictor",
        "agent",
        "spot-handler",
        "kvisor",
        "kvisor-controller",
        "egressd",
        "pod-pinner",
        "ai-optimizer-proxy",
    )
)

_NODES: tuple[Document, ...] = (
    rbac.rule("", ["pods", "nodes"], rbac.READ),
    rbac.rule("", ["namespaces"], ["get"]),
    rbac.rule("", ["nodes"], ["patch", "update", "delete"]),
    rbac.rule("", ["nodes/status"], ["patch"]),
    rbac.rule("", ["pods"], ["delete"]),
    rbac.rule("", ["pods/eviction"], ["create"]),
    rbac.rule("", ["events"], ["list", "create", "patch"]),
)
"""Look at nodes and pods; cordon, drain, label and delete a node; write events about it."""

_UPGRADES: tuple[Document, ...] = (
    *(
        rbac.rule(f"{group}.cast.ai", ["*"], _CHANGE)
        for group in ("autoscaling", "live", "pod-mutations")
    ),
    rbac.rule(rbac.API_GROUP, ["roles"], ["get", "patch", "update", "delete"], names=_COMPONENTS),
    rbac.rule(
        rbac.API_GROUP,
        ["clusterroles", "clusterrolebindings"],
        ["get", "delete"],
        names=_COMPONENTS,
    ),
    rbac.rule("", ["namespaces"], ["delete"], names=[NAMESPACE, "castai-llms"]),
    rbac.rule(
        "admissionregistration.k8s.io",
        ["mutatingwebhookconfigurations"],
        ["get", "patch"],
        names=["castai-pod-pinner"],
    ),
)
"""Install, upgrade and remove CAST AI's components by their charts."""


def cluster_role(release: Release) -> Document:
    """Return the role that acts on nodes and pods."""
    upgrades = _UPGRADES if release.settings.controller.self_upgrade else ()
    return rbac.role(cluster_metadata(release, CONTROLLER), [*_NODES, *upgrades])


def extension_role(release: Release) -> Document:
    """Return the role that waits for volumes, and sets the evictor where one runs."""
    rules = [rbac.rule("storage.k8s.io", ["volumeattachments"], [*rbac.READ, "delete"])]
    if release.settings.evictor.enabled or release.settings.controller.self_upgrade:
        rules.append(
            rbac.rule("autoscaling.cast.ai", ["evictorconfigs"], [*rbac.READ, "patch", "update"])
        )
    return rbac.role(cluster_metadata(release, CONTROLLER, CONTROLLER_EXTENSION), rules)


def role(release: Release) -> Document:
    """Return the role inside the namespace: the leader election, or everything with `selfUpgrade`.

    Everything includes the secrets of the namespace and with them its tokens.
    """
    rules = [
        # A creation has no name that a rule could limit.
        rbac.rule("coordination.k8s.io", ["leases"], ["create"]),
        rbac.rule("coordination.k8s.io", ["leases"], ["get", "update"], names=[LEASE]),
    ]
    if release.settings.controller.self_upgrade:
        rules = [rbac.rule("*", ["*"], ["*"])]
    return rbac.role(object_metadata(release, CONTROLLER), rules)


def binding(release: Release, bound: Document) -> Document:
    """Return the binding of a role to the controller's service account."""
    return rbac.binding(bound, [rbac.service_account_subject(CONTROLLER, release.namespace)])
