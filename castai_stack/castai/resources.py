"""The resources over the CAST AI API."""

from collections.abc import Mapping

import pulumi

from castai_stack.castai.hand_over import SPREADING_SECONDS, Mode
from castai_stack.plugin.custom_resource import PluginResource


class ClusterRegistration(PluginResource):
    """A cluster in CAST AI; `id` is CAST AI's id of it."""

    cluster_name: pulumi.Output[str]
    region: pulumi.Output[str]
    account_id: pulumi.Output[str]
    organization_id: pulumi.Output[str]
    disconnected: pulumi.Output[bool]
    """True from a refresh that finds the cluster disconnected until the next update."""

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        region: str,
        account_id: str,
        organization_id: str | None = None,
        revive_archived: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "cluster_name": cluster_name,
                "region": region,
                "account_id": account_id,
                "organization_id": organization_id,
                "revive_archived": revive_archived,
                "disconnected": None,
            },
            opts,
        )


class ClusterToken(PluginResource):
    """A token of one cluster; `token` is a secret."""

    cluster_id: pulumi.Output[str]
    token: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        namespace: str | None = None,
        secret: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`secret` in `namespace` may hold the token of an agent that is taken over."""
        super().__init__(
            name,
            {"cluster_id": cluster_id, "namespace": namespace, "secret": secret, "token": None},
            opts,
        )


class AssumeRolePrincipal(PluginResource):
    """The user in CAST AI's account that a role's trust policy names."""

    cluster_id: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {"cluster_id": cluster_id, "arn": None},
            opts,
        )


class HandOver(PluginResource):
    """Credentials of CAST AI: a user's key or a role; `credentials_id` is CAST AI's id of them."""

    cluster_id: pulumi.Output[str]
    mode: pulumi.Output[str]
    credentials_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        mode: Mode,
        role_arn: pulumi.Input[str] | None = None,
        access_key_id: pulumi.Input[str] | None = None,
        secret_access_key: pulumi.Input[str] | None = None,
        delete_nodes_on_disconnect: bool = False,
        disconnect_timeout_seconds: int = 900,
        spreading_timeout_seconds: int = SPREADING_SECONDS,
        objects: Mapping[str, pulumi.Input[str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`objects` are the IAM objects behind this that a path replaces: kind to path and name."""
        super().__init__(
            name,
            {
                "cluster_id": cluster_id,
                "mode": mode,
                "role_arn": role_arn,
                "access_key_id": access_key_id,
                "secret_access_key": None
                if secret_access_key is None
                else pulumi.Output.secret(secret_access_key),
                "delete_nodes_on_disconnect": delete_nodes_on_disconnect,
                "disconnect_timeout_seconds": disconnect_timeout_seconds,
                "spreading_timeout_seconds": spreading_timeout_seconds,
                "objects": dict(objects or {}),
                "credentials_id": None,
            },
            opts,
        )


class CredentialsReady(PluginResource):
    """Gate that is created once CAST AI uses the credentials."""

    cluster_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        credentials_id: pulumi.Input[str],
        timeout_seconds: int,
        namespace: str | None = None,
        controller: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Wait for the credentials; `controller` is a deployment, None if the stack has none."""
        super().__init__(
            name,
            {
                "cluster_id": cluster_id,
                "credentials_id": credentials_id,
                "timeout_seconds": timeout_seconds,
                "namespace": namespace,
                "controller": controller,
            },
            opts,
        )


class RotationGuard(PluginResource):
    """Stands before the keys; give the cluster id where this stack hands the keys over."""

    generation: pulumi.Output[int]
    cluster_id: pulumi.Output[str]
    opened_credentials_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        generation: int,
        cluster_id: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "generation": generation,
                "cluster_id": cluster_id,
                "opened_credentials_id": None,
            },
            opts,
        )


class ConnectionGuard(PluginResource):
    """Stands in every mode, before everything that a change of mode takes away."""

    mode: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        mode: str,
        allow_disconnect: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            {"mode": mode, "allow_disconnect": allow_disconnect},
            opts,
        )
