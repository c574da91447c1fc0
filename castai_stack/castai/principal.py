"""CAST AI's own user that assumes the cluster's role."""

from typing import Any, ClassVar

from castai_stack.castai.provider import CastaiHandler
from castai_stack.plugin.handler import (
    GONE,
    CreateResult,
    DiffResult,
    Property,
    ReadResult,
    differs,
    unknown,
)


class AssumeRolePrincipalHandler(CastaiHandler):
    """Asks for the user, and has it made if there is none."""

    name = "AssumeRolePrincipal"
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "arn": Property("string", computed=True),
    }

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Replace for another cluster only."""
        replaces = differs(olds, news, "cluster_id")
        return DiffResult(changes=bool(replaces) or unknown(news, "cluster_id"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Read, then make: the service may stumble when it is asked to make what exists."""
        cluster_id = props["cluster_id"]
        arn = self.api().get_principal(cluster_id) or self._create_principal(cluster_id)
        return CreateResult(f"{cluster_id}/principal", {"cluster_id": cluster_id, "arn": arn})

    def _create_principal(self, cluster_id: str) -> str:
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
            return GONE
        arn = self.api().get_principal(cluster_id)
        if arn is None:
            return GONE
        return ReadResult(id_, {"cluster_id": cluster_id, "arn": arn})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Remove the user, after the hand-over that used it is gone."""
        self.api().delete_principal(props["cluster_id"])
