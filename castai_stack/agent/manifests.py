"""Every object of the read-only agent as a plain document.

Names, rules and fields are those of CAST AI's own chart, so that other parts of CAST AI find what
they look for and an agent installed by the chart can be taken over in place.
Source: castai/helm-charts, charts/castai-agent.
"""

import base64
import hashlib
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from castai_stack.agent.names import (
    AGENT,
    AUTOSCALER_CONFIG,
    CONTAINER,
    DEPLOYMENTS,
    INSTANCE_LABEL,
    KEY,
    LEASES,
    METADATA_STORE,
    QUOTA,
    TRUSTED_CA,
)
from castai_stack.agent.rbac import binding, cluster_role, config_role, role, service_account
from castai_stack.agent.release import (
    DIGEST_LENGTH,
    SKIP_AWAIT,
    Document,
    Release,
    forced,
    object_labels,
    object_metadata,
    pod_selector,
)
from castai_stack.agent.workloads import agent_deployment, autoscaler_deployment

if TYPE_CHECKING:
    from castai_stack.agent.settings import Agent


def objects(
    release: Release,
    *,
    cluster_id: object = "",
    encoded_key: object = "",
    key_digest: object | None = None,
) -> dict[str, Document]:
    """Return every object that the settings ask for, each under the name of its part.

    Id, key and digest may be Outputs. An object comes after those that it needs.
    """
    settings = release.settings
    parts: dict[str, Document] = {}
    if settings.create_namespace:
        parts["namespace"] = namespace(release)
    parts["service-account"] = service_account(release)
    roles = {
        "cluster-role": cluster_role(release),
        "role": role(release),
        "config-role": config_role(release),
    }
    for part, document in roles.items():
        parts[part] = document
        parts[f"{part}-binding"] = binding(release, document)
    if settings.existing_secret is None:
        parts["key"] = key_secret(release, encoded_key)
    if settings.trusted_ca_certificate is not None:
        parts["trusted-ca"] = trusted_ca(release, settings.trusted_ca_certificate)
    if settings.priority_class:
        parts["quota"] = resource_quota(release)
    if settings.network_policy:
        parts["network-policy"] = network_policy(release)
    parts["budget"] = disruption_budget(release)
    parts["deployment"] = agent_deployment(release, cluster_id, key_digest)
    if settings.autoscaling.enabled:
        parts["autoscaler-config"] = autoscaler_config(release)
        parts["autoscaler"] = autoscaler_deployment(release)
    return {part: forced(one) for part, one in parts.items()}


def runtime_objects(in_namespace: str) -> list[Document]:
    """Return kind and name of each object that CAST AI's workloads create at run time."""
    return [
        {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name, "namespace": in_namespace},
        }
        for version, kind, name in (
            ("v1", "ConfigMap", METADATA_STORE),
            *(("coordination.k8s.io/v1", "Lease", name) for name in LEASES),
        )
    ]


def encoded(text: str) -> str:
    """Return the text in base64, as secrets hold it."""
    return base64.b64encode(text.encode()).decode()


def key_digest(key: str, settings: "Agent") -> str:
    """Return a digest of the key and the authorities, which reveals neither."""
    text = f"{key}\n{settings.trusted_ca_certificate or ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def rollout_digest(release: Release, *engine_values: str | None) -> str:
    """Return a digest of both deployments and of values that only the engine knows."""
    documents = objects(release)
    specs = [documents[part]["spec"] for part in DEPLOYMENTS if part in documents]
    text = json.dumps([specs, engine_values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def namespace(release: Release) -> Document:
    """Return the namespace; other parts of CAST AI live there, so it enforces no Pod Security."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": release.namespace, "labels": object_labels(release)},
    }


def key_secret(release: Release, encoded_key: object) -> Document:
    """Return the secret of the agent's key, which is given in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": object_metadata(release, AGENT),
        "type": "Opaque",
        "data": {KEY: encoded_key},
    }


def trusted_ca(release: Release, certificates: str) -> Document:
    """Return the authorities that the agent trusts instead of the system's.

    Source: castai/k8s-agent, pkg/castai/castai.go
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": object_metadata(release, TRUSTED_CA),
        "type": "Opaque",
        "data": {"TLS_CA_CERT_FILE": encoded(certificates)},
    }


def resource_quota(release: Release) -> Document:
    """Return the quota that admits critical pods where a cluster limits them by namespace.

    It sets no limit of its own, and so asks no pod to declare memory.
    Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
    """
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        # The provider waits for limits to be in force, and would wait in vain: there are none.
        "metadata": object_metadata(release, QUOTA, annotations={SKIP_AWAIT: "true"}),
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
        "metadata": object_metadata(release, AUTOSCALER_CONFIG),
        "data": {
            AUTOSCALER_CONFIG: json.dumps({CONTAINER: {"requests": memory, "limits": memory}})
        },
    }


def disruption_budget(release: Release) -> Document:
    """Return the budget that lets one agent pod go at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": object_metadata(release, AGENT),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": pod_selector(AGENT)},
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
        "metadata": object_metadata(release, AGENT),
        "spec": {
            "podSelector": {"matchLabels": {INSTANCE_LABEL: AGENT}},
            "policyTypes": ["Ingress", "Egress"],
            "egress": egress,
        },
    }


def _https_ports(release: Release) -> set[int]:
    addresses = [release.api_url, release.settings.proxy.http, release.settings.proxy.https]
    return {443} | {port for address in addresses if (port := _port(address)) is not None}


def _port(address: str | None) -> int | None:
    if address is None:
        return None
    parts = urlsplit(address)
    return parts.port or (443 if parts.scheme == "https" else 80)
