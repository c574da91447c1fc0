"""Settings as typed dictionaries, for programs; `make readme` writes them from the models."""

from typing import Any, TypedDict


class ProxySettings(TypedDict, total=False):
    """HTTP proxy of the agent.

    A proxy with a password belongs in an existing secret, as `HTTPS_PROXY`: the agent takes every
    key of the secret as a variable.
    """

    http: str
    """Address for plain HTTP."""
    https: str
    """Address for HTTPS."""
    no_proxy: list[str]
    """Hosts that bypass the proxy, besides the cluster's own."""


class ResourcesSettings(TypedDict, total=False):
    """Requests and limits of one container; Kubernetes sets none for an absent key.

    A ResourceQuota that limits CPU or memory admits only pods whose containers all have them.
    Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
    """

    cpu_request: str
    """CPU that the container reserves."""
    cpu_limit: str
    """Upper bound of its CPU."""
    memory_request: str
    """Memory that the container reserves."""
    memory_limit: str
    """Upper bound of its memory."""


class AutoscalingSettings(TypedDict, total=False):
    """Sizing of the agent by cluster-proportional-vertical-autoscaler.

    Memory is `base` plus `step` for every `nodes_per_step` nodes or `cores_per_step` cores,
    whichever is more, up to `max`.
    """

    enabled: bool
    """Size the agent's memory by the cluster; if false, `agent.memory` applies. Default: `true`."""
    base: str
    """Memory of the smallest cluster. Default: `2Gi`."""
    max: str
    """Upper bound of the agent's memory. Default: `8Gi`."""
    step: str
    """Memory added per step. Default: `256Mi`."""
    nodes_per_step: int
    """Nodes that make a step. Default: `20`."""
    cores_per_step: int
    """Cores that make a step. Default: `480`."""
    tag: str
    """Version of the autoscaler's image. Default: `v0.8.4`."""
    digest: str
    """Pins that image beyond its tag."""
    image_registry: str
    """Where that image is. Default: `registry.k8s.io/cpa`."""
    poll_period_seconds: int
    """Seconds between two measurements of the cluster. Default: `300`."""
    resources: ResourcesSettings
    """Requests and limits of the autoscaler's own container."""


class MonitorSettings(TypedDict, total=False):
    """Requests and limits of the container `monitor`, which reports why an agent pod stopped."""

    cpu_request: str
    """CPU that the container reserves. Default: `100m`."""
    cpu_limit: str
    """Upper bound of its CPU."""
    memory_request: str
    """Memory that the container reserves. Default: `128Mi`."""
    memory_limit: str
    """Upper bound of its memory."""


class AgentSettings(TypedDict, total=False):
    """The read-only agent.

    The versions of both images stand here and in `Autoscaling`, and nowhere else.
    """

    tag: str
    """Version of the agent's image. Default: `v0.161.1`."""
    digest: str
    """Pins the image beyond its tag."""
    image_registry: str
    """Where the agent's image is. Default: `us-docker.pkg.dev/castai-hub/library`."""
    pull_secrets: list[str]
    """Secrets of the namespace that open a private registry, for both images."""
    replicas: int
    """Pods of the agent; one leads, the others stand by. Default: `2`."""
    cpu_request: str
    """CPU that the agent's container reserves. Default: `100m`."""
    cpu_limit: str
    """Upper bound of the CPU of the agent's container. Default: `1000m`."""
    memory: str
    """Memory request and limit of the agent's container without autoscaling. Default: `2Gi`."""
    monitor: MonitorSettings
    """Requests and limits of the container `monitor`, which reports why an agent pod stopped."""
    autoscaling: AutoscalingSettings
    """Sizing of the agent by cluster-proportional-vertical-autoscaler. Memory is `base` plus `step`
    for every `nodes_per_step` nodes or `cores_per_step` cores, whichever is more, up to `max`.
    """
    proxy: ProxySettings
    """HTTP proxy of the agent. A proxy with a password belongs in an existing secret, as
    `HTTPS_PROXY`: the agent takes every key of the secret as a variable.
    """
    trusted_ca_certificate: str
    """Authorities that the agent trusts instead of the system's; include all that it needs."""
    node_selector: dict[str, str]
    """Labels of the nodes that may run the agent."""
    tolerations: list[dict[str, Any]]
    """Tolerations besides `CriticalAddonsOnly` and that of a cluster that resumes."""
    affinity: dict[str, Any]
    """Replaces the default: no Windows nodes, nodes of CAST AI preferred."""
    priority_class: str
    """Priority class of the pods; empty for none, and then without the resource quota. Default:
    `system-cluster-critical`.
    """
    topology_spread: bool
    """Spread the pods over nodes where possible. Default: `true`."""
    network_policy: bool
    """Allow the agent no more traffic than it needs: name lookups and HTTPS going out. Default:
    `false`.
    """
    extra_env: dict[str, str]
    """Further variables of the agent."""
    labels: dict[str, str]
    """On every object and pod; selectors never change."""
    create_namespace: bool
    """Off: the namespace `castai-agent` is there, and stays after a destroy. Default: `true`."""
    existing_secret: str
    """A secret of the namespace with the key `API_KEY`; none is made then."""
    role_arn: str
    """IRSA role of the agent's service account."""
    read_custom_resources: bool
    """Off: no rule for the custom resources of other projects and of CAST AI. Default: `true`."""
    rollout_timeout_seconds: int
    """How long to wait for the pods. Default: `600`."""
