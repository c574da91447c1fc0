"""Settings that reproduce CAST AI's default node configuration."""

from collections.abc import Mapping
from typing import Any

from castai_stack.castai.node_configuration import FIELDS
from castai_stack.castai.remote_fields import values
from castai_stack.spelling import camel

_SETTINGS = (
    "disk_gib",
    "volume_type",
    "kms_key_arn",
    "image_family",
    "imds_v1",
    "imds_hop_limit",
    "max_pods_formula",
    "subnet_ids",
)


def nodes_settings(configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the section `automation.nodes`; empty without an existing configuration."""
    if configuration is None:
        return {}
    found = values(FIELDS, configuration)
    settings = {camel(name): found[name] for name in _SETTINGS if found.get(name) is not None}
    tags = {tag["key"]: tag["value"] for tag in found.get("tags") or []}
    return {
        "name": str(configuration.get("name") or "default"),
        **settings,
        **({"tags": tags} if tags else {}),
    }
