"""Handlers of the agent: its gates, which explain what its pods wait for, and its clean-up.

The Kubernetes provider waits for a rollout as well, but reports only that the minimum of pods was
not attained, and no quota or webhook that refuses them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from castai_stack.agent import names
from castai_stack.agent.names import AGENT, INSTANCE_LABEL
from castai_stack.castai.provider import CastaiHandler
from castai_stack.kube import connection
from castai_stack.kube import pods as kube_pods
from castai_stack.plugin.handler import (
    GONE,
    CreateResult,
    DiffResult,
    Handler,
    Property,
    ReadResult,
    UpdateResult,
    differs,
    unknown,
)
from castai_stack.plugin.run import ResourceError, Settings

if TYPE_CHECKING:
    import lightkube


_NOT_FOUND = 404
_COMPARED = ("namespace", "wanted")


class RolloutHandler(Handler):
    """Waits for the rollout of deployments when they change; a subclass says which and where."""

    subject: ClassVar[str]
    """Subject of the sentence on a time-out."""
    time_out: ClassVar[str]
    """Key of the setting that limits the wait."""
    selector: ClassVar[dict[str, Any]]
    """Labels of the pods to describe while the wait goes on."""
    hint: ClassVar[str] = ""
    """What else keeps these pods from becoming ready, as a sentence after the pods' own."""
    properties: ClassVar = {
        "namespace": Property("string"),
        "deployments": Property("strings", in_outputs=False),
        "wanted": Property("string"),
        "timeout_seconds": Property("integer", in_outputs=False),
    }

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare what the pods run; another time-out needs no wait."""
        changed = differs(olds, news, *_COMPARED)
        return DiffResult(changes=bool(changed) or unknown(news, *_COMPARED))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait for the first rollout."""
        return CreateResult(f"{props['namespace']}/rollout", self._wait(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Wait for another rollout."""
        return UpdateResult(self._wait(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep a gate that was passed."""
        return ReadResult(id_, {name: props[name] for name in _COMPARED})

    def _wait(self, props: dict[str, Any]) -> dict[str, Any]:
        namespace, seconds = props["namespace"], int(props["timeout_seconds"])
        wait = self.run.wait(f"rollout in namespace {namespace}", seconds)
        states: list[str] = []

        def details() -> str:
            return describe_pods(self.run.settings, namespace, self.selector, rolling_out=True)

        def look() -> bool | None:
            try:
                behind = _behind(client, namespace, props["deployments"])
            except Exception as error:  # noqa: BLE001 - the API server may be away for a moment
                behind = [connection.explain(error)]
            if not behind:
                return True
            states.append("; ".join(behind))
            wait.say(states[-1], details)
            return None

        client = connection.connect(self.run.settings.kubeconfig, self.run.settings.context)
        if wait.until(look) is None:
            raise ResourceError(
                f"{self.subject} is not rolled out within {seconds} s: {states[-1]}. "
                f"In namespace {namespace}, {details()}. {self.hint}Put that right and run "
                f"`pulumi up` again; {self.time_out} sets the time."
            )
        return {name: props[name] for name in _COMPARED}


class AgentRolloutHandler(RolloutHandler):
    """Waits for the agent and its autoscaler."""

    name = "AgentRollout"
    subject = "The agent"
    time_out = "agent.rolloutTimeoutSeconds"
    selector: ClassVar = {INSTANCE_LABEL: AGENT}


def _behind(client: "lightkube.Client", namespace: str, names: Sequence[str]) -> list[str]:
    """Return a phrase for each deployment whose pods are not all new and ready.

    Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment
    """
    from lightkube.resources.apps_v1 import Deployment  # noqa: PLC0415 - costs 0.4 s

    behind = []
    for name in names:
        deployment = client.get(Deployment, name, namespace=namespace).to_dict()
        wanted = deployment["spec"].get("replicas", 1)
        status = deployment.get("status", {})
        known = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        updated = status.get("updatedReplicas", 0) if known else 0
        available = min(updated, status.get("availableReplicas", 0))
        old = status.get("replicas", 0) - updated
        if available < wanted:
            behind.append(f"deployment {name} has {available} of {wanted} pods available")
        elif old > 0:
            behind.append(f"deployment {name} still has {old} pods of before")
    return behind


_SELECTOR: dict[str, Any] = {"app.kubernetes.io/name": "castai-agent"}


class AgentOnlineHandler(CastaiHandler):
    """Waits when it is created, and at no other time."""

    name = "AgentOnline"
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "timeout_seconds": Property("integer", in_outputs=False),
        "namespace": Property("string", in_outputs=False),
    }

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Only another cluster asks for another wait: the time-out is the run's."""
        replaces = differs(olds, news, "cluster_id")
        return DiffResult(changes=bool(replaces) or unknown(news, "cluster_id"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait for the agent; a time-out quotes the state of the pods."""
        cluster_id, seconds = props["cluster_id"], int(props["timeout_seconds"])
        wait = self.run.wait(f"agent of cluster {cluster_id}", seconds)
        statuses: list[str] = []

        def details() -> str:
            return describe_pods(self.run.settings, props["namespace"])

        def look() -> str | None:
            cluster = self.live_cluster(cluster_id)
            statuses.append(cluster.agent_status)
            if cluster.agent_status == "online":
                return cluster.agent_status
            wait.say(cluster.agent_status, details)
            return None

        if wait.until(look) is None:
            raise ResourceError(
                f"CAST AI has not heard from the agent of cluster {cluster_id} within {seconds} s: "
                f"its status is {statuses[-1]}. In namespace {props['namespace']}, {details()}. "
                "When its pods run and CAST AI still hears nothing, the cluster's token may have "
                "expired (`pulumi refresh` finds out) or no way leads to the API address."
            )
        return CreateResult(f"{cluster_id}/agent", {"cluster_id": cluster_id})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep a gate that was passed, unless the cluster is disconnected since then."""
        cluster = self.api().get_cluster(props["cluster_id"])
        if cluster is not None and cluster.disconnected:
            return GONE
        return ReadResult(id_, {"cluster_id": props["cluster_id"]})


def describe_pods(
    settings: Settings,
    namespace: str,
    labels: dict[str, Any] = _SELECTOR,
    *,
    rolling_out: bool = False,
) -> str:
    """Describe the pods with these labels in one sentence (no final period). Never raises."""
    return kube_pods.describe(
        settings.kubeconfig, settings.context, namespace, labels, rolling_out=rolling_out
    )


class AgentLeftoversHandler(Handler):
    """Creates nothing; exists to clean up on delete."""

    name = "AgentLeftovers"
    properties: ClassVar = {
        "namespace": Property("string"),
    }

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Remember the namespace."""
        return CreateResult(props["namespace"], {"namespace": props["namespace"]})

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare the namespace."""
        moved = olds["namespace"] != news["namespace"]
        return DiffResult(changes=moved, replaces=["namespace"] if moved else [])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep the outputs; there is no object to read."""
        return ReadResult(id_, {"namespace": props["namespace"]})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Delete the objects that exist."""
        # Costs 0.4 s, which a comparison need not pay.
        from lightkube import ApiError  # noqa: PLC0415
        from lightkube.resources.coordination_v1 import Lease  # noqa: PLC0415
        from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415

        namespace = props["namespace"]
        leftovers: list[tuple[type[ConfigMap | Lease], str]] = [
            (ConfigMap, names.METADATA_STORE),
            *((Lease, name) for name in names.LEASES),
        ]
        try:
            client = connection.connect(self.run.settings.kubeconfig, self.run.settings.context)
            for kind, name in leftovers:
                try:
                    client.delete(kind, name, namespace=namespace)
                except ApiError as error:
                    if error.status.code != _NOT_FOUND:
                        raise
        except Exception as error:  # noqa: BLE001 - every failure becomes one sentence
            raise ResourceError(
                f"namespace {namespace}: cannot remove what the agent left there: "
                f"{connection.explain(error)}"
            ) from None
