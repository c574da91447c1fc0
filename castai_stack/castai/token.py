"""The cluster's token, with which its agent reports."""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource

from castai_stack.castai.provider import CastaiProvider
from castai_stack.dynamic.base import differs, tell, unknown


class ClusterTokenProvider(CastaiProvider):
    """Makes one token, once: a further one can take the place of the one in use.

    Sources: castai/docs, external-clusters.md (repeated onboarding invalidates the token) and
    castai/terraform-provider-castai, examples/eks/eks_cluster_gitops/README.md (an unused one
    expires within hours).
    """

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Replace for another cluster only."""
        replaces = differs(_olds, _news, "cluster_id")
        return DiffResult(changes=bool(replaces) or unknown(_news, "cluster_id"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the token; nothing follows that could fail and lose it."""
        cluster_id = props["cluster_id"]
        token = self.api().create_token(cluster_id)
        return CreateResult(f"{cluster_id}/token", {"cluster_id": cluster_id, "token": token})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report a token as gone when it expired before any agent used it."""
        from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - lazy
        from castai_stack.castai.model import UNAUTHENTICATED, CastaiError  # noqa: PLC0415 - lazy

        gone = ReadResult("", {})
        token = props.get("token")
        if not token:
            return gone
        cluster_id = props["cluster_id"]
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            return gone
        kept = ReadResult(id_, {"cluster_id": cluster_id, "token": token})
        if cluster.agent_snapshot_received_at:
            return kept
        try:
            CastaiApi(self.api().url, token).get_cluster(cluster_id)
        except CastaiError as error:
            if error.status == UNAUTHENTICATED:
                tell(
                    f"The token of cluster {cluster_id} expired before any agent used it; "
                    "the next `pulumi up` makes another."
                )
                return gone
        return kept


class ClusterToken(Resource, module="castai", name="ClusterToken"):
    """A token of one cluster; `token` is a secret."""

    cluster_id: pulumi.Output[str]
    token: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            ClusterTokenProvider(),
            name,
            {"cluster_id": cluster_id, "token": None},
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=["token"])
            ),
        )
