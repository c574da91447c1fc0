"""The autoscaler's policies: V2 with its lock, and V1, a store of its own.

Fields and answers: castai/sdk/cluster_autoscaler_v2/models.gen.go and
castai/resource_autoscaler_policies.go of castai/terraform-provider-castai. What happens to fields
that a given section leaves out is not public; here they get their defaults.
"""

import copy
import re
from typing import Any

from sandbox.castai.api import Document, RefusalError, bounded, invalid, require_fields, typed

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_DELAY = 300
_MOST_CORES = 2**31 - 1
_DEFAULTS: Document = {
    "enabled": False,
    "scopedMode": False,
    "unschedulablePods": {
        "enabled": False,
        "partialTemplateMatchingEnabled": False,
        "podPinner": {"enabled": False},
    },
    "clusterLimits": {"enabled": False, "cpu": {"minCores": 0, "maxCores": 20}},
    "nodeDownscaler": {"emptyNodesEnabled": False, "emptyNodesDelay": f"{_DELAY}s"},
}
_STATUS = "POD_PINNER_STATUS_MISSING"
_V1: Document = {
    "enabled": False,
    "isScopedMode": False,
    "nodeTemplatesPartialMatchingEnabled": False,
    "unschedulablePods": {"enabled": False, "podPinner": {"enabled": False, "status": "Missing"}},
    "clusterLimits": {"enabled": False, "cpu": {"minCores": 1, "maxCores": 20}},
    "nodeDownscaler": {"enabled": True, "emptyNodes": {"enabled": False, "delaySeconds": _DELAY}},
    "spotInstances": {"enabled": False},
    "defaultNodeTemplateVersion": "1",
}


class Policies:
    """Both stores of one cluster."""

    def __init__(self) -> None:
        self._v2, self._version = copy.deepcopy(_DEFAULTS), 1
        self._v1 = copy.deepcopy(_V1)
        self.written = False
        """Whether somebody wrote to V2."""

    def get(self) -> Document:
        """Return the policies, fully materialised."""
        answer = copy.deepcopy(self._v2)
        answer["unschedulablePods"]["podPinner"]["status"] = _STATUS
        return {**answer, "version": str(self._version)}

    def patch(self, body: Document) -> Document:
        """Write the sections that are given, under the lock of `version`."""
        require_fields(body, *_DEFAULTS, "version")
        typed(body, {"version": str})
        if body.get("version") != str(self._version):
            raise RefusalError(409, "policies have changed, refetch the policies and try again")
        given = {name: value for name, value in body.items() if value is not None}
        given.pop("version")
        sections = {name: _filled(value, _DEFAULTS[name], name) for name, value in given.items()}
        _check(sections)
        self._v2 |= sections
        self._version += 1
        self.written = True
        return self.get()

    def get_v1(self) -> Document:
        """Return the policies V1."""
        return copy.deepcopy(self._v1)

    def put_v1(self, body: Document) -> Document:
        """Replace the policies V1 as a whole."""
        self._v1 = _filled(body, _V1, "")
        return self.get_v1()

    @property
    def launches(self) -> bool:
        """Whether pending pods get nodes."""
        return bool(self._v2["enabled"] and self._v2["unschedulablePods"]["enabled"])

    @property
    def most_cores(self) -> int | None:
        """Limit of the cluster's CPUs, if there is one."""
        limits = self._v2["clusterLimits"]
        return limits["cpu"]["maxCores"] if limits["enabled"] else None

    @property
    def empty_delay(self) -> float | None:
        """Seconds after which an empty node goes, if empty nodes go."""
        downscaler = self._v2["nodeDownscaler"]
        going = self._v2["enabled"] and downscaler["emptyNodesEnabled"]
        return float(downscaler["emptyNodesDelay"].removesuffix("s")) if going else None


def _filled(value: Any, default: Any, where: str) -> Any:
    """Return a value with its defaults; unknown fields and other types are refused."""
    if type(value) is not type(default):
        raise invalid(where, f"must be of type {type(default).__name__}")
    if not isinstance(default, dict):
        return value
    allowed = {**default, "status": ""} if where.endswith("podPinner") else default
    within = f"{where}." if where else ""
    require_fields(value, *allowed, within=within)
    filled = {name: _filled(value[name], allowed[name], within + name) for name in value}
    return {**copy.deepcopy(default), **filled}


def _check(sections: Document) -> None:
    if limits := sections.get("clusterLimits"):
        bounded(limits["cpu"], "maxCores", 2, _MOST_CORES, "clusterLimits.cpu.")
    if pods := sections.get("unschedulablePods"):
        pods["podPinner"].pop("status", None)
    if downscaler := sections.get("nodeDownscaler"):
        match = _DURATION.fullmatch(downscaler["emptyNodesDelay"])
        if match is None or not match[0]:
            raise invalid("nodeDownscaler.emptyNodesDelay", "must be a duration such as 300s")
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        downscaler["emptyNodesDelay"] = f"{hours * 3600 + minutes * 60 + seconds}s"
