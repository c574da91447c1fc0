"""Settings of the read-only agent."""

from typing import Annotated, Any

from pydantic import Field

from castai_stack.fields import (
    Arn,
    Certificates,
    Digest,
    Image,
    LabelKey,
    LabelValue,
    ObjectName,
    PriorityClass,
    ProxyUrl,
    Quantity,
    Registry,
    Section,
    checked_text,
)

AgentVariable = Annotated[
    str,
    checked_text(
        r"(?!(API_KEY|API_URL|PROVIDER|MODE|PPROF_PORT|MONITOR_METADATA|TLS_CA_CERT_FILE"
        r"|STATIC_CLUSTER_ID|CONTROLLER_CONFIG_MAP_NAMESPACES|LEADER_ELECTION_NAMESPACE"
        r"|EKS_ACCOUNT_ID|EKS_REGION|EKS_CLUSTER_NAME|HTTPS?_PROXY|NO_PROXY"
        r"|(SELF_POD|METADATA_STORE)_\w+)$)[A-Za-z_]\w*",
        "the name of a variable that this program does not set itself",
    ),
]


class Proxy(Section):
    """HTTP proxy of the agent.

    A proxy that wants a password goes into an existing secret instead, as `HTTPS_PROXY`: the agent
    takes every key of the secret as a variable.
    """

    http: ProxyUrl | None = None
    """Address for plain HTTP."""
    https: ProxyUrl | None = None
    """Address for HTTPS."""
    no_proxy: list[str] = []
    """Beyond the cluster's own addresses, which never go through the proxy."""


class Autoscaling(Section):
    """Sizing of the agent by cluster-proportional-vertical-autoscaler.

    Memory is `base` plus `step` for every `nodes_per_step` nodes or `cores_per_step` cores,
    whichever is more, up to `max`.
    """

    enabled: bool = True
    """Size the agent's memory by the cluster; off, `agent.memory` holds."""
    base: Quantity = "2Gi"
    """Memory of the smallest cluster."""
    max: Quantity = "8Gi"
    """Most memory."""
    step: Quantity = "256Mi"
    """Memory added per step."""
    nodes_per_step: Annotated[int, Field(ge=1)] = 20
    """Nodes that make a step."""
    cores_per_step: Annotated[int, Field(ge=1)] = 480
    """Cores that make a step."""
    tag: Image = "v0.8.4"
    """Version of the autoscaler's image."""
    digest: Digest | None = None
    """Pins that image beyond its tag."""
    image_registry: Registry = "registry.k8s.io/cpa"
    """Where that image is."""
    poll_period_seconds: Annotated[int, Field(ge=5)] = 300
    """How often the autoscaler looks."""


class Agent(Section):
    """The read-only agent.

    The versions of both images stand here and in `Autoscaling`, and nowhere else.
    """

    tag: Image = "v0.123.1"
    """Version of the agent's image."""
    digest: Digest | None = None
    """Pins the image beyond its tag."""
    image_registry: Registry = "us-docker.pkg.dev/castai-hub/library"
    """Where the agent's image is."""
    pull_secrets: list[ObjectName] = []
    """Secrets of the namespace that open a private registry, for both images."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 2
    """Pods of the agent; one leads, the others stand by."""
    cpu_request: Quantity = "100m"
    """CPU that each pod asks for."""
    cpu_limit: Quantity = "1000m"
    """CPU that each pod may use."""
    memory: Quantity = "2Gi"
    """Request and limit when autoscaling is off."""
    autoscaling: Autoscaling = Autoscaling()
    proxy: Proxy = Proxy()
    trusted_ca_certificate: Certificates | None = None
    """Further authorities that the agent trusts, such as that of a proxy."""
    node_selector: dict[str, str] = {}
    """Labels of the nodes that may run the agent."""
    tolerations: list[dict[str, Any]] = []
    """Beyond that of `CriticalAddonsOnly`."""
    affinity: dict[str, Any] | None = None
    """Instead of the default: no Windows nodes, nodes of CAST AI preferred."""
    priority_class: PriorityClass = "system-cluster-critical"
    """Empty for none; the resource quota then falls away, too."""
    topology_spread: bool = True
    """Spread the pods over nodes where possible."""
    network_policy: bool = False
    """Allow the agent no more traffic than it needs: name lookups and HTTPS going out."""
    extra_env: dict[AgentVariable, str] = {}
    """Further variables of the agent."""
    labels: dict[LabelKey, LabelValue] = {}
    """On every object and pod; selectors never change."""
    create_namespace: bool = True
    """Off: the namespace `castai-agent` is there, and stays after a destroy."""
    existing_secret: ObjectName | None = None
    """A secret of the namespace with the key `API_KEY`; none is made then."""
    role_arn: Arn | None = None
    """IRSA role of the agent's service account."""
    read_custom_resources: bool = True
    """Off: no rule for the custom resources of other projects and of CAST AI."""
    rollout_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait for the pods."""
    adopt: bool = False
    """Take over an agent that the vendor's script or chart installed."""
