"""Rights of the evictor inside the cluster.

The rules are those of chart 0.35.136, the last whose templates are public. Rights on the objects of
products that this program does not install are left out, and so are writes to Karpenter's. Leases
are those of the namespace only.
Source: castai/helm-charts, charts/castai-evictor
"""

from castai_stack.agent.release import Document
from castai_stack.automation.names import EVICTOR
from castai_stack.automation.release import Release, cluster_metadata, object_metadata
from castai_stack.kube import rbac


def cluster_role(release: Release) -> Document:
    """Return the role that looks at workloads, cordons nodes and evicts pods."""
    return rbac.role(
        cluster_metadata(release, EVICTOR),
        [
            rbac.rule("", ["nodes"], [*rbac.READ, "patch", "update"]),
            rbac.rule("", ["pods"], [*rbac.READ, "delete"]),
            rbac.rule("", ["pods/eviction"], ["create"]),
            rbac.rule("", ["events"], ["create"]),
            rbac.rule("", ["persistentvolumeclaims", "persistentvolumes"], rbac.READ),
            rbac.rule("storage.k8s.io", ["storageclasses"], rbac.READ),
            rbac.rule("policy", ["poddisruptionbudgets"], ["get", "list"]),
            rbac.rule(
                "apps", ["deployments", "statefulsets", "replicasets", "daemonsets"], rbac.READ
            ),
            rbac.rule("batch", ["jobs"], rbac.READ),
            rbac.rule("argoproj.io", ["rollouts"], rbac.READ),
            rbac.rule("karpenter.sh", ["nodeclaims"], rbac.READ),
            rbac.rule("autoscaling.cast.ai", ["*"], rbac.READ),
        ],
    )


def role(release: Release) -> Document:
    """Return the role inside the namespace: the leader election, and the sizing of the evictor."""
    return rbac.role(
        object_metadata(release, EVICTOR),
        [
            rbac.rule("coordination.k8s.io", ["leases"], ["create", *rbac.READ, "update"]),
            rbac.rule("apps", ["deployments"], ["patch"], names=[EVICTOR]),
        ],
    )


def binding(release: Release, bound: Document) -> Document:
    """Return the binding of a role to the evictor's service account."""
    return rbac.binding(bound, [rbac.service_account_subject(EVICTOR, release.namespace)])
