"""The resources of the mapping, as a program registers them."""

from collections.abc import Sequence

import pulumi

from castai_stack.access.entries import Kind
from castai_stack.plugin.custom_resource import PluginResource


class AwsAuthEntry(PluginResource):
    """Maps one role or user in kube-system/aws-auth."""

    arn: pulumi.Output[str]
    """The mapped ARN; a role's without its path in the map."""

    def __init__(
        self,
        name: str,
        *,
        kind: Kind,
        arn: pulumi.Input[str],
        username: str,
        groups: Sequence[str],
        adopt: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "kind": kind,
                "arn": arn,
                "username": username,
                "groups": list(groups),
                "adopt": adopt,
            },
            opts,
        )


class AccessEntryPlace(PluginResource):
    """Check that an ARN has no access entry of another owner, before the entry is created."""

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        region: str,
        principal_arn: pulumi.Input[str],
        adopt: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "cluster_name": cluster_name,
                "region": region,
                "principal_arn": principal_arn,
                "adopt": adopt,
            },
            opts,
        )
