"""Who owns what runs in the cluster, what is taken over of it, and what to do with the owner."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from castai_stack.adopt.observations import InCluster, Workload
from castai_stack.adopt.rows import LEFT, NEW, TAKEN, Row
from castai_stack.agent import release as agent_release
from castai_stack.agent.names import AGENT, AUTOSCALER, NAMESPACE
from castai_stack.automation import release as automation_release
from castai_stack.automation import spot_handler
from castai_stack.automation.names import CONTROLLER, SPOT_HANDLER

_VERSION = re.compile(r"v?\d+\.\d+\.\d+([.+-][\w.-]+)?")
_SELECTORS: Mapping[str, Mapping[str, str]] = {
    AGENT: agent_release.pod_selector(AGENT),
    AUTOSCALER: agent_release.pod_selector(AUTOSCALER),
    CONTROLLER: automation_release.selector(CONTROLLER),
    SPOT_HANDLER: spot_handler.SELECTOR,
}
"""Selectors of this program's workloads; Kubernetes never lets a selector change."""
_TAKEN_RELEASES = ("castai-agent", "cluster-controller", "castai-spot-handler")
"""Releases whose objects this program takes over under the same names."""
UMBRELLA = "castai"
"""Release of the umbrella chart, which castctl installs, too."""


def workload_settings(cluster: InCluster) -> tuple[dict[str, Any], list[Row]]:
    """Return the sections `agent`, `automation` and `spot`, and the rows of the report."""
    settings: dict[str, Any] = {}
    rows: list[Row] = []
    agent, controller = cluster.workload(AGENT), cluster.workload(CONTROLLER)
    handler = cluster.workload(SPOT_HANDLER)
    if agent is not None:
        own: dict[str, Any] = {"adopt": True, **_tag(agent.tag)}
        settings["agent"] = own
        if cluster.workload(AUTOSCALER) is None:
            own["autoscaling"] = {"enabled": False}
        if agent.secret not in ("", AGENT):
            own["existingSecret"] = agent.secret
            why = "the agent goes on reading its key there"
            rows.append(Row("secret", agent.secret, LEFT, why))
        if others := _others(cluster):
            own["createNamespace"] = False
            why = f"{', '.join(others)} runs there, so a destroy leaves the namespace"
            rows.append(Row("namespace", NAMESPACE, LEFT, why))
        rows.append(_row("agent", agent))
    if controller is not None or handler is not None:
        settings["automation"] = {"adopt": True}
    if controller is not None:
        settings["automation"]["controller"] = _tag(controller.tag)
        upgrade = "; CAST AI's self-upgrade ends, unless automation.controller.selfUpgrade"
        row = _row("cluster-controller", controller)
        rows.append(replace(row, remark=row.remark + upgrade))
    else:
        rows.append(Row("cluster-controller", CONTROLLER, NEW, "CAST AI needs it"))
    if handler is not None:
        settings["automation"]["spotHandler"] = _tag(handler.tag)
        settings["spot"] = {"handler": "daemonset"}
        rows.append(_row("Spot handler", handler))
    return settings, rows


def _row(part: str, workload: Workload) -> Row:
    remark = f"version {workload.tag}, installed by {workload.owner}"
    if not _in_place(workload):
        remark += " with another selector: delete it before"
        return Row(part, workload.name, NEW, remark)
    if workload.owner == "kubectl apply":
        remark += ", and to be applied no more"
    return Row(part, workload.name, TAKEN, remark)


def _in_place(workload: Workload) -> bool:
    return workload.selector == _SELECTORS[workload.name]


def _tag(tag: str) -> dict[str, str]:
    return {"tag": tag} if _VERSION.fullmatch(tag) else {}


def _others(cluster: InCluster) -> list[str]:
    return sorted(one.name for one in cluster.workloads if one.name not in _SELECTORS)


def left_in_cluster(cluster: InCluster) -> Iterator[Row]:
    """Yield everything in the cluster that is not taken over."""
    for workload in cluster.workloads:
        if workload.name not in _SELECTORS:
            why = f"installed by {workload.owner}, which keeps it"
            if workload.managed:
                why += "; CAST AI upgrades and scales it by itself"
            yield Row("workload", workload.name, LEFT, why)
    for name, chart in sorted(cluster.releases.items()):
        why = "not taken over"
        if name in (*_TAKEN_RELEASES, UMBRELLA):
            why = "still owns what is taken over; see the commands"
        yield Row("Helm release", f"{name} ({chart})", LEFT, why)
    for component in cluster.components:
        why = "the operator would write the objects back"
        yield Row("operator's Component", component, LEFT, why)


def commands_before(cluster: InCluster) -> list[str]:
    """Return the commands that make way for the first `pulumi up`.

    A workload with another selector has to go. Its pods are away until that run creates it again;
    CAST AI's access to AWS is not touched.
    """
    return [
        f"kubectl delete {one.kind.lower()} {one.name} -n {NAMESPACE}"
        for one in cluster.workloads
        if one.name in _SELECTORS and not _in_place(one)
    ]


def commands(cluster: InCluster) -> list[str]:
    """Return the commands that end the ownership of others, for after the first `pulumi up`.

    `helm uninstall` would delete the objects, so only Helm's record of the release goes.
    """
    return [
        *(
            f"kubectl delete secret -n {NAMESPACE} -l owner=helm,name={name}"
            for name in (*_TAKEN_RELEASES, UMBRELLA)
            if name in cluster.releases
        ),
        *(
            f"kubectl delete components.castware.cast.ai -n {NAMESPACE} {name} --cascade=orphan"
            for name in cluster.components
        ),
    ]
