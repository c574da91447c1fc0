"""What CAST AI holds of a cluster besides its registration: settings for it, and what stays."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from castai_stack.adopt import castai_settings
from castai_stack.adopt.castai_settings import Reproduced
from castai_stack.adopt.observations import AtCastai, Group, Observations
from castai_stack.adopt.rows import LEFT, TAKEN, Row
from castai_stack.castai.node_template import DEFAULT_TEMPLATE

_CONSOLE = "the console or Terraform keeps it"


@dataclass(slots=True)
class Sections:
    """Sections of the stack file, and rows of the report."""

    automation: dict[str, Any] = field(default_factory=dict)
    kms_keys: list[str] = field(default_factory=list)
    """Keys for `iam.kmsKeyArns`."""
    rows: list[Row] = field(default_factory=list)


def sections(observed: Observations, group: Group | None) -> Sections:
    """Return settings for nodes and autoscaler; `group` is the group that is taken over.

    A part that the settings cannot express is left to the console as a whole, because the program
    would change what it cannot express.
    """
    result = Sections()
    _nodes(result, observed, group)
    _autoscaler(result, observed)
    result.rows += _others(observed.castai)
    return result


def _nodes(result: Sections, observed: Observations, group: Group | None) -> None:
    configuration, place = observed.castai.configuration, observed.place
    own = {place.cluster_group, *([group.id] if group is not None else [])}
    section = castai_settings.nodes(configuration, own, place)
    if configuration is None:
        result.automation["nodes"] = {}
        return
    name = str(configuration.get("name") or "default")
    if section.refused:
        result.automation["nodes"] = {"enabled": False}
        result.rows.append(refused("node configuration", name, "nodes", section))
        return
    used = (configuration.get("eks") or {}).get("securityGroups") or []
    without = {"createSecurityGroup": False} if used and group is None else {}
    result.automation["nodes"] = section.settings | without
    result.kms_keys = castai_settings.kms_keys(section.settings)
    row = _takeover_row("node configuration", name, section)
    remark = row.remark
    if used and place.cluster_group not in used:
        remark += "; `up` adds the cluster's own security group"
    if "imageFamily" not in section.settings:
        remark += "; `up` sets an image family, which CAST AI chooses now"
    result.rows.append(replace(row, remark=remark))


def _autoscaler(result: Sections, observed: Observations) -> None:
    castai = observed.castai
    part = "autoscaler policies"
    if castai.old_policies_on:
        why = (
            "V1 is on, and this program sets V2 only: CAST AI translates nothing between them. "
            "Go to V2 first, then set automation.autoscaler"
        )
        result.rows.append(Row(part, "V1", LEFT, why))
        return
    default = str((castai.configuration or {}).get("id") or "")
    section = castai_settings.autoscaler(castai.policies, castai.template, default, observed.place)
    if not section.settings:
        why = "off, and they stay off; automation.autoscaler switches them on"
        result.rows.append(Row(part, "V2", LEFT, why))
    elif section.refused:
        result.rows.append(refused(part, "V2", "autoscaler", section))
    else:
        result.automation["autoscaler"] = section.settings
        result.rows.append(_takeover_row(part, f"V2 and {DEFAULT_TEMPLATE}", section))


def _others(castai: AtCastai) -> Iterator[Row]:
    for name in castai.configurations:
        yield Row("node configuration", name, LEFT, _CONSOLE)
    for name in castai.templates:
        yield Row("node template", name, LEFT, _CONSOLE)


def _takeover_row(part: str, name: str, section: Reproduced) -> Row:
    return Row(part, name, TAKEN, f"its values are settings{section.beside_remark}")


def refused(part: str, name: str, section: str, reproduced: Reproduced) -> Row:
    """Return the row of a part that the section of `automation` cannot express."""
    lines = "; ".join(reproduced.refused)
    why = f"automation.{section} cannot express it, so it is off: {lines}"
    return Row(part, name, LEFT, why)
