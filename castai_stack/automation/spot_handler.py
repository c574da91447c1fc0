"""Objects of CAST AI's Spot handler: a DaemonSet that reports interruptions from the Spot nodes.

Source: castai/helm-charts, charts/castai-spot-handler; castai/spot-handler
"""

from castai_stack.agent.names import KEY_DIGEST
from castai_stack.agent.release import Document
from castai_stack.agent.workloads import container_resources
from castai_stack.automation.names import SPOT_HANDLER, SPOT_HANDLER_PATCH
from castai_stack.automation.release import (
    Release,
    cluster_metadata,
    environment,
    environment_sources,
    image,
    pod,
    service_account,
    workload_metadata,
)
from castai_stack.kube import rbac, workload

_USER = 1003
SELECTOR = {"name": "spot-handler"}
"""Labels of the DaemonSet's selector, which Kubernetes never lets change."""
_SPOT_LABELS = (
    ("eks.amazonaws.com/capacityType", ("SPOT",)),
    ("karpenter.sh/capacity-type", ("spot",)),
    ("scheduling.cast.ai/spot", ("true",)),
    ("node.kubernetes.io/lifecycle", ("spot", "SpotInstance")),
    ("kubernetes.io/lifecycle", ("spot", "SpotInstance")),
    ("spotinst.io/node-lifecycle", ("spot",)),
)
"""Labels by which the makers of nodes on EKS mark Spot nodes, with their values."""


def objects(release: Release, digest: object | None) -> dict[str, Document]:
    """Return the handler's objects by part; `digest` changes with its environment."""
    read = rbac.role(cluster_metadata(release, SPOT_HANDLER), [rbac.rule("", ["nodes"], rbac.READ)])
    mark = rbac.role(
        cluster_metadata(release, SPOT_HANDLER, SPOT_HANDLER_PATCH),
        [rbac.rule("", ["nodes"], ["patch"])],
    )
    return {
        "service-account": service_account(release, SPOT_HANDLER),
        "cluster-role": read,
        "cluster-role-binding": _binding(release, read),
        "patch-role": mark,
        "patch-role-binding": _binding(release, mark),
        "daemonset": daemonset(release, digest),
    }


def _binding(release: Release, bound: Document) -> Document:
    return rbac.binding(bound, [rbac.service_account_subject(SPOT_HANDLER, release.namespace)])


def daemonset(release: Release, digest: object | None) -> Document:
    """Return the DaemonSet.

    Its pods use the node's network, because the metadata service answers pods only within its hop
    limit. That is more than the `baseline` Pod Security level allows.
    """
    settings = release.settings.spot_handler
    metadata = workload_metadata(release, SPOT_HANDLER, settings.tag)
    container = {
        "name": "spot-handler",
        "image": image(release, "spot-handler", settings, settings.tag),
        "imagePullPolicy": "IfNotPresent",
        "env": [
            workload.field_variable("NODE_NAME", "spec.nodeName"),
            *environment(release, _ENVIRONMENT),
        ],
        "envFrom": environment_sources(release),
        "securityContext": workload.container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **container_resources(settings.resources),
    }
    annotations = {} if digest is None else {"annotations": {KEY_DIGEST: digest}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": SELECTOR},
            "template": {
                "metadata": {"labels": {**release.agent.labels, **SELECTOR}, **annotations},
                "spec": {
                    **pod(release, SPOT_HANDLER, settings, _TOLERATIONS),
                    "hostNetwork": True,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": workload.security(_USER),
                    "affinity": {
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": _spot_nodes()
                        }
                    },
                    "containers": [container],
                },
            },
        },
    }


_TOLERATIONS: tuple[Document, ...] = ({"operator": "Exists", "effect": "NoSchedule"},)
_ENVIRONMENT = {
    "PROVIDER": "aws",
    "PHASE2_PERMISSIONS": "true",
    "INTERRUPTION_POD_DELETION_ENABLED": "false",
    "LOG_LEVEL": "info",
    "POLL_INTERVAL_SECONDS": "3",
}


def _spot_nodes() -> Document:
    """Return the terms of which a Spot node meets one; none runs Windows."""
    (no_windows,) = workload.NO_WINDOWS["nodeSelectorTerms"]
    return {
        "nodeSelectorTerms": [
            {
                "matchExpressions": [
                    *no_windows["matchExpressions"],
                    {"key": key, "operator": "In", "values": list(values)},
                ]
            }
            for key, values in _SPOT_LABELS
        ]
    }
