"""A gate: passes once the agent's deployments run what they should, or says what the pods say.

The Kubernetes provider waits for a rollout, too, and then reports that the minimum of pods was not
attained; a quota or a webhook that refuses them is not told.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from castai_stack.agent import names
from castai_stack.agent.names import AGENT, INSTANCE_LABEL
from castai_stack.castai.provider import CastaiProvider
from castai_stack.dynamic import run_settings
from castai_stack.dynamic.base import ResourceFailed, differs, unknown
from castai_stack.dynamic.waiting import Wait
from castai_stack.kube import connection

if TYPE_CHECKING:
    import lightkube


_KEPT = ("namespace", "wanted")


class AgentRolloutProvider(ResourceProvider):
    """Waits whenever the deployments are to run something else."""

    # The pickle names a class and nothing else; encrypting it would only hide the diff.
    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Only what the pods are to run counts: time-outs and kubeconfigs are the run's."""
        changed = differs(_olds, _news, *_KEPT)
        return DiffResult(changes=bool(changed) or unknown(_news, *_KEPT))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait for the first rollout."""
        return CreateResult(f"{props['namespace']}/rollout", _wait(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Wait for another rollout."""
        return UpdateResult(_wait(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Keep a gate that was passed; what it waited for has its own resources."""
        return ReadResult(id_, {name: props[name] for name in _KEPT})


class AgentRollout(Resource, module="castai", name="AgentRollout"):
    """Stands once the deployments are rolled out; others depend on it."""

    namespace: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        deployments: Sequence[str],
        wanted: pulumi.Input[str],
        timeout_seconds: int,
        kubeconfig: pulumi.Input[str],
        context: str | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AgentRolloutProvider(),
            name,
            {
                "namespace": namespace,
                "deployments": list(deployments),
                "wanted": wanted,
                "timeout_seconds": timeout_seconds,
                "kubeconfig": kubeconfig,
                "context": context,
            },
            opts,
        )


def _wait(props: dict[str, Any]) -> dict[str, Any]:
    from castai_stack.kube import connection  # noqa: PLC0415 - a comparison needs none of it
    from castai_stack.kube import kubeconfig as kube_kubeconfig  # noqa: PLC0415 - a comparison needs none of it

    namespace, seconds = props["namespace"], int(props["timeout_seconds"])
    wait = Wait(f"rollout in namespace {namespace}", seconds)
    seen: list[str] = []

    def say() -> str:
        return pods_say(props, {INSTANCE_LABEL: AGENT}, rolling_out=True)

    def look() -> bool | None:
        try:
            behind = _behind(client, namespace, props["deployments"])
        except Exception as error:  # noqa: BLE001 - the API server may be away for a moment
            behind = [connection.explain(error)]
        if not behind:
            return True
        seen.append("; ".join(behind))
        wait.say(seen[-1], say)
        return None

    try:
        client = connection.connect(props["kubeconfig"], props.get("context"))
    except kube_kubeconfig.KubeconfigError as error:
        raise ResourceFailed(str(error)) from None
    if wait.until(look) is None:
        raise ResourceFailed(
            f"The agent is not rolled out within {seconds} s: {seen[-1]}. "
            f"In namespace {namespace}, {say()}. Put that right and run `pulumi up` again; "
            "agent.rolloutTimeoutSeconds sets the time."
        )
    return {name: props[name] for name in _KEPT}


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
    from castai_stack.agent import pods as agent_pods  # noqa: PLC0415 - lazy
    from castai_stack.kube import connection  # noqa: PLC0415 - lazy

    try:
        from lightkube.resources.core_v1 import Event, Pod  # noqa: PLC0415 - lazy

        namespace = props["namespace"]
        with connection.connect(props["kubeconfig"], props.get("context")) as client:
            pods = [pod.to_dict() for pod in client.list(Pod, namespace=namespace, labels=labels)]
            events = [event.to_dict() for event in client.list(Event, namespace=namespace)]
    except Exception as error:  # noqa: BLE001 - the wait's own message must get through
        return f"the pods could not be looked at: {connection.explain(error)}"
    return agent_pods.diagnose(pods, events, rolling_out=rolling_out)


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


class AgentLeftoversProvider(ResourceProvider):
    """Creates nothing; its delete is what it is for."""

    # The pickle names a class and nothing else; encrypting it would only hide the diff.
    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Take the kubeconfig of this run: what the state keeps may be another machine's."""
        self.reached_by = run_settings.configured(req.config.get("castai"))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Remember the namespace."""
        return CreateResult(props["namespace"], props)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare the namespace: another kubeconfig is no change of the cluster."""
        moved = _olds["namespace"] != _news["namespace"]
        return DiffResult(changes=moved, replaces=["namespace"] if moved else [])

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Answer what is known; there is nothing to look at."""
        return ReadResult(id_, props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove what is there of it."""
        # Costs 0.4 s, which a comparison need not pay.
        from lightkube import ApiError  # noqa: PLC0415
        from lightkube.resources.coordination_v1 import Lease  # noqa: PLC0415
        from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415

        # A context of None does not come through.
        namespace = _props["namespace"]
        kubeconfig, context = self.reached_by or (_props["kubeconfig"], _props.get("context"))
        leftovers: list[tuple[type[ConfigMap | Lease], str]] = [
            (ConfigMap, names.METADATA_STORE),
            *((Lease, name) for name in names.LEASES),
        ]
        try:
            client = connection.connect(kubeconfig, context)
            for kind, name in leftovers:
                try:
                    client.delete(kind, name, namespace=namespace)
                except ApiError as error:
                    if error.status.code != 404:  # noqa: PLR2004 - HTTP's own number
                        raise
        except Exception as error:  # noqa: BLE001 - whatever failed, it becomes one sentence
            raise RuntimeError(
                f"namespace {namespace}: cannot remove what the agent left there: "
                f"{connection.explain(error)}"
            ) from None


class AgentLeftovers(Resource, module="castai", name="AgentLeftovers"):
    """The agent's metadata and leader-election leases, gone when this is deleted."""

    namespace: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        kubeconfig: pulumi.Input[str],
        context: str | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            AgentLeftoversProvider(),
            name,
            {"namespace": namespace, "kubeconfig": kubeconfig, "context": context},
            opts,
        )
