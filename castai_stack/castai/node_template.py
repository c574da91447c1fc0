"""The default node template's constraints: which instances CAST AI chooses among.

Fields are those of castai/terraform-provider-castai (castai/resource_node_template.go). The
service creates the template together with the first policies and never deletes it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from castai_stack.castai.remote_fields import (
    Fields,
    RemoteField,
    body,
    canonical,
    differences,
    ordered,
    over,
    values,
)
from castai_stack.castai.remote_settings import SingleSettingsHandler
from castai_stack.plugin.handler import (
    CheckResult,
    DiffResult,
    Property,
    UpdateResult,
)
from castai_stack.plugin.run import ResourceError

DEFAULT_TEMPLATE = "default-by-castai"
FIELDS: Fields = {
    "enabled": RemoteField("isEnabled", absent=False),
    "spot": RemoteField("constraints.spot", absent=False),
    "on_demand": RemoteField("constraints.onDemand", absent=False),
    "spot_fallbacks": RemoteField("constraints.useSpotFallbacks", absent=False),
    "architectures": RemoteField("constraints.architectures", read=ordered, absent=[]),
    "zones": RemoteField("constraints.azs", read=ordered, absent=[]),
    "include_families": RemoteField(
        "constraints.instanceFamilies.include", read=ordered, absent=[]
    ),
    "exclude_families": RemoteField(
        "constraints.instanceFamilies.exclude", read=ordered, absent=[]
    ),
    "min_cpu": RemoteField("constraints.minCpu", absent=0),
    "max_cpu": RemoteField("constraints.maxCpu", absent=0),
    "min_memory_mib": RemoteField("constraints.minMemory", absent=0),
    "max_memory_mib": RemoteField("constraints.maxMemory", absent=0),
}
_OTHERS = (
    "clmEnabled",
    "configurationId",
    "customLabels",
    "customTaints",
    "rebalancingConfig",
    "shouldTaint",
)
"""Fields of the template that this program never sets."""
_APPEAR_SECONDS = 60


class NodeTemplateHandler(SingleSettingsHandler):
    """The template `default-by-castai`; constraints that the program does not set stay."""

    name = "NodeTemplate"
    fields = FIELDS
    part = DEFAULT_TEMPLATE
    properties: ClassVar = {
        "cluster_id": Property("string"),
        "enabled": Property("boolean"),
        "spot": Property("boolean"),
        "on_demand": Property("boolean"),
        "spot_fallbacks": Property("boolean"),
        "architectures": Property("strings"),
        "zones": Property("strings", required=False),
        "include_families": Property("strings", required=False),
        "exclude_families": Property("strings", required=False),
        "min_cpu": Property("integer", required=False),
        "max_cpu": Property("integer", required=False),
        "min_memory_mib": Property("integer", required=False),
        "max_memory_mib": Property("integer", required=False),
    }

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Sort lists, in which the order means nothing."""
        return CheckResult(canonical(news))

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Also notice a constraint that the program does not set any more."""
        result = super().diff(id_, olds, news)
        changes = result.changes or bool(_dropped(olds, news))
        return DiffResult(changes=changes, replaces=result.replaces)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Set the constraints, and take away those that the program does not set any more."""
        self.write(news, _dropped(olds, news))
        return UpdateResult(self.outs(news))

    def fetch(self, cluster_id: str) -> Mapping[str, Any] | None:
        """Return the template."""
        return self.automation().node_template(cluster_id, DEFAULT_TEMPLATE)

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Leave the template, which the service never deletes and policies that are off ignore."""

    def write(self, props: dict[str, Any], dropped: tuple[str, ...] = ()) -> None:
        """Set the constraints as soon as the template exists, and clear the `dropped` ones."""
        cluster_id = props["cluster_id"]
        wait = self.run.wait(f"node template {DEFAULT_TEMPLATE}", _APPEAR_SECONDS)
        existing = wait.until(lambda: self.fetch(cluster_id))
        if existing is None:
            raise ResourceError(
                f"CAST AI has no node template {DEFAULT_TEMPLATE} of cluster {cluster_id} after "
                f"{_APPEAR_SECONDS} s; it creates the template together with the policies. Run "
                "`pulumi up` again, and ask CAST AI's support if it stays away."
            )
        fields = self.given(props)
        if dropped or differences(FIELDS, values(FIELDS, existing), fields):
            self.automation().update_node_template(
                cluster_id, DEFAULT_TEMPLATE, _merged(existing, fields, dropped)
            )


def _dropped(olds: Mapping[str, Any], news: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in FIELDS if olds.get(name) is not None and news.get(name) is None)


def _merged(
    existing: Mapping[str, Any], fields: Mapping[str, Any], dropped: tuple[str, ...]
) -> dict[str, Any]:
    """Return the template to send: what the program sets over what exists.

    A PUT replaces the template, so that what others set is sent with it.
    """
    wanted = body(FIELDS, fields)
    constraints = dict(existing.get("constraints") or {})
    cleared = body(FIELDS, {name: FIELDS[name].absent for name in dropped})
    for part in (cleared, wanted):
        constraints |= over(constraints, part.get("constraints") or {})
    others = {name: existing[name] for name in _OTHERS if existing.get(name)}
    return {**others, **wanted, "constraints": constraints}
