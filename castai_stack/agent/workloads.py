"""Deployments of the agent and of its autoscaler."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from castai_stack.agent.names import (
    AGENT,
    AUTOSCALER,
    AUTOSCALER_CONFIG,
    CONTAINER,
    KEY_DIGEST,
    METADATA_STORE,
    NAME_LABEL,
    NAMESPACE,
    TRUSTED_CA,
)
from castai_stack.agent.rbac import CONFIG_NAMESPACE
from castai_stack.agent.release import (
    CRITICAL,
    HIBERNATION,
    SKIP_AWAIT,
    Document,
    Release,
    object_metadata,
    pod_labels,
    pod_selector,
    proxy_variables,
)
from castai_stack.kube import workload

if TYPE_CHECKING:
    from castai_stack.agent.settings import Autoscaling, Resources

_HEALTH = 9876
_METRICS = 9877
_SHARED = "/agent-metadata"


def agent_deployment(
    release: Release, cluster_id: object, key_digest: object | None = None
) -> Document:
    """Return the agent's deployment; `cluster_id` and `key_digest` may be Outputs."""
    settings = release.settings
    spec = {
        **_pod(release),
        "shareProcessNamespace": True,
        "containers": [_agent(release, cluster_id), _monitor(release)],
        "volumes": [{"name": "shared-metadata", "emptyDir": {}}],
    }
    if settings.topology_spread:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {NAME_LABEL: AGENT}},
            }
        ]
    template: Document = {"labels": pod_labels(release, AGENT)}
    if key_digest is not None:
        template["annotations"] = {KEY_DIGEST: key_digest}
    return _deployment(
        release, AGENT, version=settings.tag, replicas=settings.replicas, pod=(template, spec)
    )


def autoscaler_deployment(release: Release) -> Document:
    """Return the deployment of the autoscaler, which sets the agent's memory."""
    sizing = release.settings.autoscaling
    container = autoscaler_container(sizing, release.namespace, AGENT, AUTOSCALER_CONFIG)
    labels = {
        **pod_labels(release, AUTOSCALER),
        "autoscaling.cast.ai/disposable": "true",
    }
    spec = {
        **_pod(release),
        "containers": [container],
        "volumes": [{"name": "autoscaler-config", "configMap": {"name": AUTOSCALER_CONFIG}}],
    }
    return _deployment(
        release, AUTOSCALER, version=sizing.tag, replicas=1, pod=({"labels": labels}, spec)
    )


def autoscaler_container(
    sizing: "Autoscaling", namespace: str, target: str, config_key: str
) -> Document:
    """Return a container that sizes the deployment `target`; it mounts `autoscaler-config`.

    Source: kubernetes-sigs/cluster-proportional-vertical-autoscaler, README.md
    """
    return {
        "name": "autoscaler",
        "image": workload.image(sizing.image_registry, "cpvpa", sizing.tag, sizing.digest),
        "command": [
            "/cpvpa",
            f"--target=deployment/{target}",
            f"--namespace={namespace}",
            "--logtostderr=true",
            f"--poll-period-seconds={sizing.poll_period_seconds}",
            f"--config-file=/etc/config/{config_key}",
        ],
        "securityContext": workload.container_security(),
        "volumeMounts": [{"name": "autoscaler-config", "mountPath": "/etc/config"}],
        **container_resources(sizing.resources),
    }


def _deployment(
    release: Release,
    name: str,
    *,
    version: str,
    replicas: int,
    pod: tuple[Document, Document],
) -> Document:
    # AgentRollout waits instead of the provider, and explains what keeps the pods from running.
    metadata = object_metadata(release, name, annotations={SKIP_AWAIT: "true"})
    labels = {**metadata["labels"], "app.kubernetes.io/version": version}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": pod_selector(name)},
            "template": {"metadata": pod[0], "spec": pod[1]},
        },
    }


def _pod(release: Release) -> Document:
    """Return the pod of both deployments; it meets the `restricted` Pod Security level."""
    settings = release.settings
    pod: Document = {
        "serviceAccountName": AGENT,
        "automountServiceAccountToken": True,
        "securityContext": workload.security(workload.NON_ROOT),
        "affinity": _AFFINITY if settings.affinity is None else settings.affinity,
        "tolerations": [
            CRITICAL,
            # Adopted pods keep their fields, so that they need not restart.
            *([] if settings.adopt else [HIBERNATION]),
            *settings.tolerations,
        ],
    }
    if settings.priority_class:
        pod["priorityClassName"] = settings.priority_class
    if settings.node_selector:
        pod["nodeSelector"] = settings.node_selector
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    return pod


_AFFINITY: Document = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": workload.NO_WINDOWS,
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "preference": {
                    "matchExpressions": [
                        {
                            "key": "provisioner.cast.ai/managed-by",
                            "operator": "In",
                            "values": ["cast.ai"],
                        }
                    ]
                },
            }
        ],
    }
}


def _agent(release: Release, cluster_id: object) -> Document:
    settings = release.settings
    resources: Document = {
        "requests": {"cpu": settings.cpu_request},
        "limits": {"cpu": settings.cpu_limit},
    }
    if not settings.autoscaling.enabled:
        # The autoscaler owns the field `memory`. Declared here as well, every update of the
        # deployment would end in a conflict, and ignore_changes does not reach into lists.
        resources["requests"]["memory"] = settings.memory
        resources["limits"]["memory"] = settings.memory
    metadata_store: dict[str, object] = {
        "METADATA_STORE_ENABLED": "true",
        "METADATA_STORE_CONFIG_MAP_NAME": METADATA_STORE,
        "METADATA_STORE_CONFIG_MAP_NAMESPACE": release.namespace,
        "MONITOR_METADATA": f"{_SHARED}/metadata",
        "CONTROLLER_CONFIG_MAP_NAMESPACES": f"{release.namespace},{CONFIG_NAMESPACE}",
    }
    # The agent needs all three EKS variables. Without them it asks the node's metadata service,
    # which many clusters block: castai/k8s-agent, internal/config/config.go.
    added: dict[str, object] = {
        "EKS_ACCOUNT_ID": release.account_id,
        "EKS_CLUSTER_NAME": release.cluster_name,
        "EKS_REGION": release.region,
        "STATIC_CLUSTER_ID": cluster_id,
    }
    if release.namespace != NAMESPACE:
        added["LEADER_ELECTION_NAMESPACE"] = release.namespace
    own = [*_self(), *workload.variables(_reports(release)), *workload.variables(metadata_store)]
    return {
        **_common_container(release, CONTAINER, [*own, *_additions(release, added)]),
        "ports": [
            {"name": "healthz", "containerPort": _HEALTH},
            {"name": "metrics", "containerPort": _METRICS},
        ],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "healthz"},
            "initialDelaySeconds": 30,
            "periodSeconds": 10,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "healthz"},
            "initialDelaySeconds": 10,
        },
        "resources": resources,
    }


def _monitor(release: Release) -> Document:
    mode = {"MODE": "monitor", "MONITOR_METADATA": f"{_SHARED}/metadata"}
    own = [*workload.variables(mode), *_self(), *workload.variables(_reports(release))]
    return {
        **_common_container(release, "monitor", [*own, *_additions(release, {})]),
        **container_resources(release.settings.monitor),
    }


def container_resources(resources: "Resources") -> Document:
    """Return the field `resources` of a container; quantities that are None are left out."""
    values = {
        "requests": {"cpu": resources.cpu_request, "memory": resources.memory_request},
        "limits": {"cpu": resources.cpu_limit, "memory": resources.memory_limit},
    }
    present = {
        kind: given
        for kind, entries in values.items()
        if (given := {name: value for name, value in entries.items() if value is not None})
    }
    return {"resources": present} if present else {}


def _common_container(release: Release, name: str, env: list[Document]) -> Document:
    settings = release.settings
    secrets = [release.key_secret]
    if settings.trusted_ca_certificate is not None:
        secrets.append(TRUSTED_CA)
    container: Document = {
        "name": name,
        "image": workload.image(settings.image_registry, "agent", settings.tag, settings.digest),
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "envFrom": [{"secretRef": {"name": secret}} for secret in secrets],
        "securityContext": workload.container_security(),
        "volumeMounts": [{"name": "shared-metadata", "mountPath": _SHARED}],
    }
    if not settings.adopt:
        # The log's end becomes the termination message. Adopted pods keep their fields, so that
        # they need not restart.
        container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return container


# Variables are in the order of the vendor's chart, additions by name. The order is part of the pod
# template, so another order would restart an adopted agent.


def _self() -> list[Document]:
    return [
        workload.field_variable("SELF_POD_NAME", "metadata.name"),
        workload.field_variable("SELF_POD_NAMESPACE", "metadata.namespace"),
        workload.field_variable("SELF_POD_NODE", "spec.nodeName"),
    ]


def _reports(release: Release) -> dict[str, object]:
    return {"API_URL": release.api_url, "PROVIDER": "eks"}


def _additions(release: Release, own: Mapping[str, object]) -> list[Document]:
    additions = {
        "PPROF_PORT": "6060",
        **own,
        **proxy_variables(release.settings.proxy),
        **release.settings.extra_env,
    }
    return workload.variables(dict(sorted(additions.items())))
