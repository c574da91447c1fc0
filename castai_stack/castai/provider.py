"""Base of the handlers over the CAST AI API.

Heavy libraries are imported where they are used, because a preview only compares.
"""

from typing import TYPE_CHECKING

from castai_stack.plugin.handler import Handler
from castai_stack.plugin.run import ResourceError

if TYPE_CHECKING:
    from castai_stack.castai.client import CastaiApi
    from castai_stack.castai.model import Cluster

TAKE_OVER = "CASTAI_TAKE_OVER_CREDENTIALS"
"""Environment switch: treat credentials of another hand-over as this stack's."""
LEAVE_NODES = "CASTAI_LEAVE_NODES"
"""Environment switch: disconnect although nodes that CAST AI made stay without their role."""


class CastaiHandler(Handler):
    """A resource type over the CAST AI API."""

    _client: "CastaiApi | None" = None

    def api(self) -> "CastaiApi":
        """Return the client, created when first needed."""
        from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - see the module's docstring

        if self._client is None:
            settings = self.run.settings
            self._client = CastaiApi(settings.api_url, settings.api_key)
        return self._client

    def live_cluster(self, cluster_id: str) -> "Cluster":
        """Return the cluster, which must exist and not be archived."""
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            raise ResourceError(
                f"CAST AI has no live cluster {cluster_id}: it was removed there. "
                "Run `pulumi refresh`, then `pulumi up` registers it again."
            )
        return cluster
