"""Settings of the read-only agent."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, WrapValidator, field_validator, model_validator
from pydantic_core import PydanticCustomError

from castai_stack.fields import (
    AnyLabelKey,
    Certificates,
    Cpu,
    Digest,
    Image,
    LabelKey,
    LabelValue,
    Memory,
    ObjectName,
    PriorityClass,
    ProxyUrl,
    Registry,
    RoleArn,
    Section,
    at_least,
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

    A proxy with a password belongs in an existing secret, as `HTTPS_PROXY`: the agent takes every
    key of the secret as a variable.
    """

    http: ProxyUrl | None = None
    """Address for plain HTTP."""
    https: ProxyUrl | None = None
    """Address for HTTPS."""
    no_proxy: list[str] = []
    """Hosts that bypass the proxy, besides the cluster's own."""


class Resources(Section):
    """Requests and limits of one container; Kubernetes sets none for an absent key.

    A ResourceQuota that limits CPU or memory admits only pods whose containers all have them.
    Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
    """

    cpu_request: Cpu | None = None
    """CPU that the container reserves."""
    cpu_limit: Cpu | None = None
    """Upper bound of its CPU."""
    memory_request: Memory | None = None
    """Memory that the container reserves."""
    memory_limit: Memory | None = None
    """Upper bound of its memory."""

    @field_validator("cpu_limit", "memory_limit")
    @classmethod
    def _limit(cls, value: str | None, info: ValidationInfo) -> str | None:
        resource = str(info.field_name).removesuffix("_limit")
        return at_least(value, f"{resource}Request", info.data.get(f"{resource}_request"))


class Monitor(Resources):
    """Requests and limits of the container `monitor`, which reports why an agent pod stopped."""

    cpu_request: Cpu | None = "100m"
    """CPU that the container reserves."""
    memory_request: Memory | None = "128Mi"
    """Memory that the container reserves."""


class Autoscaling(Section):
    """Sizing of the agent by cluster-proportional-vertical-autoscaler.

    Memory is `base` plus `step` for every `nodes_per_step` nodes or `cores_per_step` cores,
    whichever is more, up to `max`.
    """

    enabled: bool = True
    """Size the agent's memory by the cluster; if false, `agent.memory` applies."""
    base: Memory = "2Gi"
    """Memory of the smallest cluster."""
    max: Annotated[Memory, Field(validate_default=True)] = "8Gi"
    """Upper bound of the agent's memory."""
    step: Memory = "256Mi"
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
    """Seconds between two measurements of the cluster."""
    resources: Resources = Resources()
    """Requests and limits of the autoscaler's own container."""

    @field_validator("max")
    @classmethod
    def _max(cls, value: str, info: ValidationInfo) -> str | None:
        return at_least(value, "base", info.data.get("base"))


Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Toleration(Section):
    """A toleration as Kubernetes validates it.

    Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
    """

    key: AnyLabelKey | None = None
    """Key of the taint; absent for every taint, with `Exists`."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """`Equal` compares the value, `Exists` only the key."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Effect | None = None
    """Effect of the taint; absent for every effect."""
    toleration_seconds: int | None = None
    """Seconds until an eviction, with the effect `NoExecute`."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise _disagreement("no value with the operator Exists")
        if self.operator == "Equal" and not self.key:
            raise _disagreement("a key with the operator Equal, or the operator Exists")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise _disagreement("tolerationSeconds only with the effect NoExecute")
        return self


class SelectorRequirement(Section):
    """One expression of a selector of labels."""

    key: AnyLabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        _check_values(self.operator, self.values or [])
        return self


class NodeRequirement(Section):
    """One expression about a node; nodes also compare numbers."""

    key: AnyLabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        _check_values(self.operator, self.values or [])
        return self


class NodeTerm(Section):
    """Expressions that a node meets together."""

    match_expressions: list[NodeRequirement] | None = None
    match_fields: list[NodeRequirement] | None = None


class NodeTerms(Section):
    """Terms of which a node meets one."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1)]


Weight = Annotated[int, Field(ge=1, le=100)]


class PreferredNodeTerm(Section):
    """A term with its weight."""

    weight: Weight
    preference: NodeTerm


class NodeAffinity(Section):
    """Rules about nodes."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredNodeTerm] | None = None


class LabelSelector(Section):
    """Selector of pods or namespaces by label."""

    match_labels: dict[AnyLabelKey, LabelValue] | None = None
    match_expressions: list[SelectorRequirement] | None = None


class PodTerm(Section):
    """Pods, and the label of nodes that counts as one place."""

    topology_key: AnyLabelKey
    label_selector: LabelSelector | None = None
    namespaces: list[str] | None = None
    namespace_selector: LabelSelector | None = None
    match_label_keys: list[AnyLabelKey] | None = None
    mismatch_label_keys: list[AnyLabelKey] | None = None


class WeightedPodTerm(Section):
    """A pod term with its weight."""

    weight: Weight
    pod_affinity_term: PodTerm


class PodAffinity(Section):
    """Rules about other pods."""

    required_during_scheduling_ignored_during_execution: list[PodTerm] | None = None
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodTerm] | None = None


class Affinity(Section):
    """Affinity of a pod as Kubernetes validates it.

    Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
    """

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


def _check_values(operator: str, values: list[str]) -> None:
    if operator in ("In", "NotIn") and not values:
        raise _disagreement(f"values with the operator {operator}")
    if operator in ("Exists", "DoesNotExist") and values:
        raise _disagreement(f"no values with the operator {operator}")
    if operator in ("Gt", "Lt") and not (len(values) == 1 and values[0].lstrip("-").isdecimal()):
        raise _disagreement(f"one whole number as the value of the operator {operator}")


def _disagreement(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("text", "{allowed}", {"allowed": allowed})


def _checked(model: type[Section]) -> WrapValidator:
    """Validate a value of Kubernetes by a model and keep it as it is written."""

    def check(value: Any, _handler: Any) -> Any:
        # Kubernetes takes the value as it is written, so only its own spelling of a key counts.
        model.model_validate(value, by_alias=True, by_name=False)
        return value

    return WrapValidator(check)


Tolerations = list[Annotated[dict[str, Any], _checked(Toleration)]]
"""Tolerations in Kubernetes' own form."""


class Agent(Section):
    """The read-only agent.

    The versions of both images stand here and in `Autoscaling`, and nowhere else.
    """

    tag: Image = "v0.161.1"
    """Version of the agent's image."""
    digest: Digest | None = None
    """Pins the image beyond its tag."""
    image_registry: Registry = "us-docker.pkg.dev/castai-hub/library"
    """Where the agent's image is."""
    pull_secrets: list[ObjectName] = []
    """Secrets of the namespace that open a private registry, for both images."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 2
    """Pods of the agent; one leads, the others stand by."""
    cpu_request: Cpu = "100m"
    """CPU that the agent's container reserves."""
    cpu_limit: Annotated[Cpu, Field(validate_default=True)] = "1000m"
    """Upper bound of the CPU of the agent's container."""
    memory: Memory = "2Gi"
    """Memory request and limit of the agent's container without autoscaling."""
    monitor: Monitor = Monitor()
    autoscaling: Autoscaling = Autoscaling()
    proxy: Proxy = Proxy()
    trusted_ca_certificate: Certificates | None = None
    """Authorities that the agent trusts instead of the system's; include all that it needs."""
    node_selector: dict[AnyLabelKey, LabelValue] = {}
    """Labels of the nodes that may run the agent."""
    tolerations: Tolerations = []
    """Tolerations besides `CriticalAddonsOnly` and that of a cluster that resumes."""
    affinity: Annotated[dict[str, Any], _checked(Affinity)] | None = None
    """Replaces the default: no Windows nodes, nodes of CAST AI preferred."""
    priority_class: PriorityClass = "system-cluster-critical"
    """Priority class of the pods; empty for none, and then without the resource quota."""
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
    role_arn: RoleArn | None = None
    """IRSA role of the agent's service account."""
    read_custom_resources: bool = True
    """Off: no rule for the custom resources of other projects and of CAST AI."""
    rollout_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait for the pods."""
    adopt: bool = False
    """Take over an agent that the vendor's script or chart installed."""

    @field_validator("cpu_limit")
    @classmethod
    def _limit(cls, value: str, info: ValidationInfo) -> str | None:
        return at_least(value, "cpuRequest", info.data.get("cpu_request"))
