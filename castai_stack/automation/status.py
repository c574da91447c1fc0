"""State of a connection and its automation, as lines of one table; each says what to do, if any."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from castai_stack.automation.settings import Automation
from castai_stack.castai.model import Cluster, Node

OLD_KEY_DAYS = 90
"""Age from which a key should be rotated.

Source: https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html (IAM.3)
"""
_IN_USE = ("ready", "warning", "hibernating", "hibernated", "resuming")
_REPAIR = "`pulumi up --refresh` sets it again"


@dataclass(frozen=True, slots=True)
class Line:
    """One part: its state, and what to do about it; empty if nothing."""

    part: str
    state: str
    to_do: str = ""


def registration(cluster: Cluster | None) -> Line:
    """Return the line of the cluster at CAST AI."""
    if cluster is None:
        return Line("registration", "CAST AI knows no such cluster", "`pulumi up` registers it")
    state = f"{cluster.id}, {cluster.status or 'no status'}"
    if cluster.disconnected:
        return Line("registration", state, "`pulumi up` connects it again")
    return Line("registration", state)


def agent(cluster: Cluster, pods: str) -> Line:
    """Return the line of the agent; `pods` describes its pods in one sentence."""
    state = f"{cluster.agent_status or 'never heard of'}; {pods}"
    if cluster.agent_status == "online":
        return Line("agent", state)
    return Line("agent", state, "kubectl logs -n castai-agent deployment/castai-agent")


def controller(automation: Automation, pods: str) -> Line:
    """Return the line of cluster-controller."""
    if not automation.controller.enabled:
        return Line("controller", "left out", "set automation.controller.enabled to true")
    if pods.startswith("all "):
        return Line("controller", pods)
    logs = "kubectl logs -n castai-agent deployment/castai-cluster-controller -c cluster-controller"
    return Line("controller", pods, logs)


def credentials(cluster: Cluster) -> Line:
    """Return the line of what CAST AI was handed."""
    if not cluster.credentials_id:
        return Line("credentials", "none handed over", "`pulumi up` hands them over")
    kind = f"role {cluster.assume_role_arn}" if cluster.assume_role_arn else "keys of a user"
    if cluster.status in _IN_USE and not cluster.reconcile_error:
        return Line("credentials", f"{kind}, in use")
    reason = cluster.reconcile_error or f"status {cluster.status}"
    return Line("credentials", f"{kind}, not in use: {reason}", "`pulumi up` waits and says more")


def access_keys(keys: Iterable[Mapping[str, Any]], now: datetime) -> list[Line]:
    """Return a line for each access key as IAM lists it."""
    lines = []
    for key in sorted(keys, key=lambda one: one["Status"]):
        days = (now - key["CreateDate"]).days
        state = f"{key['AccessKeyId']}, {key['Status']}, {days} days old"
        old = key["Status"] == "Active" and days >= OLD_KEY_DAYS
        lines.append(Line("access key", state, "raise credentials.rotation by one" if old else ""))
    return lines


def node_configuration(configurations: Sequence[Mapping[str, Any]], wanted: str | None) -> Line:
    """Return the line of the default node configuration; `wanted` is the name in the settings."""
    part = "node configuration"
    default = next((one for one in configurations if one.get("default")), None)
    if default is None:
        return Line(part, "no default one", "`pulumi up` creates it")
    eks = default.get("eks") or {}
    subnets, groups = default.get("subnets") or [], eks.get("securityGroups") or []
    name = str(default.get("name"))
    state = f"{name}: {len(subnets)} subnets, {len(groups)} security groups"
    if wanted is not None and name != wanted:
        return Line(part, state, f"not {wanted}, the one of the settings: {_REPAIR}")
    return Line(part, state)


def policies(
    answer: Mapping[str, Any] | None, v1: Mapping[str, Any] | None, *, wanted: bool
) -> Line:
    """Return the line of the autoscaler policies; `wanted`: the settings switch them on."""
    if (v1 or {}).get("enabled"):
        return Line("policies", "the deprecated ones (V1) are on", "switch V1 off")
    is_on = bool((answer or {}).get("enabled"))
    state = _on(answer or {}) if is_on else "off: CAST AI adds and removes no node"
    if is_on == wanted:
        return Line("policies", state)
    if wanted:
        return Line("policies", state, _REPAIR)
    return Line("policies", state, "switched on by others; set automation.autoscaler.enabled")


def _on(answer: Mapping[str, Any]) -> str:
    limits = answer.get("clusterLimits") or {}
    parts = [
        ("unschedulable pods", (answer.get("unschedulablePods") or {}).get("enabled")),
        ("empty nodes", (answer.get("nodeDownscaler") or {}).get("emptyNodesEnabled")),
        (f"at most {(limits.get('cpu') or {}).get('maxCores')} CPUs", limits.get("enabled")),
    ]
    return ", ".join(["on", *(name for name, enabled in parts if enabled)])


def evictor(answer: Mapping[str, Any] | None, *, wanted: bool) -> Line:
    """Return the line of the evictor."""
    if not (answer or {}).get("enabled"):
        return Line("evictor", "off", _REPAIR if wanted else "")
    state = "on, dry run" if (answer or {}).get("dryRun") else "on"
    return Line("evictor", state)


def nodes(listed: Iterable[Node]) -> Line:
    """Return the line of the nodes by lifecycle and maker."""
    kinds = Counter(
        (
            "Spot" if node.is_spot else "on-demand",
            "CAST AI" if node.made_by_castai else "others",
        )
        for node in listed
    )
    counted = [f"{count} {life} of {maker}" for (life, maker), count in sorted(kinds.items())]
    return Line("nodes", ", ".join(counted) or "none")
