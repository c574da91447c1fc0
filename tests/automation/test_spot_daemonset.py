"""The documents of CAST AI's Spot handler as a DaemonSet."""

from dataclasses import replace
from typing import Any

from castai_stack.automation import manifests
from tests.automation.test_controller_manifests import a_release, env


def objects(**changes: Any) -> dict[str, Any]:
    release = replace(a_release(**changes), spot_daemonset=True)
    result = manifests.objects(release, cluster_id="the-id", encoded_token="a2V5", digest="abc")
    return {
        part.removeprefix("spot-handler-"): one
        for part, one in result.items()
        if part.startswith("spot-handler-")
    }


def pod(**changes: Any) -> dict[str, Any]:
    return objects(**changes)["daemonset"]["spec"]["template"]["spec"]


def test_it_runs_without_the_controller_and_brings_the_shared_objects():
    release = replace(a_release(controller={"enabled": False}), spot_daemonset=True)

    assert {"token", "config", "spot-handler-daemonset"} <= set(manifests.objects(release))


def test_its_account_reads_and_marks_nodes_and_nothing_else():
    result = objects()
    rules = [rule for one in result.values() for rule in one.get("rules", [])]

    assert rules == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]},
    ]
    bound = {one["roleRef"]["name"] for one in result.values() if "roleRef" in one}
    assert bound == {"castai-spot-handler", "castai-spot-handler-phase2"}


def test_its_pods_run_on_spot_nodes_whoever_made_them_and_on_no_windows_node():
    terms = pod()["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    spot = {}
    for term in terms["nodeSelectorTerms"]:
        system, lifecycle = term["matchExpressions"]
        assert system == {"key": "kubernetes.io/os", "operator": "NotIn", "values": ["windows"]}
        assert lifecycle["operator"] == "In"
        spot[lifecycle["key"]] = lifecycle["values"]

    assert spot == {
        "eks.amazonaws.com/capacityType": ["SPOT"],
        "karpenter.sh/capacity-type": ["spot"],
        "scheduling.cast.ai/spot": ["true"],
        "node.kubernetes.io/lifecycle": ["spot", "SpotInstance"],
        "kubernetes.io/lifecycle": ["spot", "SpotInstance"],
        "spotinst.io/node-lifecycle": ["spot"],
    }


def test_its_pods_tolerate_every_taint_that_keeps_pods_from_starting():
    toleration = {"key": "team", "operator": "Exists", "effect": "NoExecute"}

    assert pod()["tolerations"] == [{"operator": "Exists", "effect": "NoSchedule"}]
    assert pod(spot_handler={"tolerations": [toleration]})["tolerations"][-1] == toleration


def test_its_pods_reach_the_metadata_service_and_castai():
    spec = pod()
    (container,) = spec["containers"]

    assert spec["hostNetwork"] is True, "the service answers within one hop where that is the limit"
    assert env(container) == {
        "NODE_NAME": {"fieldRef": {"fieldPath": "spec.nodeName"}},
        "PROVIDER": "aws",
        "PHASE2_PERMISSIONS": "true",
        "INTERRUPTION_POD_DELETION_ENABLED": "false",
        "LOG_LEVEL": "info",
        "POLL_INTERVAL_SECONDS": "3",
    }
    name = "castai-cluster-controller"
    assert container["envFrom"] == [
        {"secretRef": {"name": name}},
        {"configMapRef": {"name": name}},
    ]


def test_its_image_and_size_are_settable():
    (container,) = pod(
        image_registry="mirror.example",
        spot_handler={"tag": "v1.2.3", "resources": {"memory_limit": "50Mi"}},
    )["containers"]

    assert container["image"] == "mirror.example/spot-handler:v1.2.3"
    assert container["resources"] == {
        "requests": {"cpu": "20m", "memory": "25Mi"},
        "limits": {"memory": "50Mi"},
    }


def test_its_pods_give_up_every_privilege_but_the_network():
    spec = pod()
    (container,) = spec["containers"]

    assert spec["securityContext"]["runAsUser"] == 1003
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_selector_is_that_of_the_chart():
    spec = objects()["daemonset"]["spec"]

    assert spec["selector"]["matchLabels"] == {"name": "spot-handler"}
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
