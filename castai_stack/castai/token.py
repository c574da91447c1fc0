"""The cluster's token, with which its agent reports."""

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


class ClusterTokenHandler(CastaiHandler):
    """Creates one token, once, because a further one can end the one in use.

    Sources: castai/docs, external-clusters.md (repeated onboarding invalidates the token) and
    castai/terraform-provider-castai, examples/eks/eks_cluster_gitops/README.md (an unused one
    expires within hours).
    """

    name = "ClusterToken"
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "token": Property("string", computed=True, secret=True),
    }

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Replace for another cluster only."""
        replaces = differs(olds, news, "cluster_id")
        return DiffResult(changes=bool(replaces) or unknown(news, "cluster_id"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the token; nothing follows that could fail and lose it."""
        cluster_id = props["cluster_id"]
        token = self.api().create_token(cluster_id)
        return CreateResult(f"{cluster_id}/token", {"cluster_id": cluster_id, "token": token})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report a token as gone that expired unused, or that a disconnect has ended."""
        from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - lazy
        from castai_stack.castai.model import UNAUTHENTICATED, CastaiError  # noqa: PLC0415 - lazy

        gone = GONE
        token = props.get("token")
        if not token:
            return gone
        cluster_id = props["cluster_id"]
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            return gone
        kept = ReadResult(id_, {"cluster_id": cluster_id, "token": token})
        if cluster.agent_snapshot_received_at and not cluster.disconnected:
            return kept
        try:
            CastaiApi(self.api().url, token).get_cluster(cluster_id)
        except CastaiError as error:
            if error.status == UNAUTHENTICATED:
                end = "ended with the disconnect"
                if not cluster.agent_snapshot_received_at:
                    end = "expired before any agent used it"
                self.run.info(
                    f"The token of cluster {cluster_id} {end}; "
                    "the next `pulumi up` creates another."
                )
                return gone
        return kept
