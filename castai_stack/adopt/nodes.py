"""Settings that reproduce CAST AI's default node configuration."""

from collections.abc import Mapping
from typing import Any

from castai_stack.castai.node_configuration import FIELDS
from castai_stack.castai.remote_fields import values

_SETTINGS = {
    "disk_gib": "diskGib",
    "volume_type": "volumeType",
    "kms_key_arn": "kmsKeyArn",
    "image_family": "imageFamily",
    "imds_v1": "imdsV1",
    "imds_hop_limit": "imdsHopLimit",
    "max_pods_formula": "maxPodsFormula",
    "subnet_ids": "subnetIds",
}


def nodes_settings(configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the section `automation.nodes`; empty without an existing configuration."""
    if configuration is None:
        return {}
    found = values(FIELDS, configuration)
    settings = {
        setting: found[name] for name, setting in _SETTINGS.items() if found.get(name) is not None
    }
    tags = {tag["key"]: tag["value"] for tag in found.get("tags") or []}
    return {
        "name": str(configuration.get("name") or "default"),
        **settings,
        **({"tags": tags} if tags else {}),
    }
