"""What the agent makes at run time, removed with it from a namespace that stays."""

from typing import Any

import pulumi
from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
)

from castai_stack import agent_manifests, kubernetes_access


class AgentLeftoversProvider(ResourceProvider):
    """Creates nothing; its delete is what it is for."""

    # The pickle names a class and nothing else; encrypting it would only hide the diff.
    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Take the kubeconfig of this run: what the state keeps may be another machine's."""
        self.reached_by = kubernetes_access.configured(req.config.get("castai"))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Remember the namespace."""
        return CreateResult(props["namespace"], props)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare the namespace: another kubeconfig is no change of the cluster."""
        moved = _olds["namespace"] != _news["namespace"]
        return DiffResult(changes=moved, replaces=["namespace"] if moved else [])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Answer what is known; there is nothing to look at."""
        return ReadResult(id_, props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove what is there of it."""
        # Costs 0.4 s, which a comparison need not pay.
        from lightkube import ApiError  # noqa: PLC0415
        from lightkube.resources.coordination_v1 import Lease  # noqa: PLC0415
        from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415

        # A context of None does not come through.
        namespace = _props["namespace"]
        kubeconfig, context = self.reached_by or (_props["kubeconfig"], _props.get("context"))
        leftovers: list[tuple[type[ConfigMap | Lease], str]] = [
            (ConfigMap, agent_manifests.METADATA_STORE),
            *((Lease, name) for name in agent_manifests.LEASES),
        ]
        try:
            client = kubernetes_access.connect(kubeconfig, context)
            for kind, name in leftovers:
                try:
                    client.delete(kind, name, namespace=namespace)
                except ApiError as error:
                    if error.status.code != 404:  # noqa: PLR2004 - HTTP's own number
                        raise
        except Exception as error:  # noqa: BLE001 - whatever failed, it becomes one sentence
            raise RuntimeError(
                f"namespace {namespace}: cannot remove what the agent left there: "
                f"{kubernetes_access.explain(error)}"
            ) from None


class AgentLeftovers(Resource, module="castai", name="AgentLeftovers"):
    """The agent's metadata and leader-election leases, gone when this is deleted."""

    namespace: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        kubeconfig: pulumi.Input[str],
        context: str | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AgentLeftoversProvider(),
            name,
            {"namespace": namespace, "kubeconfig": kubeconfig, "context": context},
            opts,
        )
