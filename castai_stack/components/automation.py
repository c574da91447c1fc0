"""What acts in the cluster for CAST AI, for other programs."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi

from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.typed import AgentSettings
from castai_stack.automation import component
from castai_stack.automation.typed import AutomationSettings
from castai_stack.components.agent import NOT_ADOPTED
from castai_stack.components.arguments import Checked, Shape, checked
from castai_stack.components.eks_cluster import EksCluster, claim
from castai_stack.fields import Key, Uuid
from castai_stack.spot.typed import SpotHandler


class AutomationArgs(TypedDict):
    """Inputs of AutomationComponent."""

    cluster: EksCluster
    """The cluster."""
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster, a UUID."""
    api_key: NotRequired[pulumi.Input[str]]
    """The cluster's token or an API access key; needed without an existing secret."""
    api_url: NotRequired[str]
    """Address of CAST AI's API. Default: `https://api.cast.ai`."""
    automation: NotRequired[AutomationSettings]
    """The workloads: cluster-controller, and on request evictor and Spot handler."""
    agent: NotRequired[AgentSettings]
    """The agent's settings; proxy, certificates, labels and priority class are shared."""
    spot_handler: NotRequired[SpotHandler]
    """`daemonset` or `both`: CAST AI's Spot handler on the Spot nodes. Default: `lambda`, none."""


def _rules(args: Checked) -> Iterator[str]:
    secret = args.settings.automation.existing_secret or args.settings.agent.existing_secret
    if "api_key" not in args.inputs and not secret:
        yield "apiKey: required unless automation.existingSecret is given, and not given"


_OF_CASTAI = "CAST AI keeps it; CastaiCluster sends it there"
_SHAPE = Shape(
    "AutomationComponent",
    settings={
        "cluster": "cluster",
        "api_url": "api.url",
        "automation": "automation",
        "agent": "agent",
        "spot_handler": "spot.handler",
    },
    inputs={"cluster_id": Uuid, "api_key": Key},
    required=frozenset({"cluster_id"}),
    refused={
        "automation.adopt": NOT_ADOPTED,
        "automation.nodes": _OF_CASTAI,
        "automation.autoscaler": _OF_CASTAI,
    },
    rules=_rules,
)


class AutomationComponent(component.AutomationComponent):
    """Cluster-controller and what works with it, complete when their pods run.

    The namespace `castai-agent` has to exist; AgentComponent creates it.
    """

    def __init__(
        self, name: str, args: AutomationArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create the workloads through the Kubernetes provider of `opts`.

        Raises ArgumentError with every wrong argument before a resource is registered.
        """
        given = checked(_SHAPE, name, args)
        settings = given.settings
        claim(_SHAPE.component, name, settings)
        super().__init__(
            name,
            {
                "api_url": settings.api.url,
                "settings": settings.automation,
                "agent": settings.agent,
                "namespace": NAMESPACE,
                "spot_daemonset": settings.spot.by_daemonset,
                "cluster_id": given.inputs["cluster_id"],
                "token": given.inputs.get("api_key", ""),
            },
            opts,
        )
