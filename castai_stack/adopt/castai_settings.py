"""Settings that reproduce what CAST AI holds of a cluster, and what no setting can express.

Fields and the values that mean the service's default: castai/terraform-provider-castai
(castai/resource_node_configuration.go, resource_autoscaler_policies.go, resource_node_template.go,
resource_evictor.go).
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from castai_stack.adopt.observations import Place
from castai_stack.castai import (
    autoscaler_policies,
    evictor_configuration,
    node_configuration,
    node_template,
)
from castai_stack.castai.remote_fields import Fields, tag_map, values
from castai_stack.config.stack_file import KEY
from castai_stack.config.validation import InvalidSettingsError, validate
from castai_stack.spelling import camel

Remote = Mapping[str, Any]

_NODES = (
    "disk_gib",
    "volume_type",
    "kms_key_arn",
    "image_family",
    "imds_v1",
    "imds_hop_limit",
    "max_pods_formula",
    "subnet_ids",
)
_SILENT: Mapping[str, tuple[Any, ...]] = {
    "id": (),
    "name": (),
    "default": (),
    "version": (),
    "createdAt": (),
    "updatedAt": (),
    "status": (),
    "isDefault": (),
    "configurationName": (),
    "containerRuntime": ("UNSPECIFIED", "unspecified", "CONTAINERD", "containerd"),
    "eks.dnsClusterIp": ("10.100.0.10", "172.20.0.10"),
    "eks.ipsPerPrefix": (1, 16),
    "clusterLimits.cpu.minCores": (1,),
    "clusterLimits.cpu.maxCores": (),
    "nodeDownscaler.emptyNodesDelay": (),
    "unschedulablePods.podPinner.status": (),
    "constraints.os": (["linux"],),
    "constraints.spotInterruptionPredictionsType": (),
    "constraints.fallbackRestoreRateSeconds": (),
    "drainTimeout": ("600s", "10m", "10m0s"),
    "drainRollbackTimeout": ("60s", "1m", "1m0s"),
    "podEvictionFailureBackOffInterval": ("5s",),
}
"""Fields of no setting: values that are the service's defaults; any value where there is none."""
_SHOWN = (bool, int, float)
"""Types whose values are shown; a text may be a script or a key."""


@dataclass(frozen=True, slots=True)
class Reproduced:
    """A section of the stack file, and what it cannot express."""

    settings: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    """Fields without a setting; they stay at CAST AI as they are."""
    refused: tuple[str, ...] = ()
    """Settings that do not allow the value found, so that this program would change it."""

    @property
    def beside_remark(self) -> str:
        """The end of a remark that names the fields without a setting; empty without any."""
        return f"; no setting has {', '.join(self.beside)}, which stay" if self.beside else ""


def nodes(configuration: Remote | None, own_groups: Collection[str], place: Place) -> Reproduced:
    """Return `automation.nodes`; `own_groups` are the groups that the program names by itself."""
    if configuration is None:
        return Reproduced()
    remote_values = values(node_configuration.FIELDS, configuration)
    tags = tag_map(remote_values.get("tags") or [])
    groups = [one for one in remote_values.get("security_group_ids") or [] if one not in own_groups]
    section = {
        "name": str(configuration.get("name") or "default"),
        **_chosen(remote_values, _NODES),
        **({"securityGroupIds": groups} if groups else {}),
        **({"tags": tags} if tags else {}),
    }
    beside = tuple(_beside(node_configuration.FIELDS, configuration))
    refused = _refused({"nodes": section}, place, kms_keys(section))
    return Reproduced(section, beside, refused)


def kms_keys(section: Mapping[str, Any]) -> list[str]:
    """Return the keys that `iam.kmsKeyArns` has to list for a section `automation.nodes`."""
    return [section["kmsKeyArn"]] if "kmsKeyArn" in section else []


def autoscaler(
    policies: Remote | None, template: Remote | None, default_configuration: str, place: Place
) -> Reproduced:
    """Return `automation.autoscaler`; nothing while the policies are off.

    `default_configuration` is the id of the default node configuration.
    """
    remote_values = values(autoscaler_policies.FIELDS, policies or {})
    if policies is None or not remote_values["enabled"]:
        return Reproduced()
    delay = remote_values.get("empty_nodes_delay_seconds")
    section: dict[str, Any] = {
        "enabled": True,
        "unschedulablePods": remote_values["unschedulable_pods"],
        **({"cpuLimit": remote_values.get("max_cores")} if remote_values["limit_cpu"] else {}),
        "emptyNodes": {
            "enabled": remote_values["empty_nodes"],
            **({} if delay is None else {"delaySeconds": delay}),
        },
    }
    beside = _beside(autoscaler_policies.FIELDS, policies)
    refused: list[str] = []
    if template is not None:
        section["nodeTemplate"] = _template(template)
        if template.get("configurationId") == default_configuration:
            template = {**template, "configurationId": ""}
        beside += [f"node template {one}" for one in _beside(node_template.FIELDS, template)]
        if not template.get("isEnabled"):
            refused.append(f"node template {node_template.DEFAULT_TEMPLATE} is off")
    refused += _refused({"autoscaler": section}, place)
    return Reproduced(section, tuple(beside), tuple(refused))


def evictor(configuration: Remote | None, rules: int, place: Place) -> Reproduced:
    """Return `automation.evictor` without its switch; nothing while CAST AI has it off."""
    remote_values = values(evictor_configuration.FIELDS, configuration or {})
    if configuration is None or not remote_values.pop("enabled"):
        return Reproduced()
    section = _chosen(remote_values, remote_values)
    beside = _beside(evictor_configuration.FIELDS, configuration)
    beside += [f"advanced rules: {rules}"] if rules else []
    return Reproduced(section, tuple(beside), _refused({"evictor": section}, place))


def _template(template: Remote) -> dict[str, Any]:
    remote_values = values(node_template.FIELDS, template)
    switches = {name: remote_values.pop(name) for name in ("spot", "on_demand", "spot_fallbacks")}
    del remote_values["enabled"]
    bounds = {name: value for name, value in remote_values.items() if value}
    return _chosen(switches | bounds, [*switches, *bounds])


def _chosen(remote_values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {
        camel(name): remote_values[name] for name in names if remote_values.get(name) is not None
    }


def _refused(
    automation: Mapping[str, Any], place: Place, kms_key_arns: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return why the settings do not allow a section: a line for each value."""
    cluster = {"name": place.cluster, "region": place.region, "accountId": place.account_id}
    settings = {
        "cluster": cluster,
        "credentials": {"mode": "role"},
        "automation": automation,
        "iam": {"kmsKeyArns": list(kms_key_arns)},
    }
    try:
        validate(settings, KEY)
    except InvalidSettingsError as error:
        return tuple(error.lines)
    return ()


def _beside(fields: Fields, remote: Remote) -> list[str]:
    """Return the fields of an object that have no setting and are no default of the service."""
    own = {one.path for one in fields.values()}
    return [
        f"{path} {json.dumps(value)}" if isinstance(value, _SHOWN) else path
        for path, value in _leaves(remote, own)
        if value and path not in own and not _is_silent(path, value)
    ]


def _is_silent(path: str, value: Any) -> bool:
    defaults = _SILENT.get(path)
    return defaults is not None and (not defaults or value in defaults)


def _leaves(remote: Remote, own: Collection[str], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in remote.items():
        path = f"{within}{key}"
        if isinstance(value, Mapping) and path not in own:
            yield from _leaves(value, own, f"{path}.")
        else:
            yield path, value
