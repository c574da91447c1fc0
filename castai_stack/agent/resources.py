"""The agent's gates and clean-up, as a program registers them."""

from collections.abc import Sequence

import pulumi

from castai_stack.plugin.custom_resource import PluginResource


class AgentRollout(PluginResource):
    """Stands once the deployments are rolled out; others depend on it."""

    namespace: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        deployments: Sequence[str],
        wanted: pulumi.Input[str],
        timeout_seconds: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "namespace": namespace,
                "deployments": list(deployments),
                "wanted": wanted,
                "timeout_seconds": timeout_seconds,
            },
            opts,
        )


class AgentOnline(PluginResource):
    """Stands once the agent was heard of; others depend on it, never on a property of it."""

    cluster_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        timeout_seconds: int,
        namespace: str = "castai-agent",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "cluster_id": cluster_id,
                "timeout_seconds": timeout_seconds,
                "namespace": namespace,
            },
            opts,
        )


class AgentLeftovers(PluginResource):
    """The agent's metadata and leader-election leases, gone when this is deleted."""

    namespace: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {"namespace": namespace},
            opts,
        )
