"""CAST AI's own user that assumes the cluster's role."""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource

from castai_stack.castai.provider import CastaiProvider
from castai_stack.dynamic.base import differs, unknown


class AssumeRolePrincipalProvider(CastaiProvider):
    """Asks for the user, and has it made if there is none."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Replace for another cluster only."""
        replaces = differs(_olds, _news, "cluster_id")
        return DiffResult(changes=bool(replaces) or unknown(_news, "cluster_id"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Read, then make: the service may stumble when it is asked to make what exists."""
        cluster_id = props["cluster_id"]
        arn = self.api().get_principal(cluster_id) or self._made(cluster_id)
        return CreateResult(f"{cluster_id}/principal", {"cluster_id": cluster_id, "arn": arn})

    def _made(self, cluster_id: str) -> str:
        from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - lazy

        try:
            return self.api().create_principal(cluster_id)
        except CastaiError:
            # The request may have been carried out although its answer is an error.
            arn = self.api().get_principal(cluster_id)
            if arn is None:
                raise
            return arn

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report what the service says now."""
        cluster_id = props["cluster_id"]
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            return ReadResult("", {})
        arn = self.api().get_principal(cluster_id)
        if arn is None:
            return ReadResult("", {})
        return ReadResult(id_, {"cluster_id": cluster_id, "arn": arn})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the user, after the hand-over that used it is gone."""
        self.api().delete_principal(_props["cluster_id"])


class AssumeRolePrincipal(Resource, module="castai", name="AssumeRolePrincipal"):
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
            AssumeRolePrincipalProvider(),
            name,
            {"cluster_id": cluster_id, "arn": None},
            opts,
        )
