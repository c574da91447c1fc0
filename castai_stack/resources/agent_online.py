"""A gate: passes once CAST AI hears from the cluster's agent."""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource

from castai_stack.resources.service import (
    CastaiProvider,
    ResourceFailed,
    Wait,
    differs,
    unknown,
)

_SELECTOR: dict[str, Any] = {"app.kubernetes.io/name": "castai-agent"}


class AgentOnlineProvider(CastaiProvider):
    """Waits when it is created, and at no other time."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Only another cluster asks for another wait: time-outs and kubeconfigs are the run's."""
        replaces = differs(_olds, _news, "cluster_id")
        return DiffResult(changes=bool(replaces) or unknown(_news, "cluster_id"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait; when time is up, say what the pods say."""
        cluster_id, seconds = props["cluster_id"], int(props["timeout_seconds"])
        wait = Wait(f"agent of cluster {cluster_id}", seconds)
        seen: list[str] = []

        def look() -> str | None:
            cluster = self.found(cluster_id)
            seen.append(cluster.agent_status)
            if cluster.agent_status == "online":
                return cluster.agent_status
            wait.say(cluster.agent_status, lambda: pods_say(props))
            return None

        if wait.until(look) is None:
            raise ResourceFailed(
                f"CAST AI has not heard from the agent of cluster {cluster_id} within {seconds} s: "
                f"its status is {seen[-1]}. In namespace {props['namespace']}, {pods_say(props)}. "
                "When its pods run and CAST AI still hears nothing, the cluster's token may have "
                "expired (`pulumi refresh` finds out) or no way leads to the API address."
            )
        return CreateResult(f"{cluster_id}/agent", {"cluster_id": cluster_id})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep a gate that was passed; what it waited for has its own resources."""
        return ReadResult(id_, {"cluster_id": props["cluster_id"]})


def pods_say(
    props: dict[str, Any],
    labels: dict[str, Any] = _SELECTOR,
    *,
    rolling_out: bool = False,
) -> str:
    """Return one sentence on the agent's pods, without its stop; never an exception."""
    from castai_stack import kubernetes_access, pod_diagnosis  # noqa: PLC0415 - lazy

    try:
        from lightkube.resources.core_v1 import Event, Pod  # noqa: PLC0415 - lazy

        namespace = props["namespace"]
        with kubernetes_access.connect(props["kubeconfig"], props.get("context")) as client:
            pods = [pod.to_dict() for pod in client.list(Pod, namespace=namespace, labels=labels)]
            events = [event.to_dict() for event in client.list(Event, namespace=namespace)]
    except Exception as error:  # noqa: BLE001 - the wait's own message must get through
        return f"the pods could not be looked at: {kubernetes_access.explain(error)}"
    return pod_diagnosis.diagnose(pods, events, rolling_out=rolling_out)


class AgentOnline(Resource, module="castai", name="AgentOnline"):
    """Stands once the agent was heard of; others depend on it, never on a property of it."""

    cluster_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cluster_id: pulumi.Input[str],
        timeout_seconds: int,
        kubeconfig: pulumi.Input[str],
        context: str | None,
        namespace: str = "castai-agent",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AgentOnlineProvider(),
            name,
            {
                "cluster_id": cluster_id,
                "timeout_seconds": timeout_seconds,
                "kubeconfig": kubeconfig,
                "context": context,
                "namespace": namespace,
            },
            opts,
        )
