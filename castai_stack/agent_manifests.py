"""Every object of the read-only agent as a plain document.

Names, rules and fields are those of CAST AI's own chart, so that other parts of CAST AI find what
they look for and an agent installed by the chart can be taken over in place.
Source: castai/helm-charts, charts/castai-agent.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    # Dynamic resources know the agent's names from here, and need no pydantic to compare.
    from castai_stack.settings import Agent

Document = dict[str, Any]

NAMESPACE = "castai-agent"
AGENT = "castai-agent"
AUTOSCALER = "castai-agent-cpvpa"
AUTOSCALER_CONFIG = "castai-agent-autoscaler"
TRUSTED_CA = "castai-agent-tls-cert"
QUOTA = "castai-agent-critical-pods"
METADATA_STORE = "castai-agent-metadata"
LEASES = ("agent-leader-election-lock", "agent-leader-election-lock-registration")
"""Made by the agent at run time, like the metadata store: castai/k8s-agent, internal/config."""

DEPLOYMENTS = ("deployment", "autoscaler")
"""Parts whose pods are waited for."""

KEY = "API_KEY"
CONTAINER = "agent"
"""The autoscaler's configuration names the container that it sizes."""
KEY_DIGEST = "castai-eks/key-digest"
"""Annotation of the pods: a new key restarts them, because they read it only when they start."""
FORCE = "pulumi.com/patchForce"
"""Annotation with which the provider applies a field that somebody else manages."""
SKIP_AWAIT = "pulumi.com/skipAwait"
"""Annotation that keeps the provider from waiting for an object."""

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGER = "pulumi"
PART_OF = "castai-eks"

_CONFIG_NAMESPACE = "kube-system"
_RBAC = "rbac.authorization.k8s.io"
_NON_ROOT = 65532
_HEALTH = 9876
_METRICS = 9877
_SHARED = "/agent-metadata"
_READ = ["get", "list", "watch"]
_DIGEST_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Release:
    """One installation of the agent: what it watches, and how it is set up."""

    cluster_name: str
    region: str
    account_id: str
    api_url: str
    settings: "Agent"
    namespace: str = NAMESPACE

    @property
    def key_secret(self) -> str:
        """Name of the secret that holds the key."""
        return self.settings.existing_secret or AGENT


def objects(
    release: Release,
    *,
    cluster_id: object = "",
    encoded_key: object = "",
    key_digest: object | None = None,
) -> dict[str, Document]:
    """Return every object that the settings ask for, each under the name of its part.

    Id, key and digest go where they belong and are not looked at. The order is that of need.
    """
    settings = release.settings
    made: dict[str, Document] = {}
    if settings.create_namespace:
        made["namespace"] = namespace(release)
    made |= {
        "service-account": service_account(release),
        "cluster-role": cluster_role(release),
        "cluster-role-binding": cluster_role_binding(release),
        "role": role(release),
        "role-binding": role_binding(release),
        "config-role": config_role(release),
        "config-role-binding": config_role_binding(release),
    }
    if settings.existing_secret is None:
        made["key"] = key_secret(release, encoded_key)
    if settings.trusted_ca_certificate is not None:
        made["trusted-ca"] = trusted_ca(release, settings.trusted_ca_certificate)
    if settings.priority_class:
        made["quota"] = resource_quota(release)
    if settings.network_policy:
        made["network-policy"] = network_policy(release)
    made["budget"] = disruption_budget(release)
    made["deployment"] = agent_deployment(release, cluster_id, key_digest)
    if settings.autoscaling.enabled:
        made["autoscaler-config"] = autoscaler_config(release)
        made["autoscaler"] = autoscaler_deployment(release)
    return {part: _forced(one) for part, one in made.items()}


def image(registry: str, name: str, tag: str, digest: str | None) -> str:
    """Return an image reference, pinned by its digest where one is given."""
    reference = f"{registry}/{name}:{tag}"
    return reference if digest is None else f"{reference}@{digest}"


def encoded(text: str) -> str:
    """Return the text in base64, as secrets hold it."""
    return base64.b64encode(text.encode()).decode()


def key_digest(key: str, settings: "Agent") -> str:
    """Tell one key and its authorities from another without giving any of them away."""
    seen = f"{key}\n{settings.trusted_ca_certificate or ''}"
    return hashlib.sha256(seen.encode()).hexdigest()[:_DIGEST_LENGTH]


def rollout_digest(release: Release, *known_later: str | None) -> str:
    """Tell one state of both deployments from another, with what only the engine knows of it."""
    documents = objects(release)
    specs = [documents[part]["spec"] for part in DEPLOYMENTS if part in documents]
    seen = json.dumps([specs, known_later], sort_keys=True)
    return hashlib.sha256(seen.encode()).hexdigest()[:_DIGEST_LENGTH]


def namespace(release: Release) -> Document:
    """Return the namespace; other parts of CAST AI live there, so it enforces no Pod Security."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": release.namespace, "labels": _labels(release)},
    }


def service_account(release: Release) -> Document:
    """Return the identity of both deployments."""
    role = release.settings.role_arn
    annotations = {} if role is None else {"eks.amazonaws.com/role-arn": role}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(release, AGENT, annotations=annotations),
    }


def key_secret(release: Release, encoded_key: object) -> Document:
    """Return the secret of the agent's key, which is given in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(release, AGENT),
        "type": "Opaque",
        "data": {KEY: encoded_key},
    }


def trusted_ca(release: Release, certificates: str) -> Document:
    """Return the further authorities that the agent trusts; it reads them from its environment."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(release, TRUSTED_CA),
        "type": "Opaque",
        "data": {"TLS_CA_CERT_FILE": encoded(certificates)},
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
        "metadata": {"name": AGENT, "labels": _labels(release)},
        "rules": rules,
    }


def cluster_role_binding(release: Release) -> Document:
    """Return the grant of the cluster role."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": AGENT, "labels": _labels(release)},
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
        "metadata": _metadata(release, AGENT),
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
        "metadata": _metadata(release, AGENT, in_namespace=_CONFIG_NAMESPACE),
        "rules": [_rule("", ("configmaps",), _READ)],
    }


def config_role_binding(release: Release) -> Document:
    """Return the grant of the role in kube-system."""
    return _role_binding(release, _CONFIG_NAMESPACE)


def resource_quota(release: Release) -> Document:
    """Return the quota that admits critical pods where a cluster limits them by namespace.

    It sets no limit of its own, and so asks no pod to declare memory.
    Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
    """
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        # The provider waits for limits to be in force, and would wait in vain: there are none.
        "metadata": _metadata(release, QUOTA, annotations={SKIP_AWAIT: "true"}),
        "spec": {
            "scopeSelector": {
                "matchExpressions": [
                    {
                        "operator": "In",
                        "scopeName": "PriorityClass",
                        "values": [release.settings.priority_class],
                    }
                ]
            }
        },
    }


def autoscaler_config(release: Release) -> Document:
    """Return the autoscaler's configuration: requests and limits grow alike.

    Source: kubernetes-sigs/cluster-proportional-vertical-autoscaler, README.md.
    """
    sizing = release.settings.autoscaling
    memory = {
        "memory": {
            "base": sizing.base,
            "max": sizing.max,
            "step": sizing.step,
            "nodesPerStep": sizing.nodes_per_step,
            "coresPerStep": sizing.cores_per_step,
        }
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(release, AUTOSCALER_CONFIG),
        "data": {
            AUTOSCALER_CONFIG: json.dumps({CONTAINER: {"requests": memory, "limits": memory}})
        },
    }


def agent_deployment(
    release: Release, cluster_id: object, key_digest: object | None = None
) -> Document:
    """Return the agent's deployment; id and digest are put where they belong and not looked at."""
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
    template: Document = {"labels": _pod_labels(release, AGENT)}
    if key_digest is not None:
        template["annotations"] = {KEY_DIGEST: key_digest}
    return _deployment(
        release, AGENT, version=settings.tag, replicas=settings.replicas, pod=(template, spec)
    )


def autoscaler_deployment(release: Release) -> Document:
    """Return the deployment that sizes the agent."""
    sizing = release.settings.autoscaling
    command = [
        "/cpvpa",
        f"--target=deployment/{AGENT}",
        f"--namespace={release.namespace}",
        "--logtostderr=true",
        f"--poll-period-seconds={sizing.poll_period_seconds}",
        f"--config-file=/etc/config/{AUTOSCALER_CONFIG}",
    ]
    container = {
        "name": "autoscaler",
        "image": image(sizing.image_registry, "cpvpa", sizing.tag, sizing.digest),
        "command": command,
        "securityContext": _container_security(),
        "volumeMounts": [{"name": "autoscaler-config", "mountPath": "/etc/config"}],
    }
    labels = {
        **_pod_labels(release, AUTOSCALER),
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


def disruption_budget(release: Release) -> Document:
    """Return the budget that lets one agent pod go at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(release, AGENT),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": _selector(AGENT)},
        },
    }


def network_policy(release: Release) -> Document:
    """Return the policy that lets both deployments look up names and talk HTTPS, and no more.

    The API server, CAST AI and AWS listen on 443; none has an address that is known beforehand.
    Without a role of its own the agent asks the node's metadata service for credentials.
    Probes come from the node, which network policies do not hold back.
    """
    egress: list[Document] = [
        {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        {"ports": [{"port": port, "protocol": "TCP"} for port in sorted(_https_ports(release))]},
    ]
    if release.settings.role_arn is None:
        egress.append(
            {
                "to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}],
                "ports": [{"port": 80, "protocol": "TCP"}],
            }
        )
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(release, AGENT),
        "spec": {
            "podSelector": {"matchLabels": {INSTANCE_LABEL: AGENT}},
            "policyTypes": ["Ingress", "Egress"],
            "egress": egress,
        },
    }


def _forced(document: Document) -> Document:
    """Have the provider take back fields that others changed, or had before an adoption.

    Without it every such field is a conflict that ends the update.
    """
    metadata = document["metadata"]
    annotations = {**metadata.get("annotations", {}), FORCE: "true"}
    return {**document, "metadata": {**metadata, "annotations": annotations}}


def _labels(release: Release, name: str = AGENT) -> dict[str, str]:
    """Return the labels of an object; only deployments bear a version, so that only they change."""
    return {
        **release.settings.labels,
        **_selector(name),
        MANAGED_BY_LABEL: MANAGER,
        PART_OF_LABEL: PART_OF,
    }


def _selector(name: str) -> dict[str, str]:
    """Return the labels by which a deployment knows its pods: they can never change."""
    return {NAME_LABEL: name, INSTANCE_LABEL: AGENT}


def _pod_labels(release: Release, name: str) -> dict[str, str]:
    return {**release.settings.labels, **_selector(name)}


def _metadata(
    release: Release,
    name: str,
    *,
    in_namespace: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Document:
    metadata: Document = {
        "name": name,
        "namespace": in_namespace or release.namespace,
        "labels": _labels(release, name if name == AUTOSCALER else AGENT),
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata


def _rule(group: str, resources: tuple[str, ...], verbs: list[str]) -> Document:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _subjects(release: Release) -> list[Document]:
    return [{"kind": "ServiceAccount", "name": AGENT, "namespace": release.namespace}]


def _role_binding(release: Release, in_namespace: str) -> Document:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(release, AGENT, in_namespace=in_namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": AGENT},
        "subjects": _subjects(release),
    }


def _deployment(
    release: Release,
    name: str,
    *,
    version: str,
    replicas: int,
    pod: tuple[Document, Document],
) -> Document:
    # A resource of our own waits for the rollout and says more than the provider if it fails.
    metadata = _metadata(release, name, annotations={SKIP_AWAIT: "true"})
    labels = {**metadata["labels"], "app.kubernetes.io/version": version}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": _selector(name)},
            "template": {"metadata": pod[0], "spec": pod[1]},
        },
    }


def _pod(release: Release) -> Document:
    """Return what both deployments share; it meets the `restricted` Pod Security level.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    settings = release.settings
    pod: Document = {
        "serviceAccountName": AGENT,
        "automountServiceAccountToken": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NON_ROOT,
            "runAsGroup": _NON_ROOT,
            "fsGroup": _NON_ROOT,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": _AFFINITY if settings.affinity is None else settings.affinity,
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
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
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": "kubernetes.io/os", "operator": "NotIn", "values": ["windows"]}
                    ]
                }
            ]
        },
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


def _container_security() -> Document:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _agent(release: Release, cluster_id: object) -> Document:
    settings = release.settings
    resources: Document = {
        "requests": {"cpu": settings.cpu_request},
        "limits": {"cpu": settings.cpu_limit},
    }
    if not settings.autoscaling.enabled:
        # With the autoscaler on, memory is its field alone: once declared here, each change of
        # the deployment would fail with a conflict, and ignore_changes does not reach into lists.
        resources["requests"]["memory"] = settings.memory
        resources["limits"]["memory"] = settings.memory
    surroundings: dict[str, object] = {
        "METADATA_STORE_ENABLED": "true",
        "METADATA_STORE_CONFIG_MAP_NAME": METADATA_STORE,
        "METADATA_STORE_CONFIG_MAP_NAMESPACE": release.namespace,
        "MONITOR_METADATA": f"{_SHARED}/metadata",
        "CONTROLLER_CONFIG_MAP_NAMESPACES": f"{release.namespace},{_CONFIG_NAMESPACE}",
    }
    # The agent wants all three EKS variables or none; without them it asks the node's metadata
    # service, which clusters block: castai/k8s-agent, internal/config/config.go.
    added: dict[str, object] = {
        "EKS_ACCOUNT_ID": release.account_id,
        "EKS_CLUSTER_NAME": release.cluster_name,
        "EKS_REGION": release.region,
        "STATIC_CLUSTER_ID": cluster_id,
    }
    if release.namespace != NAMESPACE:
        added["LEADER_ELECTION_NAMESPACE"] = release.namespace
    own = [*_self(), *_variables(_reports(release)), *_variables(surroundings)]
    return {
        **_common_container(release, CONTAINER, [*own, *_added(release, added)]),
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
    own = [*_variables(mode), *_self(), *_variables(_reports(release))]
    return {
        **_common_container(release, "monitor", [*own, *_added(release, {})]),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }


def _common_container(release: Release, name: str, env: list[Document]) -> Document:
    settings = release.settings
    secrets = [release.key_secret]
    if settings.trusted_ca_certificate is not None:
        secrets.append(TRUSTED_CA)
    container: Document = {
        "name": name,
        "image": image(settings.image_registry, "agent", settings.tag, settings.digest),
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "envFrom": [{"secretRef": {"name": secret}} for secret in secrets],
        "securityContext": _container_security(),
        "volumeMounts": [{"name": "shared-metadata", "mountPath": _SHARED}],
    }
    if not settings.adopt:
        # Lets a pod tell why it ended; an adopted one keeps its fields and need not restart.
        container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return container


# Variables stand in the chart's order, its additions by name: the order is part of what a pod is,
# and with another one an adopted agent would restart.


def _self() -> list[Document]:
    return [
        _field("SELF_POD_NAME", "metadata.name"),
        _field("SELF_POD_NAMESPACE", "metadata.namespace"),
        _field("SELF_POD_NODE", "spec.nodeName"),
    ]


def _reports(release: Release) -> dict[str, object]:
    return {"API_URL": release.api_url, "PROVIDER": "eks"}


def _added(release: Release, own: Mapping[str, object]) -> list[Document]:
    added = {
        "PPROF_PORT": "6060",
        **own,
        **_proxy_env(release),
        **release.settings.extra_env,
    }
    return _variables(dict(sorted(added.items())))


def _variables(values: Mapping[str, object]) -> list[Document]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _field(name: str, path: str) -> Document:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _proxy_env(release: Release) -> dict[str, str]:
    proxy = release.settings.proxy
    given = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https}
    env = {name: str(address) for name, address in given.items() if address is not None}
    if env:
        # The kubelet fills in the API server's address, which the agent dials by number.
        # https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
        direct = ["$(KUBERNETES_SERVICE_HOST)", ".svc", ".cluster.local", "169.254.169.254"]
        env["NO_PROXY"] = ",".join([*direct, *proxy.no_proxy])
    return env


def _https_ports(release: Release) -> set[int]:
    addresses = [release.api_url, release.settings.proxy.http, release.settings.proxy.https]
    return {443} | {port for address in addresses if (port := _port(address)) is not None}


def _port(address: str | None) -> int | None:
    if address is None:
        return None
    parts = urlsplit(address)
    return parts.port or (443 if parts.scheme == "https" else 80)
