"""Objects of cluster-controller, which carries out CAST AI's actions in the cluster.

Source: castai/helm-charts, charts/castai-cluster-controller; castai/cluster-controller
"""

from castai_stack.agent.names import KEY_DIGEST, NAME_LABEL
from castai_stack.agent.release import Document
from castai_stack.agent.workloads import container_resources
from castai_stack.automation import controller_rbac
from castai_stack.automation.names import CONTROLLER, CONTROLLER_CONTAINER, LEASE
from castai_stack.automation.release import (
    Release,
    environment,
    environment_sources,
    image,
    object_metadata,
    pod,
    selector,
    service_account,
    workload_metadata,
)
from castai_stack.kube import workload

_HTTP, _METRICS = 6060, 9090
_SHARED = "/controller-metadata"
_PROBE: Document = {
    "httpGet": {"path": "/healthz", "port": "http"},
    "initialDelaySeconds": 5,
    "periodSeconds": 5,
}
"""Fails without an answer of CAST AI: two minutes after the start, later after ten.

Source: castai/cluster-controller, health/healthz.go
"""


def objects(release: Release, digest: object | None) -> dict[str, Document]:
    """Return the controller's objects by part; `digest` changes with its environment."""
    roles = {
        "cluster-role": controller_rbac.cluster_role(release),
        "extension-role": controller_rbac.extension_role(release),
        "role": controller_rbac.role(release),
    }
    parts = {"service-account": service_account(release, CONTROLLER)}
    for part, document in roles.items():
        parts[part] = document
        parts[f"{part}-binding"] = controller_rbac.binding(release, document)
    parts["budget"] = disruption_budget(release)
    parts["deployment"] = deployment(release, digest)
    return parts


def disruption_budget(release: Release) -> Document:
    """Return the budget that lets one controller pod go at a time.

    It counts available pods as the chart's does: Kubernetes allows one way to count, and the
    field of an adopted budget would stay beside another one.
    """
    available = release.settings.controller.replicas - 1
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": object_metadata(release, CONTROLLER),
        "spec": {"minAvailable": available, "selector": {"matchLabels": selector(CONTROLLER)}},
    }


def deployment(release: Release, digest: object | None) -> Document:
    """Return the deployment; its pods meet the `restricted` Pod Security level."""
    settings = release.settings.controller
    spec = {
        **pod(release, CONTROLLER, settings),
        "securityContext": workload.security(workload.NON_ROOT),
        "affinity": _AFFINITY,
        "containers": [_controller(release), _monitor(release)],
        "volumes": [{"name": "shared-metadata", "emptyDir": {"sizeLimit": "10Mi"}}],
    }
    annotations = {"kubectl.kubernetes.io/default-container": CONTROLLER_CONTAINER}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": workload_metadata(release, CONTROLLER, settings.tag),
        "spec": {
            "replicas": settings.replicas,
            "selector": {"matchLabels": selector(CONTROLLER)},
            "template": {
                "metadata": {
                    "labels": {**release.agent.labels, **selector(CONTROLLER)},
                    "annotations": annotations
                    if digest is None
                    else {**annotations, KEY_DIGEST: digest},
                },
                "spec": spec,
            },
        },
    }


_AFFINITY: Document = {
    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": workload.NO_WINDOWS},
    # The chart requires a node for each pod. A cluster of one node would never finish the rollout.
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {NAME_LABEL: CONTROLLER}},
                },
            }
        ]
    },
}


def _controller(release: Release) -> Document:
    return {
        **_container(release, CONTROLLER_CONTAINER, {"MAX_ACTIONS_IN_PROGRESS": "1000"}),
        "ports": [
            {"name": "http", "containerPort": _HTTP},
            {"name": "metrics", "containerPort": _METRICS},
        ],
        "livenessProbe": _PROBE,
        "readinessProbe": _PROBE,
        **container_resources(release.settings.controller.resources),
    }


def _monitor(release: Release) -> Document:
    return {
        **_container(release, "monitor", {}),
        "command": ["castai-cluster-controller", "monitor"],
        **container_resources(release.settings.controller.monitor),
    }


def _container(release: Release, name: str, own: dict[str, str]) -> Document:
    settings = release.settings.controller
    return {
        "name": name,
        "image": image(release, "cluster-controller", settings, settings.tag),
        "imagePullPolicy": "IfNotPresent",
        "env": [
            workload.field_variable("CAST_NAMESPACE", "metadata.namespace"),
            workload.field_variable("LEADER_ELECTION_NAMESPACE", "metadata.namespace"),
            workload.field_variable("KUBERNETES_NODE_NAME", "spec.nodeName"),
            workload.field_variable("KUBERNETES_POD", "metadata.name"),
            *environment(release, {**_ENVIRONMENT, **own}),
        ],
        "envFrom": environment_sources(release),
        # Helm, which only an upgrade starts, writes its cache to the container's file system.
        "securityContext": workload.container_security(writable=settings.self_upgrade),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "shared-metadata", "mountPath": _SHARED}],
    }


_ENVIRONMENT = {
    "LEADER_ELECTION_ENABLED": "true",
    "LEADER_ELECTION_LOCK_NAME": LEASE,
    "LEADER_ELECTION_LEASE_DURATION": "15s",
    "LEADER_ELECTION_LEASE_RENEW_DEADLINE": "10s",
    "KUBECLIENT_BURST": "400",
    "KUBECLIENT_QPS": "200",
    "LOG_LEVEL": "5",
    "MONITOR_METADATA": f"{_SHARED}/metadata",
    "DRAIN_DISABLE_VOLUME_DETACH_WAIT": "false",
    "VOLUME_ATTACHMENT_DEFAULT_TIMEOUT": "60s",
    "INFORMER_CACHE_SYNC_TIMEOUT": "1m",
    "INFORMER_ENABLE_POD": "false",
    "INFORMER_ENABLE_NODE": "false",
}
"""Variables of both containers, with the values of the chart."""
