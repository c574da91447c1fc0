"""Objects of the evictor, which moves pods together so that nodes become empty.

Source: castai/helm-charts, charts/castai-evictor
"""

import json

from castai_stack.agent.names import KEY_DIGEST, NAME_LABEL
from castai_stack.agent.release import Document
from castai_stack.agent.workloads import autoscaler_container
from castai_stack.automation import evictor_rbac
from castai_stack.automation.evictor_config import configuration, definition
from castai_stack.automation.names import (
    EVICTOR,
    EVICTOR_AUTOSCALER,
    EVICTOR_SIZES,
    EVICTOR_SIZES_KEY,
)
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

_HTTP = 8080
_USER = 1004
_PROBE: Document = {"httpGet": {"path": "/healthz", "port": "http"}}
_OWN: Document = {"charts.cast.ai/managed": "false"}
"""Label that keeps CAST AI from upgrading and scaling the deployment."""
AUTOSCALER_SELECTOR = {NAME_LABEL: EVICTOR_AUTOSCALER}
"""Labels of the autoscaler's selector, which the chart gives it without the release."""


def objects(release: Release, digest: object | None) -> dict[str, Document]:
    """Return the evictor's objects by part; `digest` changes with its environment."""
    cluster_role, role = evictor_rbac.cluster_role(release), evictor_rbac.role(release)
    return {
        "service-account": service_account(release, EVICTOR),
        "cluster-role": cluster_role,
        "cluster-role-binding": evictor_rbac.binding(release, cluster_role),
        "role": role,
        "role-binding": evictor_rbac.binding(release, role),
        "definition": definition(release),
        "configuration": configuration(release),
        "deployment": deployment(release, digest),
        "sizes": sizes(release),
        "autoscaler": autoscaler(release),
    }


def deployment(release: Release, digest: object | None) -> Document:
    """Return the deployment; its pod meets the `restricted` Pod Security level."""
    settings = release.settings.evictor
    metadata = workload_metadata(release, EVICTOR, settings.tag)
    container = {
        "name": EVICTOR,
        "image": image(release, "evictor", settings, settings.tag),
        "imagePullPolicy": "IfNotPresent",
        "env": [
            workload.field_variable("LEADER_ELECTION_NAMESPACE", "metadata.namespace"),
            *environment(release, _environment(release)),
        ],
        "envFrom": environment_sources(release),
        "ports": [{"name": "http", "containerPort": _HTTP}],
        "livenessProbe": _PROBE,
        "readinessProbe": _PROBE,
        "securityContext": workload.container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # The autoscaler owns the memory, as it does in the agent's deployment.
        "resources": {
            "requests": {"cpu": settings.cpu_request},
            "limits": {"cpu": settings.cpu_limit},
        },
    }
    annotations = {} if digest is None else {"annotations": {KEY_DIGEST: digest}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "labels": {**metadata["labels"], **_OWN}},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(EVICTOR)},
            "template": {
                "metadata": {
                    "labels": {**release.agent.labels, **selector(EVICTOR)},
                    **annotations,
                },
                "spec": {**_pod(release), "containers": [container]},
            },
        },
    }


def _environment(release: Release) -> dict[str, str]:
    """Return the variables, which an evictor without its configuration object falls back to."""
    settings = release.settings.evictor
    values: dict[str, object] = {
        "DRY_RUN": settings.dry_run,
        "AGGRESSIVE_MODE": settings.aggressive_mode,
        "SCOPED_MODE": settings.scoped_mode,
        "IGNORE_POD_DISRUPTION_BUDGETS": settings.ignore_pod_disruption_budgets,
        "CYCLE_INTERVAL": f"{settings.cycle_interval_seconds}s",
        "NODE_GRACE_PERIOD_MINUTES": settings.node_grace_period_minutes,
    }
    texts = {name: json.dumps(value).strip('"') for name, value in values.items()}
    return {
        "IN_CLUSTER": "true",
        "LEADER_ELECTION_ENABLED": "true",
        "SERVER_PORT": str(_HTTP),
        **texts,
        "LIVE_MIGRATION_ENABLED": "false",
        "WOOP_ENABLED": "false",
        "POD_MUTATIONS_ENABLED": "false",
        "MAX_TARGET_NODES_PER_CYCLE": "20",
        "K8S_CLIENT_RATE_LIMITER_QPS": "100",
        "K8S_CLIENT_RATE_LIMITER_BURST": "200",
        "CLEANUP_KARPENTER_NODES": "false",
        "SOFT_TAINTING": "false",
    }


def _pod(release: Release) -> Document:
    return {
        **pod(release, EVICTOR, release.settings.evictor),
        "securityContext": workload.security(_USER),
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": workload.NO_WINDOWS}
        },
    }


def sizes(release: Release) -> Document:
    """Return the configuration of the autoscaler that sets the evictor's memory."""
    requests, limits = (
        {"memory": {"base": base, "max": "24Gi", "step": "256Mi", "nodesPerStep": 20}}
        for base in ("200Mi", "2Gi")
    )
    content = {EVICTOR: {"requests": requests, "limits": limits}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_metadata(release, EVICTOR, EVICTOR_SIZES),
        "data": {EVICTOR_SIZES_KEY: json.dumps(content)},
    }


def autoscaler(release: Release) -> Document:
    """Return the deployment of that autoscaler; its image is that of the agent's autoscaler."""
    sizing = release.agent.autoscaling
    container = autoscaler_container(sizing, release.namespace, EVICTOR, EVICTOR_SIZES_KEY)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": workload_metadata(release, EVICTOR_AUTOSCALER, sizing.tag),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": AUTOSCALER_SELECTOR},
            "template": {
                "metadata": {"labels": {**release.agent.labels, **selector(EVICTOR_AUTOSCALER)}},
                "spec": {
                    **_pod(release),
                    "containers": [container],
                    "volumes": [
                        {"name": "autoscaler-config", "configMap": {"name": EVICTOR_SIZES}}
                    ],
                },
            },
        },
    }
