"""Who owns what runs in the cluster, what is taken over of it, and what to do with the owner."""

import re
from collections.abc import Iterator
from typing import Any

from castai_stack.adopt.observations import InCluster
from castai_stack.agent.names import AGENT, AUTOSCALER, NAMESPACE
from castai_stack.automation.names import CONTROLLER, SPOT_HANDLER

_VERSION = re.compile(r"v?\d+\.\d+\.\d+([.+-][\w.-]+)?")
_OURS = {AGENT, AUTOSCALER, CONTROLLER, SPOT_HANDLER}
_TAKEN_RELEASES = ("castai-agent", "cluster-controller", "castai-spot-handler")
"""Releases whose objects this program takes over under the same names."""
_UMBRELLA = "castai"

Row = tuple[str, str, str, str]


def workload_settings(cluster: InCluster) -> tuple[dict[str, Any], list[Row]]:
    """Return the sections `agent`, `automation` and `spot`, and the rows of the report."""
    settings: dict[str, Any] = {}
    rows: list[Row] = []
    agent, controller = cluster.workload(AGENT), cluster.workload(CONTROLLER)
    spot_handler = cluster.workload(SPOT_HANDLER)
    if agent is not None:
        without: dict[str, Any] = {}
        if cluster.workload(AUTOSCALER) is None:
            without["autoscaling"] = {"enabled": False}
        settings["agent"] = {"adopt": True, **_tag(agent.tag), **without}
        rows.append(("agent", AGENT, "taken over", f"version {agent.tag}"))
    if controller is not None or spot_handler is not None:
        settings["automation"] = {"adopt": True}
    if controller is not None:
        settings["automation"]["controller"] = _tag(controller.tag)
        rows.append(("cluster-controller", CONTROLLER, "taken over", f"version {controller.tag}"))
    else:
        rows.append(("cluster-controller", CONTROLLER, "created", "CAST AI needs it"))
    if spot_handler is not None:
        settings["automation"]["spotHandler"] = _tag(spot_handler.tag)
        settings["spot"] = {"handler": "daemonset"}
        remark = f"version {spot_handler.tag}"
        rows.append(("Spot handler", SPOT_HANDLER, "taken over", remark))
    return settings, rows


def _tag(tag: str) -> dict[str, str]:
    return {"tag": tag} if _VERSION.fullmatch(tag) else {}


def left_in_cluster(cluster: InCluster) -> Iterator[tuple[str, str, str]]:
    """Yield part, name and reason of everything in the cluster that is not taken over."""
    for workload in cluster.workloads:
        if workload.name not in _OURS:
            yield "workload", workload.name, "its installer keeps it"
    for name, chart in sorted(cluster.releases.items()):
        why = "still owns what is taken over; see the commands"
        if name not in _TAKEN_RELEASES:
            why = "not taken over"
        yield "Helm release", f"{name} ({chart})", why
    for component in cluster.components:
        yield "operator's Component", component, "the operator would write the objects back"


def commands(cluster: InCluster) -> list[str]:
    """Return the commands that end the ownership of others, for after the first `pulumi up`.

    `helm uninstall` would delete the objects, so only Helm's record of the release goes.
    """
    printed = [
        f"kubectl delete secret -n {NAMESPACE} -l owner=helm,name={name}"
        for name in _TAKEN_RELEASES
        if name in cluster.releases
    ]
    if _UMBRELLA in cluster.releases:
        printed.append(
            f"# release {_UMBRELLA}: its selectors differ; docs/automation.md says what to do"
        )
    printed += [
        f"kubectl delete components.castware.cast.ai -n {NAMESPACE} {name} --cascade=orphan"
        for name in cluster.components
    ]
    return printed
