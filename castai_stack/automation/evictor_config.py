"""The evictor's configuration as an object of the cluster, and the kind of that object.

The chart installs the kind by a Job, which runs an image of a public registry with the right to
change kinds. Here it is a resource like every other.
Source: castai/helm-charts, charts/castai-evictor/crd-files
"""

from castai_stack.agent.release import Document
from castai_stack.automation.names import EVICTOR, EVICTOR_CONFIG
from castai_stack.automation.release import Release, cluster_metadata

_GROUP, _VERSION, _PLURAL = "autoscaling.cast.ai", "v1alpha1", "evictorconfigs"
API_VERSION, KIND = f"{_GROUP}/{_VERSION}", "EvictorConfig"
_ANYTHING: Document = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(release: Release) -> Document:
    """Return the definition of the kind; the evictor checks what the schema leaves open."""
    spec: Document = {
        "type": "object",
        "required": ["managementMode", "enabled", "config"],
        "properties": {
            "managementMode": {"type": "string", "enum": ["castai", "self-managed"]},
            "enabled": {"type": "boolean"},
            "config": _ANYTHING,
            "evictionRules": {"type": "array", "items": _ANYTHING},
        },
    }
    version = {
        "name": _VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": spec, "status": _ANYTHING},
            }
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": cluster_metadata(release, EVICTOR, f"{_PLURAL}.{_GROUP}"),
        "spec": {
            "group": _GROUP,
            "scope": "Cluster",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": _PLURAL,
                "singular": KIND.lower(),
            },
            "versions": [version],
        },
    }


def configuration(release: Release) -> Document:
    """Return the configuration that the evictor starts with.

    CAST AI writes its own copy of the settings over it, because its API owns them.
    Source: https://docs.cast.ai/docs/evictor-config-ownership
    """
    settings = release.settings.evictor
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": cluster_metadata(release, EVICTOR, EVICTOR_CONFIG),
        "spec": {
            "managementMode": "castai",
            "enabled": True,
            "config": {
                "dryRun": settings.dry_run,
                "aggressiveMode": settings.aggressive_mode,
                "scopedMode": settings.scoped_mode,
                "ignorePodDisruptionBudgets": settings.ignore_pod_disruption_budgets,
                "cycleInterval": f"{settings.cycle_interval_seconds}s",
                "nodeGracePeriodMinutes": settings.node_grace_period_minutes,
                **_DEFAULTS,
            },
        },
    }


_DEFAULTS: Document = {
    "arm64Supported": True,
    "drainTimeout": "10m",
    "drainRollbackTimeout": "1m",
    "emitNodeRelatedPodEvents": False,
    "forceDisableKarpenterMode": True,
    "forceDisableLiveMigration": True,
    "forceDisablePodMutations": True,
    "forceDisableWOOP": True,
    "maxTargetNodesPerCycle": 20,
    "minTargetNodesPerCycle": 5,
    "podEvictionFailureBackOff": "5s",
    "pricingAwarenessEnabled": False,
    "softTainting": False,
    "targetNodePercentage": 10,
    "windows": False,
}
"""Values of the chart; products that this program does not install are switched off."""
