"""Who owns what runs in the cluster, what is taken over of it, and what to do with the owner."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from castai_stack.adopt import evictor
from castai_stack.adopt.evictor import EvictorPlan
from castai_stack.adopt.observations import InCluster, Principal, Workload
from castai_stack.adopt.rows import LEFT, NEW, TAKEN, Row
from castai_stack.agent import release as agent_release
from castai_stack.agent.names import AGENT, AUTOSCALER, NAMESPACE
from castai_stack.automation import evictor as evictor_objects
from castai_stack.automation import release as automation_release
from castai_stack.automation import spot_handler
from castai_stack.automation.names import CONTROLLER, EVICTOR, EVICTOR_AUTOSCALER, SPOT_HANDLER

_VERSION = re.compile(r"v?\d+\.\d+\.\d+([.+-][\w.-]+)?")
_SELECTORS: Mapping[str, Mapping[str, str]] = {
    AGENT: agent_release.pod_selector(AGENT),
    AUTOSCALER: agent_release.pod_selector(AUTOSCALER),
    CONTROLLER: automation_release.selector(CONTROLLER),
    EVICTOR: automation_release.selector(EVICTOR),
    EVICTOR_AUTOSCALER: evictor_objects.AUTOSCALER_SELECTOR,
    SPOT_HANDLER: spot_handler.SELECTOR,
}
"""Selectors of this program's workloads; Kubernetes never lets a selector change."""
_TAKEN_RELEASES = ("castai-agent", "cluster-controller", "castai-spot-handler")
"""Releases whose objects this program takes over under the same names."""
_EVICTOR_RELEASES = ("castai-evictor", "castai-evictor-ext")
"""Releases of the evictor, and of its further rights where Terraform installs them."""
UMBRELLA = "castai"
"""Release of the umbrella chart, which castctl installs, too."""

_TERRAFORM = "castai-eks-"
"""Begins the names of users and roles of CAST AI's Terraform modules.

Source: castai/terraform-castai-eks-role-iam, main.tf.
"""
_OUT_OF_TERRAFORM = (
    "terraform state list | grep -i cast",
    "terraform state rm ADDRESS   # of everything taken over, and of castai_eks_cluster",
)
"""Commands with the addresses left to the user, who alone knows them."""


def has_terraform(*principals: Principal | None) -> bool:
    """Return True if a user or role has a name that CAST AI's Terraform modules give."""
    return any(one is not None and one.name.startswith(_TERRAFORM) for one in principals)


def terraform_row() -> Row:
    """Return the row of Terraform's state, which nobody sees from here."""
    why = "by their names, Terraform created user, role or node role: see the commands for before"
    return Row("Terraform's state", "of CAST AI's modules", LEFT, why)


def workload_settings(
    cluster: InCluster, evictor_plan: EvictorPlan
) -> tuple[dict[str, Any], list[Row]]:
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
        if others := [one.name for one in _others(cluster, evictor_plan)]:
            own["createNamespace"] = False
            why = f"a destroy leaves it with {', '.join(others)}"
            rows.append(Row("namespace", NAMESPACE, LEFT, why))
        rows.append(_row("agent", agent))
    of_evictor = cluster.workload(EVICTOR) if not evictor_plan.left else None
    if controller or handler or of_evictor:
        settings["automation"] = {"adopt": True}
    if controller is not None:
        settings["automation"]["controller"] = _tag(controller.tag)
        upgrade = "; CAST AI's self-upgrade ends, unless automation.controller.selfUpgrade"
        row = _row("cluster-controller", controller)
        rows.append(replace(row, remark=row.remark + upgrade))
    else:
        rows.append(Row("cluster-controller", CONTROLLER, NEW, "CAST AI needs it"))
    if of_evictor is not None:
        row = _row("evictor", of_evictor)
        managed = "; CAST AI upgrades and scales it no more" if of_evictor.managed else ""
        rows.append(replace(row, remark=row.remark + managed))
    tag = _tag(of_evictor.tag) if of_evictor is not None else {}
    if section := tag | evictor_plan.settings:
        settings.setdefault("automation", {})["evictor"] = section
    rows += evictor_plan.rows
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


def _others(cluster: InCluster, evictor_plan: EvictorPlan) -> list[Workload]:
    """Return the workloads that are not taken over, by name."""
    left = evictor.WORKLOADS if evictor_plan.left else ()
    others = [one for one in cluster.workloads if one.name not in _SELECTORS or one.name in left]
    return sorted(others, key=lambda one: one.name)


def _releases(evictor_plan: EvictorPlan) -> tuple[str, ...]:
    """Return the releases whose objects are taken over, at least in part."""
    of_evictor = () if evictor_plan.left else _EVICTOR_RELEASES
    return (*_TAKEN_RELEASES, *of_evictor, UMBRELLA)


def left_in_cluster(cluster: InCluster, evictor_plan: EvictorPlan) -> Iterator[Row]:
    """Yield everything in the cluster that is not taken over."""
    for workload in _others(cluster, evictor_plan):
        why = f"installed by {workload.owner}, which keeps it"
        if workload.managed:
            why += "; CAST AI upgrades and scales it by itself"
        if workload.name == EVICTOR:
            why += f"; {evictor_plan.left}"
        yield Row("workload", workload.name, LEFT, why)
    for name, chart in sorted(cluster.releases.items()):
        why = "not taken over"
        if name in _releases(evictor_plan):
            why = "still owns what is taken over; see the commands"
        yield Row("Helm release", f"{name} ({chart})", LEFT, why)
    for component in cluster.components:
        why = "the operator would write the objects back"
        yield Row("operator's Component", component, LEFT, why)


def commands_before(cluster: InCluster, evictor_plan: EvictorPlan, *, terraform: bool) -> list[str]:
    """Return the commands that make way for the first `pulumi up`.

    A workload with another selector has to go. Its pods are away until that run creates it again;
    CAST AI's access to AWS is not touched. Without those of `terraform` the next `terraform apply`
    would write over this stack, and `terraform destroy` would disconnect the cluster.
    """
    others = _others(cluster, evictor_plan)
    return [
        *(_OUT_OF_TERRAFORM if terraform else ()),
        *(
            f"kubectl delete {one.kind.lower()} {one.name} -n {NAMESPACE}"
            for one in cluster.workloads
            if one not in others and not _in_place(one)
        ),
    ]


def commands(cluster: InCluster, evictor_plan: EvictorPlan) -> list[str]:
    """Return the commands that end the ownership of others, for after the first `pulumi up`.

    `helm uninstall` would delete the objects, so only Helm's record of the release goes.
    """
    return [
        *(
            f"kubectl delete secret -n {NAMESPACE} -l owner=helm,name={name}"
            for name in _releases(evictor_plan)
            if name in cluster.releases
        ),
        *(
            f"kubectl delete components.castware.cast.ai -n {NAMESPACE} {name} --cascade=orphan"
            for name in cluster.components
        ),
        *evictor_plan.commands,
    ]
