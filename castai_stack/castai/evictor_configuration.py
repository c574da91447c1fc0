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
from castai_stack.castai.remote_settings import SingleSettingsHandler
from castai_stack.plugin.handler import Property

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


class EvictorConfigurationHandler(SingleSettingsHandler):
    """The configuration as a whole; the service's `status` is no drift."""

    name = "EvictorConfiguration"
    fields = FIELDS
    part = "evictor"
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

    def fetch(self, cluster_id: str) -> Mapping[str, Any] | None:
        """Return the configuration."""
        return self.automation().evictor(cluster_id)

    def write(self, props: dict[str, Any]) -> None:
        """Set the configuration."""
        self.automation().update_evictor(props["cluster_id"], body(FIELDS, props))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Switch the evictor off; the service keeps the configuration."""
        cluster_id = props["cluster_id"]
        if self.connected(cluster_id) and self.fetch(cluster_id) is not None:
            self.automation().update_evictor(cluster_id, {"enabled": False})
