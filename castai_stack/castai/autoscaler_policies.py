"""The autoscaler policies (V2): whether and when CAST AI adds and removes nodes.

The service keeps a deprecated store of policies (V1) beside it and never translates between the
two; a cluster must not use both. The object carries a `version`, which each write has to name and
which changes with it (castai/terraform-provider-castai, castai/resource_autoscaler_policies.go and
docs/guides/v1-to-v2-migration.md).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from castai_stack.castai.remote_fields import (
    Fields,
    RemoteField,
    body,
    go_duration,
    over,
    seconds,
)
from castai_stack.castai.remote_settings import SingleSettingsHandler
from castai_stack.plugin.handler import (
    CheckFailure,
    CheckResult,
    Property,
)
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.waiting import Wait

FIELDS: Fields = {
    "enabled": RemoteField("enabled", absent=False),
    "unschedulable_pods": RemoteField("unschedulablePods.enabled", absent=False),
    "limit_cpu": RemoteField("clusterLimits.enabled", absent=False),
    "max_cores": RemoteField("clusterLimits.cpu.maxCores"),
    "empty_nodes": RemoteField("nodeDownscaler.emptyNodesEnabled", absent=False),
    "empty_nodes_delay_seconds": RemoteField(
        "nodeDownscaler.emptyNodesDelay", send=go_duration, read=seconds
    ),
}
_OFF = {"enabled": False}
_SETTLE_SECONDS = 300
"""How long nodes that CAST AI has begun to add or remove may take after the policies are off."""
_ATTEMPTS = 4
"""Attempts of a write whose version another writer has outdated meanwhile."""
_CONFLICT = 409


class AutoscalerPoliciesHandler(SingleSettingsHandler):
    """The policies as a whole; a change by others is drift, `version` and statuses are none."""

    name = "AutoscalerPolicies"
    fields = FIELDS
    part = "policies"
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "enabled": Property("boolean"),
        "unschedulable_pods": Property("boolean"),
        "limit_cpu": Property("boolean"),
        "max_cores": Property("integer", required=False),
        "empty_nodes": Property("boolean"),
        "empty_nodes_delay_seconds": Property("integer"),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse a limit without a number."""
        if not news.get("limit_cpu") or news.get("max_cores") is not None:
            return CheckResult(news)
        return CheckResult(news, [CheckFailure("max_cores", "is needed for a limit and not given")])

    def fetch(self, cluster_id: str) -> Mapping[str, Any] | None:
        """Return the policies."""
        return self.automation().policies(cluster_id)

    def write(self, props: dict[str, Any]) -> None:
        """Set the policies, unless the deprecated ones are on."""
        cluster_id = props["cluster_id"]
        if (self.automation().policies_v1(cluster_id) or {}).get("enabled"):
            raise ResourceError(v1_refusal(cluster_id))
        self._send(cluster_id, body(FIELDS, props))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Switch the policies off, and wait until the nodes under way have settled.

        What follows takes away what such nodes need: the connection, the role and the mapping.
        """
        cluster_id = props["cluster_id"]
        if not self.connected(cluster_id):
            return
        if self.fetch(cluster_id) is not None:
            self._send(cluster_id, _OFF)
        wait = self.run.wait(f"nodes of cluster {cluster_id} after the policies", _SETTLE_SECONDS)
        if wait.until(lambda: self._settled(cluster_id, wait)) is None:
            raise ResourceError(
                f"The autoscaler policies of cluster {cluster_id} are off, and CAST AI still adds "
                f"or removes nodes after {_SETTLE_SECONDS} s. Nothing that they need has been "
                "taken away: run the same command again."
            )

    def _send(self, cluster_id: str, wanted: Mapping[str, Any]) -> None:
        """Write with the version of now; what this program does not set keeps its value."""
        from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - lazy

        for attempt in range(1, _ATTEMPTS + 1):
            current = self.fetch(cluster_id) or {}
            version = {"version": current["version"]} if current.get("version") else {}
            try:
                self.automation().update_policies(cluster_id, {**over(current, wanted), **version})
            except CastaiError as error:
                if error.status != _CONFLICT or attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _settled(self, cluster_id: str, wait: Wait) -> bool | None:
        under_way = [
            f"{node.name or node.instance_id} ({node.phase})"
            for node in self.api().list_nodes(cluster_id)
            if node.made_by_castai and node.under_way
        ]
        if not under_way:
            return True
        wait.say(", ".join(under_way))
        return None


def v1_refusal(cluster_id: str) -> str:
    """Return why nothing is written while the deprecated policies are on."""
    return (
        f"The deprecated policies (V1) of cluster {cluster_id} are on, and CAST AI does not "
        "translate between them and the policies (V2) of this program: both would add and remove "
        "nodes. Switch V1 off where they are managed (castai_autoscaler in Terraform, or "
        f"PUT /v1/kubernetes/clusters/{cluster_id}/policies with enabled false), or set "
        "automation.autoscaler.enabled to false"
    )
