"""Objects on their way out: deletes that a killed run has asked for and that go on without it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightkube

from castai_stack.commands.cluster import ClusterError, answering, connected
from castai_stack.commands.command_line import RefusedError
from castai_stack.commands.pending_creates import Pending, PendingLookup, kubernetes_id, pending
from castai_stack.commands.target import Target
from castai_stack.kube import kinds
from castai_stack.plugin.waiting import Wait

KUBERNETES_SECONDS = 300.0
"""A namespace goes when the last of its objects has gone, and pods take their grace period."""
CASTAI_SECONDS = 900.0
"""As long as castai/terraform-provider-castai waits for a disconnect (castai/cluster.go)."""
AWS_SECONDS = 30.0
"""How long AWS may list an object after its delete; one that stays longer was not deleted."""


def await_kubernetes(
    deployment: Mapping[str, Any], target: Target, report: Callable[[str], None]
) -> None:
    """Wait until no object of the state is being deleted by the API server.

    Raises RefusedError when one still is after `KUBERNETES_SECONDS`.
    """
    objects = [one for one in _resources(deployment) if one.type.startswith("kubernetes:")]
    if not objects:
        return
    with connected(target) as client:
        _await(
            "the API server deletes",
            KUBERNETES_SECONDS,
            lambda: [label for one in objects if (label := _leaving(client, one))],
            report,
            "`kubectl get --output yaml` shows the finalizers that hold it; run this again "
            "when it is gone",
        )


def await_aws(
    deployment: Mapping[str, Any], lookup: PendingLookup, report: Callable[[str], None]
) -> None:
    """Wait until AWS lists no object that the killed run was deleting, or that it stays."""
    deletes = list(pending(deployment, "deleting"))
    _await(
        "AWS still lists",
        AWS_SECONDS,
        lambda: [one.name for one in deletes if lookup.aws_object(one)],
        report,
        None,
    )


def await_castai(
    deployment: Mapping[str, Any], lookup: PendingLookup, report: Callable[[str], None]
) -> None:
    """Wait until CAST AI has disconnected the cluster, and complete the removal of it.

    Raises RefusedError when the disconnect goes on after `CASTAI_SECONDS`.
    """
    deletes = list(pending(deployment, "deleting"))
    _await(
        "CAST AI disconnects the cluster of",
        CASTAI_SECONDS,
        lambda: [one.name for one in deletes if lookup.leaving_cluster(one)],
        report,
        "look at it in the console; run this again when it is disconnected",
    )
    for delete in deletes:
        lookup.complete_removal(delete)


def _await(
    state: str,
    seconds: float,
    remaining: Callable[[], list[str]],
    report: Callable[[str], None],
    advice: str | None,
) -> None:
    """Wait until nothing remains; when time is up, an error with the advice, if there is one."""
    names = remaining()
    if names:
        report(f"{state} {', '.join(names)}; waiting at most {seconds:.0f} s")
    wait = Wait(state, seconds)
    while names and wait.pause():
        names = remaining()
    if names and advice:
        raise RefusedError(f"{state} {', '.join(names)} after {seconds:.0f} s still; {advice}")


def _resources(deployment: Mapping[str, Any]) -> Iterable[Pending]:
    state = {
        one["urn"]: Pending(one["urn"], one["type"], one.get("inputs") or {})
        for one in deployment.get("resources") or ()
    }
    return ({one.urn: one for one in pending(deployment, "deleting")} | state).values()


def _leaving(client: lightkube.Client, operation: Pending) -> str | None:
    """Return kind and name of an object that is being deleted; None for every other object."""
    name = kubernetes_id(operation.inputs)
    api_version, kind = operation.inputs.get("apiVersion"), operation.inputs.get("kind")
    if not (name and api_version and kind):
        return None
    namespace, _, short = name.rpartition("/")
    where: dict[str, Any] = {"namespace": namespace} if namespace else {}
    resource: Any = kinds.load(api_version, kind)
    try:
        with answering():
            live = client.get(resource, short, **where)
    except ClusterError as error:
        if error.not_found:
            return None
        raise
    return f"{kind} {name}" if live.metadata and live.metadata.deletionTimestamp else None
