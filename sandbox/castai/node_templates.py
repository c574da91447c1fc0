"""Node templates: which instances the autoscaler may choose.

Fields: `NodetemplatesV1*` of castai/sdk/api.gen.go of castai/terraform-provider-castai. The
default template appears some time after policies were written first, and is never removed
(castai/resource_node_template.go).
"""

import copy

from sandbox.castai.api import Document, RefusalError, chosen, require_fields, required, typed

DEFAULT = "default-by-castai"

_KINDS = {
    "clmEnabled": bool,
    "configurationId": str,
    "constraints": dict,
    "customInstancesEnabled": bool,
    "customInstancesWithExtendedMemoryEnabled": bool,
    "customLabels": dict,
    "customTaints": list,
    "gpu": dict,
    "isDefault": bool,
    "isEnabled": bool,
    "rebalancingConfig": dict,
    "shouldTaint": bool,
}
_CONSTRAINTS = {
    "architecturePriority": list,
    "architectures": list,
    "azs": list,
    "bareMetal": bool,
    "burstable": str,
    "computeOptimized": bool,
    "cpuManufacturers": list,
    "customPriority": list,
    "customerSpecific": str,
    "enableSpotDiversity": bool,
    "enableSpotReliability": bool,
    "fallbackRestoreRateSeconds": int,
    "gpu": dict,
    "instanceFamilies": dict,
    "isGpuOnly": bool,
    "maxCpu": int,
    "maxMemory": int,
    "minCpu": int,
    "minMemory": int,
    "onDemand": bool,
    "os": list,
    "resourceLimits": dict,
    "spot": bool,
    "spotDiversityPriceIncreaseLimitPercent": int,
    "spotInterruptionPredictionsEnabled": bool,
    "spotInterruptionPredictionsType": str,
    "spotReliabilityPriceIncreaseLimitPercent": int,
    "storageOptimized": bool,
    "useSpotFallbacks": bool,
}
_NEW: Document = {
    "clmEnabled": False,
    "configurationId": "",
    "configurationName": "",
    "customInstancesEnabled": False,
    "customLabels": {},
    "customTaints": [],
    "isDefault": False,
    "isEnabled": True,
    "rebalancingConfig": {"minNodes": 0},
    "shouldTaint": True,
}
_NEW_CONSTRAINTS: Document = {
    "architectures": ["amd64"],
    "onDemand": True,
    "os": ["linux"],
    "resourceLimits": {"cpuLimitEnabled": False, "cpuLimitMaxCores": 0},
    "spot": False,
    "spotInterruptionPredictionsType": "aws-rebalance-recommendations",
    "useSpotFallbacks": False,
}


class NodeTemplates:
    """The node templates of one cluster."""

    def __init__(self) -> None:
        self._by_name: dict[str, Document] = {}

    def add_default(self) -> None:
        """Make the default template, once."""
        if DEFAULT not in self._by_name:
            self._store(DEFAULT, {"isDefault": True, "shouldTaint": False})

    def every(self, *, with_default: bool) -> list[Document]:
        """List them as the API does."""
        stats = {"countFallback": 0, "countOnDemand": 0, "countSpot": 0}
        return [
            {"stats": stats, "template": one}
            for one in self._by_name.values()
            if with_default or not one["isDefault"]
        ]

    def get(self, name: str) -> Document:
        """Return one or refuse with 404."""
        if name not in self._by_name:
            raise RefusalError(404, "node template not found")
        return self._by_name[name]

    def find(self, name: str) -> Document | None:
        """Return one, if it exists."""
        return self._by_name.get(name)

    def uses(self, configuration_id: str) -> bool:
        """Whether a template names a node configuration."""
        return any(one["configurationId"] == configuration_id for one in self._by_name.values())

    def create(self, body: Document) -> Document:
        """Make one under a new name."""
        require_fields(body, *_KINDS, "name")
        name = required(body, "name", str)
        if name in self._by_name or name == DEFAULT:
            raise RefusalError(409, "node template already exists")
        required(body, "configurationId", str)
        return self._store(name, body)

    def replace(self, name: str, body: Document) -> Document:
        """Write one anew; what is left out gets its default."""
        old = self.get(name)
        require_fields(body, *_KINDS)
        return self._store(name, body, old)

    def delete(self, name: str) -> None:
        """Remove one, unless it is the default."""
        if self.get(name)["isDefault"]:
            raise RefusalError(400, "default node template can not be deleted")
        del self._by_name[name]

    def _store(self, name: str, body: Document, old: Document | None = None) -> Document:
        typed(body, _KINDS)
        constraints = body.get("constraints") or {}
        require_fields(constraints, *_CONSTRAINTS, within="constraints.")
        typed(constraints, _CONSTRAINTS, "constraints.")
        for architecture in constraints.get("architectures") or []:
            chosen({"architectures": architecture}, "architectures", ("amd64", "arm64"))
        is_default = name == DEFAULT
        if body.get("isDefault", is_default) != is_default:
            raise RefusalError(400, f"only {DEFAULT} is the default node template")
        if body.get("customTaints") and not body.get("shouldTaint"):
            raise RefusalError(400, "customTaints need shouldTaint")
        given = {key: value for key, value in body.items() if value is not None}
        self._by_name[name] = {
            **copy.deepcopy(_NEW),
            **({"isDefault": True, "shouldTaint": False} if is_default else {}),
            **given,
            "constraints": {**copy.deepcopy(_NEW_CONSTRAINTS), **constraints},
            "name": name,
            "version": str(int(old["version"]) + 1 if old else 1),
        }
        return self._by_name[name]
