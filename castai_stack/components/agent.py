"""The read-only agent, for other programs."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi

from castai_stack.agent import component
from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.typed import AgentSettings
from castai_stack.components.arguments import Checked, Shape, checked
from castai_stack.components.eks_cluster import EksCluster, claim
from castai_stack.fields import Key, Uuid

NOT_ADOPTED = (
    "a component creates what it is asked for, and only the program of `pulumi up` in the "
    "repository looks for an existing installation. Remove that installation first"
)


class AgentArgs(TypedDict):
    """Inputs of AgentComponent."""

    cluster: EksCluster
    """The cluster that the agent reports."""
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster, a UUID."""
    api_key: NotRequired[pulumi.Input[str]]
    """The cluster's token or an API access key; needed unless `agent.existingSecret` is given."""
    api_url: NotRequired[str]
    """Address of CAST AI's API. Default: `https://api.cast.ai`."""
    agent: NotRequired[AgentSettings]
    """Image, size and scheduling of the agent."""


def _rules(args: Checked) -> Iterator[str]:
    if "api_key" not in args.inputs and not args.settings.agent.existing_secret:
        yield "apiKey: required unless agent.existingSecret is given, and not given"


_SHAPE = Shape(
    "AgentComponent",
    settings={"cluster": "cluster", "api_url": "api.url", "agent": "agent"},
    inputs={"cluster_id": Uuid, "api_key": Key},
    required=frozenset({"cluster_id"}),
    refused={"agent.adopt": NOT_ADOPTED},
    rules=_rules,
)


class AgentComponent(component.AgentComponent):
    """CAST AI's read-only agent in one cluster, complete when its pods run."""

    namespace: pulumi.Output[str]
    """Namespace of the agent."""
    ready: pulumi.Output[bool]
    """True once the agent's deployments are rolled out."""

    def __init__(
        self, name: str, args: AgentArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create the agent through the Kubernetes provider of `opts`.

        Raises ArgumentError with every wrong argument before a resource is registered.
        """
        given = checked(_SHAPE, name, args)
        settings = given.settings
        claim(_SHAPE.component, name, settings)
        super().__init__(
            name,
            {
                "cluster_name": settings.cluster.name,
                "region": settings.cluster.region,
                "account_id": settings.cluster.account_id,
                "api_url": settings.api.url,
                "settings": settings.agent,
                "namespace": NAMESPACE,
                "cluster_id": given.inputs["cluster_id"],
                "api_key": given.inputs.get("api_key", ""),
            },
            opts,
        )
