"""A gate: passes once the agent's deployments run what they should, or says what the pods say.

The Kubernetes provider waits for a rollout, too, and then reports that the minimum of pods was not
attained; a quota or a webhook that refuses them is not told.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from castai_stack.agent_manifests import AGENT, INSTANCE_LABEL
from castai_stack.resources.agent_online import pods_say
from castai_stack.resources.service import ResourceFailed, Wait, differs, unknown

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
    from castai_stack import kubernetes_access  # noqa: PLC0415 - a comparison needs none of it

    namespace, seconds = props["namespace"], int(props["timeout_seconds"])
    wait = Wait(f"rollout in namespace {namespace}", seconds)
    seen: list[str] = []

    def say() -> str:
        return pods_say(props, {INSTANCE_LABEL: AGENT}, rolling_out=True)

    def look() -> bool | None:
        try:
            behind = _behind(client, namespace, props["deployments"])
        except Exception as error:  # noqa: BLE001 - the API server may be away for a moment
            behind = [kubernetes_access.explain(error)]
        if not behind:
            return True
        seen.append("; ".join(behind))
        wait.say(seen[-1], say)
        return None

    try:
        client = kubernetes_access.connect(props["kubeconfig"], props.get("context"))
    except kubernetes_access.KubeconfigError as error:
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
