"""What the resources over the CAST AI API share: access from `configure`, progress, bounded waits.

Address and key belong to the run, not to a resource: the environment's CASTAI_API_URL and
CASTAI_API_KEY come first, because on destroy `configure` sees the configuration of the last `up`.
Providers are pickled by reference, so their classes are importable and hold nothing before
`configure`; heavy libraries are imported where they are used, because a preview only compares.
"""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pulumi.dynamic import ConfigureRequest, ResourceProvider

from castai_stack.dynamic.base import ResourceFailed

if TYPE_CHECKING:
    from castai_stack.castai.client import CastaiApi
    from castai_stack.castai.model import Cluster


DEFAULT_URL = "https://api.cast.ai"
TAKE_OVER = "CASTAI_TAKE_OVER_CREDENTIALS"
"""Environment switch: treat credentials that somebody else handed over as this stack's."""
LEAVE_NODES = "CASTAI_LEAVE_NODES"
"""Environment switch: disconnect although nodes that CAST AI made stay without their role."""


class CastaiProvider(ResourceProvider):
    """Base of the providers: holds the run's access, and nothing of any resource."""

    # The pickle names a class and nothing else; encrypting it would only hide the diff.
    serialize_as_secret_always = False

    _url: str
    _key: str
    _client: "CastaiApi | None"

    def configure(self, req: ConfigureRequest) -> None:
        """Take address and key from the environment, else from the stack's configuration."""
        settings = req.config.get("castai")
        if isinstance(settings, str):
            settings = json.loads(settings)
        api = settings.get("api") if isinstance(settings, Mapping) else None
        configured = api.get("url") if isinstance(api, Mapping) else None
        self._url = os.environ.get("CASTAI_API_URL") or configured or DEFAULT_URL
        self._key = os.environ.get("CASTAI_API_KEY") or req.config.get("apiKey") or ""
        self._client = None

    def api(self) -> "CastaiApi":
        """Return the client, made when first needed."""
        from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - see the module's docstring

        if self._client is None:
            self._client = CastaiApi(self._url, self._key)
        return self._client

    def found(self, cluster_id: str) -> "Cluster":
        """Return the cluster, which must exist and not be archived."""
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            raise ResourceFailed(
                f"CAST AI has no live cluster {cluster_id}: it was removed there. "
                "Run `pulumi refresh`, then `pulumi up` registers it anew."
            )
        return cluster
