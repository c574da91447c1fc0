"""The gate of the workloads that act in the cluster, as a resource of a program."""

from collections.abc import Sequence

import pulumi

from castai_stack.plugin.custom_resource import PluginResource


class AutomationRollout(PluginResource):
    """Gate that is created once the deployments are rolled out."""

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
