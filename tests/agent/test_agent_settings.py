"""What Kubernetes would refuse is refused before anything is written."""

import pytest
from pydantic import ValidationError

from castai_stack.agent.settings import Agent
from castai_stack.fields import quantity
from tests.agent.test_agent_manifests import container, objects

EXPRESSION = "requiredDuringSchedulingIgnoredDuringExecution"


def node_affinity(**expression):
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"affinity": {"nodeAffinity": {EXPRESSION: terms}}}


@pytest.mark.parametrize(
    "settings",
    [
        {"tolerations": [{"key": "a", "operator": "Equals", "value": "b"}]},
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
        {"tolerations": [{"operator": "Equal"}]},
        {"tolerations": [{"key": "a", "value": "b", "effect": "NoRun"}]},
        {"tolerations": [{"key": "a", "value": "b", "tolerationSeconds": 3}]},
        {"tolerations": [{"key": "a b", "operator": "Exists"}]},
        {"tolerations": [{"key": "a", "operator": "Exists", "efect": "NoSchedule"}]},
        {"nodeSelector": {"dedicated": True}},
        {"nodeSelector": {"-a": "b"}},
        {"nodeSelector": {"a": "é"}},
        {"labels": {"UPPER.example/x": "b"}},
        node_affinity(key="a", operator="Is"),
        node_affinity(key="a", operator="In"),
        node_affinity(key="a", operator="Exists", values=["b"]),
        node_affinity(key="a", operator="Gt", values=["x"]),
        {"affinity": {"podAntiAffinity": {EXPRESSION: [{"labelSelector": {}}]}}},
        {"affinity": {"nodeAffinty": {}}},
        {"cpuRequest": "2", "cpuLimit": "1"},
        {"cpuRequest": "2"},
        {"cpuLimit": "0"},
        {"cpuLimit": "1Gi"},
        {"memory": "2048"},
        {"memory": "2048m"},
        {"autoscaling": {"base": "16Gi", "max": "8Gi"}},
        {"autoscaling": {"base": "16Gi"}},
        {"autoscaling": {"resources": {"memoryRequest": "1Gi", "memoryLimit": "900Mi"}}},
        {"monitor": {"cpuLimit": "50m"}},
    ],
    ids=str,
)
def test_settings_that_kubernetes_refuses_are_refused(settings):
    with pytest.raises(ValidationError):
        Agent.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"tolerations": [{"operator": "Exists"}]},
        {"tolerations": [{"key": "example.com/a", "value": "b", "effect": "NoSchedule"}]},
        {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 3}]},
        node_affinity(key="a", operator="In", values=["b"]),
        node_affinity(key="a", operator="Gt", values=["3"]),
        {"cpuRequest": "1", "cpuLimit": "1000m"},
        {"autoscaling": {"base": "8192Mi", "max": "8Gi"}},
    ],
    ids=str,
)
def test_settings_that_kubernetes_accepts_are_accepted_unchanged(settings):
    agent = Agent.model_validate(settings)

    assert agent.tolerations == settings.get("tolerations", [])
    assert agent.affinity == settings.get("affinity")


def test_a_quantity_has_a_value():
    assert quantity("1500m") == quantity("1.5")
    assert quantity("1Gi") == 2**30
    assert quantity("1k") == 1000


def test_the_resources_of_every_container_can_be_set_for_a_quota():
    full = {"cpuRequest": "1m", "cpuLimit": "2", "memoryRequest": "1Mi", "memoryLimit": "2Mi"}
    documents = objects(monitor=full, autoscaling={"resources": full})

    for name in ("monitor", "autoscaler"):
        assert container(documents, name)["resources"] == {
            "requests": {"cpu": "1m", "memory": "1Mi"},
            "limits": {"cpu": "2", "memory": "2Mi"},
        }
