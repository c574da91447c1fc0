"""The evictor's documents; the API server's view is shown elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from castai_stack.kube import rbac
from tests.automation.test_controller_manifests import env, objects

GOLDEN = Path(__file__).parents[1] / "golden" / "evictor_rbac.yaml"


def evictor(agent: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    result = objects(agent, evictor={"enabled": True, **changes})
    return {
        part.removeprefix("evictor-"): one
        for part, one in result.items()
        if part.startswith("evictor-")
    }


def container(document: dict[str, Any]) -> dict[str, Any]:
    (one,) = document["spec"]["template"]["spec"]["containers"]
    return one


def test_it_is_off_by_default():
    assert not [part for part in objects() if part.startswith("evictor-")]


def test_the_parts_are_those_that_cast_ai_ships_without_its_job():
    result = {
        part: f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for part, one in evictor().items()
    }

    assert result == {
        "service-account": "ServiceAccount castai-agent/castai-evictor",
        "cluster-role": "ClusterRole /castai-evictor",
        "cluster-role-binding": "ClusterRoleBinding /castai-evictor",
        "role": "Role castai-agent/castai-evictor",
        "role-binding": "RoleBinding castai-agent/castai-evictor",
        "definition": "CustomResourceDefinition /evictorconfigs.autoscaling.cast.ai",
        "configuration": "EvictorConfig /evictor-config",
        "deployment": "Deployment castai-agent/castai-evictor",
        "sizes": "ConfigMap castai-agent/castai-evictor-autoscaler",
        "autoscaler": "Deployment castai-agent/castai-evictor-cpvpa",
    }


def test_castai_is_told_not_to_manage_the_deployment():
    assert evictor()["deployment"]["metadata"]["labels"]["charts.cast.ai/managed"] == "false"


def test_the_rules_are_the_reviewed_ones():
    created_result = evictor()

    result = {part: created_result[part]["rules"] for part in ("cluster-role", "role")}
    assert result == yaml.safe_load(GOLDEN.read_text())


def test_it_writes_nodes_and_evictions_only_and_inside_its_namespace_its_own_deployment():
    result = evictor()
    writes = {"create", "update", "patch", "delete"}
    for rule in result["cluster-role"]["rules"]:
        if writes & set(rule["verbs"]):
            assert set(rule["resources"]) <= {"nodes", "pods", "pods/eviction", "events"}, rule
        assert "secrets" not in rule["resources"]
    (patch,) = [rule for rule in result["role"]["rules"] if rule["apiGroups"] == ["apps"]]
    assert patch == rbac.rule("apps", ["deployments"], ["patch"], names=["castai-evictor"])


def test_the_definition_names_the_kind_as_rules_and_the_client_do():
    result = evictor()
    spec, config = result["definition"]["spec"], result["configuration"]

    assert (spec["group"], spec["names"]["plural"]) == rbac.resource_of(config)
    assert result["definition"]["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
    assert config["apiVersion"] == f"{spec['group']}/{spec['versions'][0]['name']}"
    assert spec["names"]["kind"] == config["kind"]
    schema = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(schema["required"]) <= set(config["spec"])


@pytest.mark.parametrize(
    ("setting", "value", "field", "variable", "text"),
    [
        ("dry_run", False, "dryRun", "DRY_RUN", "false"),
        ("aggressive_mode", True, "aggressiveMode", "AGGRESSIVE_MODE", "true"),
        ("scoped_mode", True, "scopedMode", "SCOPED_MODE", "true"),
        (
            "ignore_pod_disruption_budgets",
            True,
            "ignorePodDisruptionBudgets",
            "IGNORE_POD_DISRUPTION_BUDGETS",
            "true",
        ),
        (
            "node_grace_period_minutes",
            7,
            "nodeGracePeriodMinutes",
            "NODE_GRACE_PERIOD_MINUTES",
            "7",
        ),
    ],
)
def test_the_configuration_and_the_variables_say_the_same(setting, value, field, variable, text):
    result = evictor(**{setting: value})

    assert result["configuration"]["spec"]["config"][field] == value
    assert env(container(result["deployment"]))[variable] == text
    assert evictor()["configuration"]["spec"]["config"][field] != value


def test_it_starts_with_a_dry_run_and_castai_as_the_owner_of_its_configuration():
    result = evictor(cycle_interval_seconds=90)

    assert result["configuration"]["spec"]["managementMode"] == "castai"
    assert result["configuration"]["spec"]["config"]["dryRun"] is True
    assert result["configuration"]["spec"]["config"]["cycleInterval"] == "90s"
    assert env(container(result["deployment"]))["CYCLE_INTERVAL"] == "90s"


def test_its_memory_is_the_autoscalers_and_both_run_under_one_account():
    result = evictor({"autoscaling": {"image_registry": "mirror.example/cpa", "tag": "v0.8.9"}})
    main, autoscaler = container(result["deployment"]), container(result["autoscaler"])
    sizes = json.loads(result["sizes"]["data"]["evictor-autoscaler"])

    assert main["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1000m"}}
    assert sizes[main["name"]]["requests"]["memory"]["base"] == "200Mi"
    assert sizes[main["name"]]["limits"]["memory"]["base"] == "2Gi"
    assert autoscaler["image"] == "mirror.example/cpa/cpvpa:v0.8.9"
    assert "--target=deployment/castai-evictor" in autoscaler["command"]
    assert "--config-file=/etc/config/evictor-autoscaler" in autoscaler["command"]
    for part in ("deployment", "autoscaler"):
        spec = result[part]["spec"]["template"]["spec"]
        assert spec["serviceAccountName"] == "castai-evictor"
        selected = result[part]["spec"]["selector"]["matchLabels"]
        assert selected.items() <= result[part]["spec"]["template"]["metadata"]["labels"].items()


def test_pods_meet_the_restricted_level_on_paper():
    result = evictor()
    for part in ("deployment", "autoscaler"):
        spec = result[part]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        security = container(result[part])["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["allowPrivilegeEscalation"] is False


def test_an_upgrade_runs_no_second_evictor_beside_the_first():
    assert evictor()["deployment"]["spec"]["strategy"] == {"type": "Recreate"}
