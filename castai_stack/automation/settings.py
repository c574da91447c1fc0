"""Settings of CAST AI's automation."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from castai_stack.agent.settings import Resources, Tolerations
from castai_stack.fields import (
    AnyLabelKey,
    Cpu,
    Digest,
    Image,
    InstanceFamily,
    KeyArn,
    LabelValue,
    Memory,
    NodeConfigurationName,
    ObjectName,
    PodsFormula,
    Registry,
    Section,
    SecurityGroupId,
    SubnetId,
    TagKey,
    TagValue,
    Zone,
    at_least,
)


class Workload(Section):
    """Image and placement of one workload."""

    digest: Digest | None = None
    """Pins the image beyond its tag."""
    node_selector: dict[AnyLabelKey, LabelValue] = {}
    """Labels of the nodes that may run the pods."""
    tolerations: Tolerations = []
    """Tolerations besides those that the workload has."""


class ControllerResources(Resources):
    """Requests and limits of the container `cluster-controller`."""

    cpu_request: Cpu | None = "50m"
    """CPU that the container reserves."""
    memory_request: Memory | None = "100Mi"
    """Memory that the container reserves."""
    memory_limit: Memory | None = "1Gi"
    """Upper bound of its memory."""


class MonitorResources(Resources):
    """Requests and limits of the container `monitor`, which reports why the controller stopped."""

    cpu_request: Cpu | None = "100m"
    """CPU that the container reserves."""
    memory_request: Memory | None = "128Mi"
    """Memory that the container reserves."""


class Controller(Workload):
    """CAST AI's cluster-controller, which carries out CAST AI's actions in the cluster."""

    enabled: bool = True
    """Off: CAST AI can start and stop instances, and can do nothing inside the cluster."""
    self_upgrade: bool = False
    """Lets CAST AI upgrade the controller and others; it may then write all of `castai-agent`."""
    tag: Image = "v0.63.6"
    """Version of the image."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 2
    """Pods; one leads, the others stand by."""
    resources: ControllerResources = ControllerResources()
    monitor: MonitorResources = MonitorResources()


class Evictor(Workload):
    """CAST AI's evictor, which moves pods together so that nodes become empty."""

    enabled: bool = False
    """Run the evictor."""
    tag: Image = "v0.35.143"
    """Version of the image."""
    cpu_request: Cpu = "100m"
    """CPU that the container reserves; its memory follows the size of the cluster."""
    cpu_limit: Annotated[Cpu, Field(validate_default=True)] = "1000m"
    """Upper bound of its CPU."""
    dry_run: bool = True
    """Log what it would do, and evict nothing; set it to false once that log looks right."""
    aggressive_mode: bool = False
    """Also evict pods that have no second replica, so that they are down for a while."""
    scoped_mode: bool = False
    """Leave nodes alone that CAST AI did not start."""
    ignore_pod_disruption_budgets: bool = False
    """Evict pods although their disruption budget forbids it."""
    cycle_interval_seconds: Annotated[int, Field(ge=10, le=86400)] = 60
    """Time between two rounds."""
    node_grace_period_minutes: Annotated[int, Field(ge=0, le=1440)] = 5
    """Age before which a node is left alone."""

    @field_validator("cpu_limit")
    @classmethod
    def _limit(cls, value: str, info: ValidationInfo) -> str | None:
        return at_least(value, "cpuRequest", info.data.get("cpu_request"))


class SpotHandlerResources(Resources):
    """Requests and limits of the container `spot-handler`."""

    cpu_request: Cpu | None = "20m"
    """CPU that the container reserves."""
    memory_request: Memory | None = "25Mi"
    """Memory that the container reserves."""
    memory_limit: Memory | None = "25Mi"
    """Upper bound of its memory."""


class SpotHandler(Workload):
    """CAST AI's Spot handler, one pod on each Spot node; `spot.handler` switches it on."""

    tag: Image = "v0.23.2"
    """Version of the image."""
    resources: SpotHandlerResources = SpotHandlerResources()


class Nodes(Section):
    """CAST AI's default node configuration: what its new nodes look like."""

    enabled: bool = True
    """Off: the node configuration and the nodes' security group are left to the console."""
    name: NodeConfigurationName = "default"
    """Name at CAST AI; one that exists is taken over, and the preview shows what changes."""
    subnet_ids: list[SubnetId] = []
    """Subnets of new nodes; when empty, those of the cluster's VPC with a route out."""
    security_group_ids: list[SecurityGroupId] = []
    """Security groups besides the cluster's own and `CastNodeSecurityGroup`."""
    create_security_group: bool = True
    """Create the group `cast-<cluster>-cluster/CastNodeSecurityGroup` for the nodes."""
    disk_gib: Annotated[int, Field(ge=30, le=65536)] = 100
    """Smallest root volume, in GiB."""
    volume_type: Literal["gp2", "gp3"] = "gp3"
    """Type of the root volume."""
    kms_key_arn: KeyArn | None = None
    """Customer-managed key of the root volume, one of `iam.kmsKeyArns`."""
    image_family: Literal["al2", "al2023", "bottlerocket"] = "al2023"
    """Operating system; AWS builds no `al2` for Kubernetes 1.33 and later."""
    imds_v1: bool = False
    """Let the instance metadata service answer requests without a session token (IMDSv1)."""
    imds_hop_limit: Annotated[int, Field(ge=2, le=64)] = 2
    """Network hops of an answer of the metadata service; pods need two."""
    max_pods_formula: PodsFormula | None = None
    """Formula of the most pods on a node, such as `NUM_CPU * 10`."""
    tags: dict[TagKey, TagValue] = {}
    """AWS tags on new nodes besides `tags` of the stack and those that CAST AI adds."""


class EmptyNodes(Section):
    """Removal of nodes on which no pod runs but those of daemon sets."""

    enabled: bool = False
    """Remove empty nodes."""
    delay_seconds: Annotated[int, Field(ge=0, le=86400)] = 300
    """Time that a node has to be empty."""


class NodeTemplate(Section):
    """Instances that CAST AI chooses among, in its node template `default-by-castai`.

    A bound or list that is not given leaves what CAST AI's console has.
    """

    spot: bool = False
    """Spot instances."""
    on_demand: bool = True
    """On-demand instances."""
    spot_fallbacks: bool = True
    """On-demand instances while no Spot capacity is there; read where `spot` is true."""
    architectures: Annotated[list[Literal["amd64", "arm64"]], Field(min_length=1)] = ["amd64"]
    """Processor architectures; `arm64` needs images for it."""
    include_families: list[InstanceFamily] = []
    """Instance families such as `m7i`, and no others."""
    exclude_families: list[InstanceFamily] = []
    """Instance families that are left out."""
    zones: list[Zone] = []
    """Availability zones; when empty, those of the subnets."""
    min_cpu: Annotated[int, Field(ge=1)] | None = None
    """Fewest CPUs of a node."""
    max_cpu: Annotated[int, Field(ge=1)] | None = None
    """Most CPUs of a node."""
    min_memory_mib: Annotated[int, Field(ge=512)] | None = None
    """Least memory of a node, in MiB."""
    max_memory_mib: Annotated[int, Field(ge=512)] | None = None
    """Most memory of a node, in MiB."""


class Autoscaler(Section):
    """CAST AI's autoscaler policies (V2): whether and when it adds and removes nodes."""

    enabled: bool = False
    """Off: this program switches nothing on, and switches off what it had switched on."""
    unschedulable_pods: bool = True
    """Add nodes for pods that fit on none."""
    cpu_limit: Annotated[int, Field(ge=2)] | None = None
    """Most CPUs of the whole cluster; none when absent."""
    empty_nodes: EmptyNodes = EmptyNodes()
    node_template: NodeTemplate = NodeTemplate()


class Automation(Section):
    """What CAST AI runs in the cluster besides the agent; nothing with `credentials.mode: none`."""

    image_registry: Registry = "us-docker.pkg.dev/castai-hub/library"
    """Where the images of all these workloads are."""
    pull_secrets: list[ObjectName] = []
    """Secrets of the namespace that open a private registry, for all these images."""
    existing_secret: ObjectName | None = None
    """A secret of the namespace with the key `API_KEY`; `agent.existingSecret` when absent."""
    rollout_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait for the pods."""
    adopt: bool = False
    """Take over what CAST AI's script or charts installed."""
    controller: Controller = Controller()
    evictor: Evictor = Evictor()
    spot_handler: SpotHandler = SpotHandler()
    nodes: Nodes = Nodes()
    autoscaler: Autoscaler = Autoscaler()
