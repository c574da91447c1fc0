"""The evictor's configuration V2, and its rules for single workloads.

Fields and defaults: castai/sdk/workload_eviction/models.gen.go of
castai/terraform-provider-castai.
"""

import re

from sandbox.castai.api import Document, chosen, invalid, require_fields, required, typed

_SWITCHES = (
    "aggressiveMode", "arm64Supported", "dryRun", "emitNodeRelatedPodEvents", "enabled",
    "forceDisableKarpenterMode", "forceDisableLiveMigration", "forceDisablePodMutations",
    "forceDisableWoop", "ignorePodDisruptionBudgets", "pricingAwarenessEnabled", "scopedMode",
    "softTainting", "windows",
)  # fmt: skip
_DEFAULTS: Document = {
    **dict.fromkeys(_SWITCHES, False),
    "cycleInterval": "60s",
    "drainRollbackTimeout": "60s",
    "drainTimeout": "600s",
    "maxTargetNodesPerCycle": 0,
    "minTargetNodesPerCycle": 0,
    "nodeGracePeriodMinutes": 5,
    "podEvictionFailureBackOffInterval": "5s",
    "targetNodePercentage": 0,
    "pricingModel": {"baseCpuCost": "", "baseMemCost": "", "spotDiscount": ""},
}
_KINDS = {name: type(value) for name, value in _DEFAULTS.items()}
_DURATIONS = tuple(n for n, v in _DEFAULTS.items() if isinstance(v, str))
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SETTINGS = ("aggressive", "disposable", "forceDisposable", "removalDisabled")
_OPERATORS = ("DOES_NOT_EXIST", "EXISTS", "IN", "NOT_IN")


class Evictor:
    """The evictor's two documents of one cluster."""

    def __init__(self) -> None:
        self._config = dict(_DEFAULTS)
        self._rules: list[Document] = []

    def get(self) -> Document:
        """Return the configuration, with the status that the service computes."""
        return {**self._config, "status": "EVICTOR_STATUS_MISSING"}

    def patch(self, body: Document) -> Document:
        """Write the fields that are given."""
        require_fields(body, *_DEFAULTS, "status")
        typed(body, _KINDS)
        given = {n: v for n, v in body.items() if v is not None and n != "status"}
        for name in _DURATIONS:
            if name in given:
                given[name] = _seconds(given[name], name)
        pricing = _DEFAULTS["pricingModel"]
        require_fields(given.get("pricingModel", {}), *pricing, within="pricingModel.")
        self._config |= given
        return self.get()

    def get_rules(self) -> Document:
        """Return the rules."""
        return {"evictionConfig": self._rules}

    def patch_rules(self, body: Document) -> Document:
        """Replace the list of rules."""
        rules = require_fields(body, "evictionConfig").get("evictionConfig")
        if not isinstance(rules, list):
            raise invalid("evictionConfig", "is required")
        for rule in rules:
            _check_rule(rule)
        self._rules = rules
        return self.get_rules()


def _seconds(text: str, name: str) -> str:
    match = _DURATION.fullmatch(text)
    if match is None or not match[0]:
        raise invalid(name, "must be a duration such as 60s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return f"{hours * 3600 + minutes * 60 + seconds}s"


def _check_rule(rule: Document) -> None:
    require_fields(rule, "nodeSelector", "podSelector", "settings", within="evictionConfig.")
    settings = required(rule, "settings", dict)
    require_fields(settings, *_SETTINGS, within="settings.")
    for name, setting in settings.items():
        require_fields(setting, "enabled", within=f"settings.{name}.")
    pods, nodes = rule.get("podSelector") or {}, rule.get("nodeSelector") or {}
    require_fields(pods, "kind", "labelSelector", "namespace", "replicasMin", within="podSelector.")
    require_fields(nodes, "labelSelector", within="nodeSelector.")
    for selector in filter(None, (pods.get("labelSelector"), nodes.get("labelSelector"))):
        require_fields(selector, "matchExpressions", "matchLabels", within="labelSelector.")
        for one in selector.get("matchExpressions") or []:
            require_fields(one, "key", "operator", "values", within="matchExpressions.")
            chosen(one, "operator", _OPERATORS)
