"""A gate: CAST AI uses the credentials that it was handed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from castai_stack.castai import readiness
from castai_stack.castai.provider import CastaiHandler
from castai_stack.kube import pods
from castai_stack.plugin.handler import (
    CreateResult,
    DiffResult,
    Property,
    ReadResult,
    UpdateResult,
    differs,
    unknown,
)
from castai_stack.plugin.run import ResourceError

if TYPE_CHECKING:
    from castai_stack.castai.model import Cluster

_IN_USE = ("ready", "warning", "hibernating", "hibernated", "resuming")


class CredentialsReadyHandler(CastaiHandler):
    """Waits whenever there is another hand-over."""

    name = "CredentialsReady"
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "credentials_id": Property("string"),
        "timeout_seconds": Property("integer", in_outputs=False),
        "namespace": Property("string", required=False, in_outputs=False),
        "controller": Property("string", required=False, in_outputs=False),
    }

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Wait for every new hand-over."""
        replaces = differs(olds, news, "cluster_id")
        changes = (
            bool(replaces)
            or unknown(news, "cluster_id", "credentials_id")
            or bool(differs(olds, news, "credentials_id"))
        )
        return DiffResult(changes=changes, replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait."""
        return CreateResult(f"{props['cluster_id']}/ready", self._wait(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Wait again."""
        return UpdateResult(self._wait(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep a gate that was passed."""
        return ReadResult(id_, _ready_outs(props))

    def _wait(self, props: dict[str, Any]) -> dict[str, Any]:
        cluster_id, seconds = props["cluster_id"], int(props["timeout_seconds"])
        wait = self.run.wait(f"CAST AI's access to cluster {cluster_id}", seconds)
        clusters: list[Cluster] = []

        def missing() -> str:
            return ", and ".join(readiness.missing(clusters[-1], self._controller(props)))

        def look() -> bool | None:
            cluster = self.live_cluster(cluster_id)
            clusters.append(cluster)
            if cluster.credentials_id != props["credentials_id"]:
                raise ResourceError(
                    f"Other credentials were handed over for cluster {cluster_id} while this "
                    "stack waited for its own to be used. Run `pulumi refresh` and `pulumi up` to "
                    "hand over again."
                )
            if cluster.status in _IN_USE:
                return True
            wait.say(cluster.status, missing)
            if cluster.status == "failed":
                # The service does not try again of itself (its status `failed`).
                self.api().reconcile(cluster_id)
            return None

        if wait.until(look) is None:
            raise ResourceError(
                f"CAST AI does not use the access to cluster {cluster_id} after {seconds} s: its "
                f"status is {clusters[-1].status}. What is missing: {missing()}. Check the cluster "
                f"in CAST AI's console{readiness.logs(props)}; the next `pulumi up` waits again."
            )
        return _ready_outs(props)

    def _controller(self, props: Mapping[str, Any]) -> str | None:
        """Describe the pods of cluster-controller; None where this stack runs none."""
        if not props.get("controller"):
            return None
        settings, labels = self.run.settings, {"app.kubernetes.io/name": props["controller"]}
        return pods.describe(settings.kubeconfig, settings.context, props["namespace"], labels)


def _ready_outs(props: Mapping[str, Any]) -> dict[str, Any]:
    return {"cluster_id": props["cluster_id"], "credentials_id": props["credentials_id"]}
