"""Settings of CAST AI's automation."""

from typing import Annotated

from pydantic import Field

from castai_stack.agent.settings import Resources, Tolerations
from castai_stack.fields import (
    AnyLabelKey,
    Cpu,
    Digest,
    Image,
    LabelValue,
    Memory,
    ObjectName,
    Registry,
    Section,
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


class EvictorResources(Resources):
    """Requests and limits of the evictor's container; its memory follows the cluster's size."""

    cpu_request: Cpu | None = "100m"
    """CPU that the container reserves."""
    cpu_limit: Cpu | None = "1000m"
    """Upper bound of its CPU."""


class Evictor(Workload):
    """CAST AI's evictor, which moves pods together so that nodes become empty."""

    enabled: bool = False
    """Run the evictor."""
    tag: Image = "v0.35.143"
    """Version of the image."""


class SpotHandler(Workload):
    """CAST AI's Spot handler, one pod on each Spot node; `spot.handler` switches it on."""

    tag: Image = "v0.23.2"
    """Version of the image."""
    resources: Resources = Resources(cpu_request="20m", memory_request="25Mi", memory_limit="25Mi")


class Automation(Section):
    """What CAST AI runs in the cluster besides the agent; nothing with `credentials.mode: none`."""

    image_registry: Registry = "us-docker.pkg.dev/castai-hub/library"
    """Where the images of all these workloads are."""
    pull_secrets: list[ObjectName] = []
    """Secrets of the namespace that open a private registry, for all these images."""
    existing_secret: ObjectName | None = None
    """A secret of the namespace with the key `API_KEY`, instead of `castai-cluster-controller`."""
    rollout_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait for the pods."""
    adopt: bool = False
    """Take over what CAST AI's script or charts installed."""
    controller: Controller = Controller()
    evictor: Evictor = Evictor()
    spot_handler: SpotHandler = SpotHandler()
