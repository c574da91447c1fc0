"""Existing installations of the automation: refused with the way out, or taken over."""

import pytest

from castai_stack.agent.adoption import ExistingObject
from castai_stack.automation import existing
from tests.automation.test_controller_manifests import a_release

CHART = {
    "app.kubernetes.io/instance": "cluster-controller",
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": "castai-cluster-controller-0.92.14",
}
OURS = {"app.kubernetes.io/managed-by": "pulumi", "app.kubernetes.io/part-of": "castai-eks"}


def deployment(labels: dict[str, str], selector: str | None = None) -> ExistingObject:
    key = "kubernetes:apps/v1:Deployment::castai-agent/castai-cluster-controller"
    return ExistingObject(
        "Deployment", "castai-cluster-controller", "castai-agent", key, labels, selector=selector
    )


def test_a_controller_of_the_chart_is_refused_with_its_objects_and_the_way_out():
    assert existing.refusal([deployment(CHART)], a_release()) == (
        "automation: objects that the chart castai-cluster-controller-0.92.14 installed are in the "
        "cluster (Deployment castai-agent/castai-cluster-controller); set automation.adopt to true "
        "to take these objects over in place, or remove them first (helm uninstall "
        "cluster-controller -n castai-agent)"
    )


def test_the_evictors_release_is_named_and_its_autoscaler_is_none():
    helm = {"app.kubernetes.io/managed-by": "Helm"}
    objects = [
        deployment({**helm, "app.kubernetes.io/instance": name})
        for name in ("castai-evictor", "castai-evictor-cpvpa")
    ]

    refusal = existing.refusal(objects, a_release(evictor={"enabled": True}))
    assert refusal is not None
    assert "(helm uninstall castai-evictor -n castai-agent)" in refusal


def test_adoption_refuses_no_object_of_the_scripts_release():
    assert existing.refusal([deployment(CHART)], a_release(adopt=True)) is None


def test_a_workload_with_another_selector_cannot_be_taken_over_in_place():
    selector = "app.kubernetes.io/instance=castai"

    assert existing.refusal([deployment(CHART, selector)], a_release(adopt=True)) == (
        "automation.adopt: Deployment castai-agent/castai-cluster-controller has the selector "
        "app.kubernetes.io/instance=castai of another installation, and Kubernetes never changes a "
        "selector; delete it first (kubectl delete deployment castai-cluster-controller -n "
        "castai-agent), and its pods start again with the next `pulumi up`"
    )


@pytest.mark.parametrize("objects", [[], [deployment(OURS)]], ids=["none", "own"])
def test_an_empty_cluster_and_own_objects_are_no_obstacle(objects):
    assert existing.refusal(objects, a_release()) is None
