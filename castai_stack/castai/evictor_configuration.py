"""The evictor's configuration (V2): whether and how it packs pods onto fewer nodes.

Fields and defaults are those of castai/terraform-provider-castai (castai/resource_evictor.go and
castai/sdk/workload_eviction/models.gen.go); that source says that the service may ignore some.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from castai_stack.castai.remote_fields import (
    Fields,
    RemoteField,
    body,
    go_duration,
    seconds,
)
from castai_stack.castai.remote_settings import RemoteSettingsHandler
from castai_stack.plugin.handler import (
    GONE,
    CreateResult,
    Property,
    ReadResult,
    UpdateResult,
)

FIELDS: Fields = {
    "enabled": RemoteField("enabled", absent=False),
    "dry_run": RemoteField("dryRun", absent=False),
    "aggressive_mode": RemoteField("aggressiveMode", absent=False),
    "scoped_mode": RemoteField("scopedMode", absent=False),
    "ignore_pod_disruption_budgets": RemoteField("ignorePodDisruptionBudgets", absent=False),
    "cycle_interval_seconds": RemoteField(
        "cycleInterval", send=go_duration, read=seconds, absent=60
    ),
    "node_grace_period_minutes": RemoteField("nodeGracePeriodMinutes", absent=5),
}


class EvictorConfigurationHandler(RemoteSettingsHandler):
    """The configuration as a whole; the service's `status` is no drift."""

    name = "EvictorConfiguration"
    fields = FIELDS
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "enabled": Property("boolean"),
        "dry_run": Property("boolean"),
        "aggressive_mode": Property("boolean"),
        "scoped_mode": Property("boolean"),
        "ignore_pod_disruption_budgets": Property("boolean"),
        "cycle_interval_seconds": Property("integer"),
        "node_grace_period_minutes": Property("integer"),
    }

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Set the configuration; the write may be repeated."""
        return CreateResult(f"{props['cluster_id']}/evictor", self._set(props))

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Set the configuration."""
        return UpdateResult(self._set(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Read the fields that the program sets."""
        remote = self.automation().evictor(props["cluster_id"])
        return GONE if remote is None else ReadResult(id_, self.outs(props, remote))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Switch the evictor off; the service keeps the configuration."""
        cluster_id = props["cluster_id"]
        if self.connected(cluster_id) and self.automation().evictor(cluster_id) is not None:
            self.automation().update_evictor(cluster_id, {"enabled": False})

    def _set(self, props: Mapping[str, Any]) -> dict[str, Any]:
        self.automation().update_evictor(props["cluster_id"], body(FIELDS, props))
        return self.outs(props)
