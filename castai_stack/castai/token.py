"""The cluster's token, with which its agent reports."""

import base64
from typing import Any, ClassVar

from castai_stack.castai.provider import CastaiHandler
from castai_stack.kube import connection
from castai_stack.plugin.handler import (
    GONE,
    CreateResult,
    DiffResult,
    Property,
    ReadResult,
    differs,
    unknown,
)
from castai_stack.plugin.run import ResourceError

_KEY = "API_KEY"
_NOT_FOUND = 404


class ClusterTokenHandler(CastaiHandler):
    """Creates one token, once, because a further one can end the one in use.

    With `secret` it takes the token that an agent of another installer uses, out of that secret.

    Sources: castai/docs, external-clusters.md (repeated onboarding invalidates the token) and
    castai/terraform-provider-castai, examples/eks/eks_cluster_gitops/README.md (an unused one
    expires within hours).
    """

    name = "ClusterToken"
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "namespace": Property("string", required=False, in_outputs=False),
        "secret": Property("string", required=False, in_outputs=False),
        "token": Property("string", computed=True, secret=True),
    }

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Replace for another cluster only."""
        replaces = differs(olds, news, "cluster_id")
        return DiffResult(changes=bool(replaces) or unknown(news, "cluster_id"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the token; nothing follows that could fail and lose it."""
        cluster_id = props["cluster_id"]
        token = self._in_use(props) or self.api().create_token(cluster_id)
        return CreateResult(f"{cluster_id}/token", {"cluster_id": cluster_id, "token": token})

    def _in_use(self, props: dict[str, Any]) -> str | None:
        """Return the key in the secret if CAST AI accepts it for the cluster."""
        from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - lazy
        from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - lazy

        if not props.get("secret"):
            return None
        token = self._secret(props["namespace"], props["secret"])
        if token is None:
            return None
        try:
            cluster = CastaiApi(self.api().url, token).get_cluster(props["cluster_id"])
        except CastaiError:
            cluster = None
        if cluster is None:
            self.run.warn(
                f"CAST AI does not accept the key in secret {props['namespace']}/"
                f"{props['secret']} for this cluster, so a new token is created; restart the "
                f"agent afterwards: kubectl rollout restart deployment -n {props['namespace']}"
            )
            return None
        return token

    def _secret(self, namespace: str, name: str) -> str | None:
        """Return the key in a secret; None if there is none."""
        from lightkube import ApiError  # noqa: PLC0415 - costs 0.4 s
        from lightkube.resources.core_v1 import Secret  # noqa: PLC0415

        settings = self.run.settings
        try:
            with connection.connect(settings.kubeconfig, settings.context) as client:
                data = client.get(Secret, name, namespace=namespace).data or {}
        except ApiError as error:
            if error.status.code == _NOT_FOUND:
                return None
            raise ResourceError(
                f"The agent's secret {namespace}/{name} cannot be read: "
                f"{connection.explain(error)}. It holds the token in use; grant get on it, or set "
                "agent.adopt to false"
            ) from None
        except Exception as error:  # noqa: BLE001 - clients and networks share no base class
            raise ResourceError(
                f"The agent's secret {namespace}/{name} cannot be read: {connection.explain(error)}"
            ) from None
        return base64.b64decode(data[_KEY]).decode() if _KEY in data else None

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report a token as gone that expired unused, or that a disconnect has ended."""
        from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - lazy
        from castai_stack.castai.model import UNAUTHENTICATED, CastaiError  # noqa: PLC0415 - lazy

        token = props.get("token")
        if not token:
            return GONE
        cluster_id = props["cluster_id"]
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            return GONE
        result = ReadResult(id_, {"cluster_id": cluster_id, "token": token})
        if cluster.agent_snapshot_received_at and not cluster.disconnected:
            return result
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
                return GONE
        return result
