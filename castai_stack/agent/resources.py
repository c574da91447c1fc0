"""The agent's gates and clean-up as resources of a program."""

from collections.abc import Sequence

import pulumi

from castai_stack.plugin.custom_resource import PluginResource


class NamespaceGuard(PluginResource):
    """Guard before every object in the agent's namespace."""

    namespace: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        uid_before: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`uid_before` is the namespace's uid before this run, as in AgentArgs."""
        super().__init__(
            name, {"namespace": namespace, "uid_before": uid_before, "uid": None}, opts
        )


class Rollout(PluginResource):
    """Gate that is created once deployments are rolled out; each subclass is a resource type."""

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


class AgentRollout(Rollout):
    """Gate of the agent's deployments."""


class AgentOnline(PluginResource):
    """Gate that is created once CAST AI reports the agent online.

    Others depend on the resource and on no property of it: a property would be unknown in a preview
    of its update.
    """

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
    """Deletes the agent's metadata and leader-election leases when it is deleted."""

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
