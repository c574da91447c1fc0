"""The evictor that another installer runs: taken over as it works now, or left with the reason.

Where its settings are: CAST AI's API in mode `castai`, the object `evictor-config` in mode
`self-managed`, and the variables of the deployment before there was such an object. The rights and
hooks of its chart that this program does not write are named with the commands that delete them.
Sources: https://docs.cast.ai/docs/evictor-config-ownership; castai/helm-charts,
charts/castai-evictor
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from castai_stack.adopt import castai_settings
from castai_stack.adopt.at_castai import refused
from castai_stack.adopt.castai_settings import Reproduced
from castai_stack.adopt.observations import InCluster, Observations
from castai_stack.adopt.rows import LEFT, TAKEN, Row
from castai_stack.agent.names import NAMESPACE
from castai_stack.automation.names import EVICTOR, EVICTOR_AUTOSCALER, EVICTOR_CONFIG

VARIABLES = {
    "DRY_RUN": "dryRun",
    "AGGRESSIVE_MODE": "aggressiveMode",
    "SCOPED_MODE": "scopedMode",
    "IGNORE_POD_DISRUPTION_BUDGETS": "ignorePodDisruptionBudgets",
    "CYCLE_INTERVAL": "cycleInterval",
    "NODE_GRACE_PERIOD_MINUTES": "nodeGracePeriodMinutes",
}
"""Fields of the configuration at CAST AI, by variable of the deployment."""
RULES = f"{EVICTOR}-config"
"""Config map of the chart, which the deployment goes on mounting: rules for single workloads."""
BESIDE = (
    ("ClusterRoleBinding", f"{EVICTOR}-ext"),
    ("ClusterRole", f"{EVICTOR}-ext"),
    ("ClusterRoleBinding", f"{EVICTOR}-crd-upgrade"),
    ("ClusterRole", f"{EVICTOR}-crd-upgrade"),
    ("ServiceAccount", f"{EVICTOR}-crd-upgrade"),
    ("ConfigMap", f"{EVICTOR}-crds"),
    ("Service", EVICTOR),
)
"""Kind and name of the chart's objects for which this program has no part."""
WORKLOADS = EVICTOR, EVICTOR_AUTOSCALER
"""Deployments that are taken over, or left, together."""
CLUSTER_WIDE = "ClusterRoleBinding", "ClusterRole"
"""Kinds of `BESIDE` without a namespace."""
_PART = "evictor's configuration"
_OWN = f"object {EVICTOR_CONFIG}"
_TO_CASTAI = json.dumps({"spec": {"managementMode": "castai"}})


@dataclass(frozen=True, slots=True)
class EvictorPlan:
    """What happens to the evictor."""

    settings: dict[str, Any] = field(default_factory=dict)
    """The section `automation.evictor`; empty without values."""
    left: str = ""
    """Why its workloads stay its installer's; empty if they are taken over, or absent."""
    rows: tuple[Row, ...] = ()
    commands: tuple[str, ...] = ()
    """Commands for after the first `pulumi up`."""


def plan(observed: Observations) -> EvictorPlan:
    """Return settings and commands; an evictor that does not work now is never started."""
    at_castai = castai_settings.evictor(
        observed.castai.evictor, observed.castai.evictor_rules, observed.place
    )
    workload = observed.cluster.workload(EVICTOR)
    if workload is None:
        return _without_workload(at_castai, "no evictor runs")
    place, section = _working(observed, at_castai)
    why = _obstacle(observed, place, section)
    if why:
        return _without_workload(at_castai, "the evictor is left", why)
    own = place == _OWN
    remark = f"from {place}{section.beside_remark}"
    if own:
        remark += "; it stays as it is until the command gives it to CAST AI's API"
    return EvictorPlan(
        {"enabled": True, **section.settings},
        rows=(Row(_PART, "V2", TAKEN, remark), *_rows(observed.cluster)),
        commands=tuple(_commands(observed.cluster, own=own)),
    )


def _working(observed: Observations, at_castai: Reproduced) -> tuple[str, Reproduced]:
    """Return where the settings are that the evictor works with now, and their values."""
    custom = observed.cluster.evictor
    if custom is None:
        workload = observed.cluster.workload(EVICTOR)
        variables = workload.variables if workload is not None else {}
        remote = {VARIABLES[name]: _value(text) for name, text in variables.items()}
        return "the variables of its deployment", _section(observed, {"enabled": True, **remote})
    if custom.get("managementMode") != "self-managed":
        return "CAST AI's API", at_castai
    values = {**(custom.get("config") or {}), "enabled": bool(custom.get("enabled"))}
    # What has no setting stays in the object, which the program never writes.
    return _OWN, replace(_section(observed, values), beside=())


def _section(observed: Observations, remote: Mapping[str, Any]) -> Reproduced:
    return castai_settings.evictor(remote, 0, observed.place)


def _value(text: str) -> Any:
    """Return a variable's value as the API spells it: true, false, a number, or a text."""
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


def _obstacle(observed: Observations, place: str, section: Reproduced) -> str:
    """Return why the evictor is left, and what takes it over; empty if nothing prevents it."""
    workload = observed.cluster.workload(EVICTOR)
    switch = "set automation.adopt and automation.evictor.enabled"
    if observed.castai.old_policies_on:
        return "its settings are in the policies V1, and this program sets V2 only: go to V2 first"
    if workload is not None and workload.replicas == 0:
        return f"it is stopped; to take it over and start it, {switch}"
    if section.refused:
        return f"automation.evictor cannot express {place}: {'; '.join(section.refused)}"
    if not section.settings:
        return f"{place} has it switched off; to take it over and switch it on, {switch}"
    return ""


def _without_workload(values: Reproduced, why: str, left: str = "") -> EvictorPlan:
    """Return CAST AI's values with the switch off, as far as there are any."""
    if values.refused:
        return EvictorPlan(left=left, rows=(refused(_PART, "V2", "evictor", values),))
    if not values.settings:
        return EvictorPlan(left=left)
    remark = f"its values are in automation.evictor, which is off: {why}{values.beside_remark}"
    return EvictorPlan(values.settings, left, (Row(_PART, "V2", LEFT, remark),))


def _rows(cluster: InCluster) -> Iterator[Row]:
    for kind, name in cluster.beside_evictor:
        if name == RULES:
            why = "the deployment goes on mounting it; rules in it stay in force"
        else:
            why = "this program needs none; see the commands"
        yield Row(f"evictor's {kind}", name, LEFT, why)


def _commands(cluster: InCluster, *, own: bool) -> Iterator[str]:
    if own:
        patch = f"kubectl patch evictorconfigs.autoscaling.cast.ai {EVICTOR_CONFIG}"
        yield f"{patch} --type merge -p '{_TO_CASTAI}'"
    for kind, name in cluster.beside_evictor:
        if name != RULES:
            where = "" if kind in CLUSTER_WIDE else f" -n {NAMESPACE}"
            yield f"kubectl delete {kind.lower()} {name}{where}"
