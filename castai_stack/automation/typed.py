"""Settings as typed dictionaries, for programs; `make readme` writes them from the models."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    NodeTemplateArchitectures = Literal["amd64", "arm64"]
    NodesVolumeType = Literal["gp2", "gp3"]
    NodesImageFamily = Literal["al2", "al2023", "bottlerocket"]
else:  # Pulumi's analyzer takes enumerations and no literals.

    class NodeTemplateArchitectures(StrEnum):
        """Values of `architectures`."""

        AMD64 = "amd64"
        ARM64 = "arm64"

    class NodesVolumeType(StrEnum):
        """Values of `volumeType`."""

        GP2 = "gp2"
        GP3 = "gp3"

    class NodesImageFamily(StrEnum):
        """Values of `imageFamily`."""

        AL2 = "al2"
        AL2023 = "al2023"
        BOTTLEROCKET = "bottlerocket"


class NodeTemplateSettings(TypedDict, total=False):
    """Instances that CAST AI chooses among, in its node template `default-by-castai`.

    A bound or list that is not given leaves what CAST AI's console has.
    """

    spot: bool
    """Spot instances. Default: `false`."""
    on_demand: bool
    """On-demand instances. Default: `true`."""
    spot_fallbacks: bool
    """On-demand instances while no Spot capacity is there; read where `spot` is true. Default:
    `true`.
    """
    architectures: list[NodeTemplateArchitectures]
    """Processor architectures; `arm64` needs images for it. One of `amd64`, `arm64`. Default:
    `amd64`.
    """
    include_families: list[str]
    """Instance families such as `m7i`, and no others."""
    exclude_families: list[str]
    """Instance families that are left out."""
    zones: list[str]
    """Availability zones; when empty, those of the subnets."""
    min_cpu: int
    """Fewest CPUs of a node."""
    max_cpu: int
    """Most CPUs of a node."""
    min_memory_mib: int
    """Least memory of a node, in MiB."""
    max_memory_mib: int
    """Most memory of a node, in MiB."""


class EmptyNodesSettings(TypedDict, total=False):
    """Removal of nodes on which no pod runs but those of daemon sets."""

    enabled: bool
    """Remove empty nodes. Default: `false`."""
    delay_seconds: int
    """Time that a node has to be empty. Default: `300`."""


class AutoscalerSettings(TypedDict, total=False):
    """CAST AI's autoscaler policies (V2): whether and when it adds and removes nodes."""

    enabled: bool
    """Off: this program switches nothing on, and switches off what it had switched on. Default:
    `false`.
    """
    unschedulable_pods: bool
    """Add nodes for pods that fit on none. Default: `true`."""
    cpu_limit: int
    """Most CPUs of the whole cluster; none when absent."""
    empty_nodes: EmptyNodesSettings
    """Removal of nodes on which no pod runs but those of daemon sets."""
    node_template: NodeTemplateSettings
    """Instances that CAST AI chooses among, in its node template `default-by-castai`. A bound or
    list that is not given leaves what CAST AI's console has.
    """


class NodesSettings(TypedDict, total=False):
    """CAST AI's default node configuration: what its new nodes look like."""

    enabled: bool
    """Off: the node configuration and the nodes' security group are left to the console. Default:
    `true`.
    """
    name: str
    """Name at CAST AI; one that exists is taken over, and the preview shows what changes. Default:
    `default`.
    """
    subnet_ids: list[str]
    """Subnets of new nodes; when empty, those of the cluster's VPC with a route out."""
    security_group_ids: list[str]
    """Security groups besides the cluster's own and `CastNodeSecurityGroup`."""
    create_security_group: bool
    """Create the group `cast-<cluster>-cluster/CastNodeSecurityGroup` for the nodes. Default:
    `true`.
    """
    disk_gib: int
    """Smallest root volume, in GiB. Default: `100`."""
    volume_type: NodesVolumeType
    """Type of the root volume. One of `gp2`, `gp3`. Default: `gp3`."""
    kms_key_arn: str
    """Customer-managed key of the root volume, one of `iam.kmsKeyArns`."""
    image_family: NodesImageFamily
    """Operating system; AWS builds no `al2` for Kubernetes 1.33 and later. One of `al2`, `al2023`,
    `bottlerocket`. Default: `al2023`.
    """
    imds_v1: bool
    """Let the instance metadata service answer requests without a session token (IMDSv1). Default:
    `false`.
    """
    imds_hop_limit: int
    """Network hops of an answer of the metadata service; pods need two. Default: `2`."""
    max_pods_formula: str
    """Formula of the most pods on a node, such as `NUM_CPU * 10`."""
    tags: dict[str, str]
    """AWS tags on new nodes besides `tags` of the stack and those that CAST AI adds."""


class SpotHandlerResourcesSettings(TypedDict, total=False):
    """Requests and limits of the container `spot-handler`."""

    cpu_request: str
    """CPU that the container reserves. Default: `20m`."""
    cpu_limit: str
    """Upper bound of its CPU."""
    memory_request: str
    """Memory that the container reserves. Default: `25Mi`."""
    memory_limit: str
    """Upper bound of its memory. Default: `25Mi`."""


class SpotHandlerSettings(TypedDict, total=False):
    """CAST AI's Spot handler, one pod on each Spot node; `spot.handler` switches it on."""

    digest: str
    """Pins the image beyond its tag."""
    node_selector: dict[str, str]
    """Labels of the nodes that may run the pods."""
    tolerations: list[dict[str, Any]]
    """Tolerations besides those that the workload has."""
    tag: str
    """Version of the image. Default: `v0.23.2`."""
    resources: SpotHandlerResourcesSettings
    """Requests and limits of the container `spot-handler`."""


class EvictorSettings(TypedDict, total=False):
    """CAST AI's evictor, which moves pods together so that nodes become empty."""

    digest: str
    """Pins the image beyond its tag."""
    node_selector: dict[str, str]
    """Labels of the nodes that may run the pods."""
    tolerations: list[dict[str, Any]]
    """Tolerations besides those that the workload has."""
    enabled: bool
    """Run the evictor. Default: `false`."""
    tag: str
    """Version of the image. Default: `v0.35.143`."""
    cpu_request: str
    """CPU that the container reserves; its memory follows the size of the cluster. Default: `100m`.
    """
    cpu_limit: str
    """Upper bound of its CPU. Default: `1000m`."""
    dry_run: bool
    """Log what it would do, and evict nothing; set it to false once that log looks right. Default:
    `true`.
    """
    aggressive_mode: bool
    """Also evict pods that have no second replica, so that they are down for a while. Default:
    `false`.
    """
    scoped_mode: bool
    """Leave nodes alone that CAST AI did not start. Default: `false`."""
    ignore_pod_disruption_budgets: bool
    """Evict pods although their disruption budget forbids it. Default: `false`."""
    cycle_interval_seconds: int
    """Time between two rounds. Default: `60`."""
    node_grace_period_minutes: int
    """Age before which a node is left alone. Default: `5`."""


class MonitorResourcesSettings(TypedDict, total=False):
    """Requests and limits of the container `monitor`, which reports why the controller stopped."""

    cpu_request: str
    """CPU that the container reserves. Default: `100m`."""
    cpu_limit: str
    """Upper bound of its CPU."""
    memory_request: str
    """Memory that the container reserves. Default: `128Mi`."""
    memory_limit: str
    """Upper bound of its memory."""


class ControllerResourcesSettings(TypedDict, total=False):
    """Requests and limits of the container `cluster-controller`."""

    cpu_request: str
    """CPU that the container reserves. Default: `50m`."""
    cpu_limit: str
    """Upper bound of its CPU."""
    memory_request: str
    """Memory that the container reserves. Default: `100Mi`."""
    memory_limit: str
    """Upper bound of its memory. Default: `1Gi`."""


class ControllerSettings(TypedDict, total=False):
    """CAST AI's cluster-controller, which carries out CAST AI's actions in the cluster."""

    digest: str
    """Pins the image beyond its tag."""
    node_selector: dict[str, str]
    """Labels of the nodes that may run the pods."""
    tolerations: list[dict[str, Any]]
    """Tolerations besides those that the workload has."""
    enabled: bool
    """Off: CAST AI can start and stop instances, and can do nothing inside the cluster. Default:
    `true`.
    """
    self_upgrade: bool
    """Lets CAST AI upgrade the controller and others; it may then write all of `castai-agent`.
    Default: `false`.
    """
    tag: str
    """Version of the image. Default: `v0.63.6`."""
    replicas: int
    """Pods; one leads, the others stand by. Default: `2`."""
    resources: ControllerResourcesSettings
    """Requests and limits of the container `cluster-controller`."""
    monitor: MonitorResourcesSettings
    """Requests and limits of the container `monitor`, which reports why the controller stopped."""


class AutomationSettings(TypedDict, total=False):
    """What CAST AI runs in the cluster besides the agent; nothing with `credentials.mode: none`."""

    image_registry: str
    """Where the images of all these workloads are. Default: `us-docker.pkg.dev/castai-hub/library`.
    """
    pull_secrets: list[str]
    """Secrets of the namespace that open a private registry, for all these images."""
    existing_secret: str
    """A secret of the namespace with the key `API_KEY`; `agent.existingSecret` when absent."""
    rollout_timeout_seconds: int
    """How long to wait for the pods. Default: `600`."""
    controller: ControllerSettings
    """CAST AI's cluster-controller, which carries out CAST AI's actions in the cluster."""
    evictor: EvictorSettings
    """CAST AI's evictor, which moves pods together so that nodes become empty."""
    spot_handler: SpotHandlerSettings
    """CAST AI's Spot handler, one pod on each Spot node; `spot.handler` switches it on."""
    nodes: NodesSettings
    """CAST AI's default node configuration: what its new nodes look like."""
    autoscaler: AutoscalerSettings
    """CAST AI's autoscaler policies (V2): whether and when it adds and removes nodes."""
