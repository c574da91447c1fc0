"""Cluster-controller's documents for every switch; the API server's view is shown elsewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from castai_stack.agent import settings as agent_settings
from castai_stack.automation import manifests, settings
from castai_stack.automation.release import Release

GOLDEN = Path(__file__).parents[1] / "golden" / "automation_rbac.yaml"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
ROLES = ("controller-cluster-role", "controller-extension-role", "controller-role")


def a_release(agent: dict[str, Any] | None = None, **changes: Any) -> Release:
    return Release(
        api_url="https://api.cast.ai",
        settings=settings.Automation.model_validate(changes),
        agent=agent_settings.Agent.model_validate(agent or {}),
    )


def objects(agent: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return manifests.objects(
        a_release(agent, **changes), cluster_id="the-id", encoded_token="a2V5", digest="abc"
    )


def pod(documents: dict[str, Any]) -> dict[str, Any]:
    return documents["controller-deployment"]["spec"]["template"]["spec"]


def containers(documents: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in pod(documents)["containers"]}


def env(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_the_parts_are_those_that_cast_ai_ships():
    result = {
        part: f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for part, one in objects().items()
    }

    name = "castai-cluster-controller"
    assert result == {
        "config": f"ConfigMap castai-agent/{name}",
        "token": f"Secret castai-agent/{name}",
        "controller-service-account": f"ServiceAccount castai-agent/{name}",
        "controller-cluster-role": f"ClusterRole /{name}",
        "controller-cluster-role-binding": f"ClusterRoleBinding /{name}",
        "controller-extension-role": f"ClusterRole /{name}-ext",
        "controller-extension-role-binding": f"ClusterRoleBinding /{name}-ext",
        "controller-role": f"Role castai-agent/{name}",
        "controller-role-binding": f"RoleBinding castai-agent/{name}",
        "controller-budget": f"PodDisruptionBudget castai-agent/{name}",
        "controller-deployment": f"Deployment castai-agent/{name}",
    }


def test_nothing_is_left_without_the_controller():
    assert objects(controller={"enabled": False}) == {}


def test_the_rules_are_the_reviewed_ones():
    golden = yaml.safe_load(GOLDEN.read_text())
    for variant, switches in {
        "defaults": {},
        "selfUpgrade": {"controller": {"self_upgrade": True}},
        "evictor": {"evictor": {"enabled": True}},
    }.items():
        result = objects(**switches)
        assert {part: result[part]["rules"] for part in ROLES} == golden[variant], variant


def rules(documents: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for part in ROLES for rule in documents[part]["rules"]]


def test_by_default_no_rule_has_a_wildcard_or_reaches_a_secret_or_a_role():
    for rule in rules(objects()):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], rule
        assert not {"secrets", "roles", "clusterroles", "deployments"} & set(rule["resources"])


def test_self_upgrade_opens_the_namespace_and_nothing_else_by_wildcard():
    result = objects(controller={"self_upgrade": True})

    assert result["controller-role"]["rules"] == [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    ]
    assert result["controller-role"]["metadata"]["namespace"] == "castai-agent"
    for part in ROLES[:2]:
        for rule in result[part]["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["verbs"]], rule


def test_no_rule_approves_certificates():
    for switches in ({}, {"controller": {"self_upgrade": True}}):
        for rule in rules(objects(**switches)):
            assert "certificates.k8s.io" not in rule["apiGroups"]


def test_every_binding_names_the_controllers_service_account_and_its_own_role():
    result = objects()
    for part in ROLES:
        binding = result[f"{part}-binding"]
        assert binding["subjects"] == [
            {
                "kind": "ServiceAccount",
                "name": "castai-cluster-controller",
                "namespace": "castai-agent",
            }
        ]
        assert binding["roleRef"]["name"] == result[part]["metadata"]["name"]
        assert binding["roleRef"]["kind"] == result[part]["kind"]


def test_both_containers_take_token_api_and_id_from_the_shared_objects():
    result = objects()
    name = "castai-cluster-controller"

    assert result["token"]["data"] == {"API_KEY": "a2V5"}
    assert result["config"]["data"] == {"API_URL": "https://api.cast.ai", "CLUSTER_ID": "the-id"}
    for one in containers(result).values():
        assert one["envFrom"] == [{"secretRef": {"name": name}}, {"configMapRef": {"name": name}}]


def test_an_existing_secret_replaces_the_programs_own():
    own = objects({"existing_secret": "the-agents"}, existing_secret="mine")
    shared = objects({"existing_secret": "the-agents"})

    for result, name in ((own, "mine"), (shared, "the-agents")):
        assert "token" not in result
        for one in containers(result).values():
            assert one["envFrom"][0] == {"secretRef": {"name": name}}


def test_the_controllers_surroundings_are_those_of_the_chart():
    main, monitor = containers(objects()).values()
    common = {
        "CAST_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "LEADER_ELECTION_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "KUBERNETES_NODE_NAME": {"fieldRef": {"fieldPath": "spec.nodeName"}},
        "KUBERNETES_POD": {"fieldRef": {"fieldPath": "metadata.name"}},
        "LEADER_ELECTION_ENABLED": "true",
        "LEADER_ELECTION_LOCK_NAME": "cluster-controller",
        "LEADER_ELECTION_LEASE_DURATION": "15s",
        "LEADER_ELECTION_LEASE_RENEW_DEADLINE": "10s",
        "KUBECLIENT_BURST": "400",
        "KUBECLIENT_QPS": "200",
        "LOG_LEVEL": "5",
        "MONITOR_METADATA": "/controller-metadata/metadata",
        "DRAIN_DISABLE_VOLUME_DETACH_WAIT": "false",
        "VOLUME_ATTACHMENT_DEFAULT_TIMEOUT": "60s",
        "INFORMER_CACHE_SYNC_TIMEOUT": "1m",
        "INFORMER_ENABLE_POD": "false",
        "INFORMER_ENABLE_NODE": "false",
    }

    assert env(main) == {**common, "MAX_ACTIONS_IN_PROGRESS": "1000"}
    assert env(monitor) == common
    assert monitor["command"] == ["castai-cluster-controller", "monitor"]


def test_the_lease_that_the_role_names_is_the_one_of_the_election():
    result = objects()
    named = next(rule for rule in result["controller-role"]["rules"] if "resourceNames" in rule)

    lock = env(containers(result)["cluster-controller"])["LEADER_ELECTION_LOCK_NAME"]
    assert named["resourceNames"] == [lock]


def test_the_controller_is_probed_and_the_monitor_is_not():
    main, monitor = containers(objects()).values()
    probe = {
        "httpGet": {"path": "/healthz", "port": "http"},
        "initialDelaySeconds": 5,
        "periodSeconds": 5,
    }

    assert main["livenessProbe"] == main["readinessProbe"] == probe
    assert {"name": "http", "containerPort": 6060} in main["ports"]
    assert "livenessProbe" not in monitor


def test_pods_meet_the_restricted_level_on_paper():
    for switches in ({}, {"controller": {"self_upgrade": True}}):
        result = objects(**switches)
        context = pod(result)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 65532
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in containers(result).values():
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_only_an_upgrade_writes_to_the_containers_file_system():
    def read_only(**controller: Any) -> set[bool]:
        return {
            one["securityContext"]["readOnlyRootFilesystem"]
            for one in containers(objects(controller=controller)).values()
        }

    assert read_only() == {True}
    assert read_only(self_upgrade=True) == {False}


def test_pods_run_where_a_hibernated_cluster_resumes_and_apart_from_each_other():
    spec = pod(objects())

    assert spec["tolerations"] == [
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
        {
            "key": "provisioning.cast.ai/temporary",
            "operator": "Equal",
            "value": "resuming",
            "effect": "NoSchedule",
        },
    ]
    assert spec["priorityClassName"] == "system-cluster-critical"
    (term,) = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selected = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    labels = objects()["controller-deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selected.items() <= labels.items()


def test_placement_is_what_the_settings_say():
    toleration = {"key": "team", "operator": "Exists"}
    spec = pod(
        objects(
            {"priority_class": ""},
            pull_secrets=["registry"],
            controller={"node_selector": {"pool": "system"}, "tolerations": [toleration]},
        )
    )

    assert spec["tolerations"][-1] == toleration
    assert spec["nodeSelector"] == {"pool": "system"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert "priorityClassName" not in spec


def test_what_the_agent_needs_to_reach_castai_the_controller_gets_as_well():
    result = objects(
        {"proxy": {"https": "http://proxy:3128"}, "trusted_ca_certificate": CERTIFICATE}
    )
    for one in containers(result).values():
        assert env(one)["HTTPS_PROXY"] == "http://proxy:3128"
        assert "$(KUBERNETES_SERVICE_HOST)" in env(one)["NO_PROXY"]
        assert one["envFrom"][-1] == {"secretRef": {"name": "castai-agent-tls-cert"}}


def test_images_come_from_one_registry_and_may_be_pinned_by_digest():
    digest = f"sha256:{'0123456789abcdef' * 4}"
    result = objects(image_registry="mirror.example/castai", controller={"digest": digest})

    for one in containers(result).values():
        assert re.fullmatch(
            rf"mirror\.example/castai/cluster-controller:v[\d.]+@{digest}", one["image"]
        )


def test_the_sizes_of_both_containers_are_settable():
    result = objects(
        controller={
            "replicas": 1,
            "resources": {"memory_limit": "2Gi"},
            "monitor": {"cpu_request": None},
        }
    )
    main, monitor = containers(result).values()

    assert result["controller-deployment"]["spec"]["replicas"] == 1
    assert main["resources"] == {
        "requests": {"cpu": "50m", "memory": "100Mi"},
        "limits": {"memory": "2Gi"},
    }
    assert monitor["resources"] == {"requests": {"memory": "128Mi"}}


@pytest.mark.parametrize(("replicas", "available"), [(1, 0), (2, 1), (3, 2)])
def test_a_drain_may_take_one_pod_at_a_time(replicas, available):
    spec = objects(controller={"replicas": replicas})["controller-budget"]["spec"]

    assert spec["minAvailable"] == available
    assert "maxUnavailable" not in spec, "the chart counts the other way, and only one is allowed"


def test_selectors_are_the_same_under_all_settings():
    full = {"existing_secret": "mine", "controller": {"tag": "v9.9.9", "self_upgrade": True}}
    changed = objects({"labels": {"team": "platform"}}, **full)
    selectors = [
        one["controller-deployment"]["spec"]["selector"]["matchLabels"]
        for one in (objects(), changed)
    ]

    assert (
        selectors[0]
        == selectors[1]
        == {
            "app.kubernetes.io/name": "castai-cluster-controller",
            "app.kubernetes.io/instance": "cluster-controller",
        }
    )
    template = changed["controller-deployment"]["spec"]["template"]["metadata"]["labels"]
    assert template == {**selectors[0], "team": "platform"}
    assert changed["controller-budget"]["spec"]["selector"]["matchLabels"] == selectors[0]


def test_every_object_bears_who_manages_it_and_overwrites_other_managers():
    for part, one in objects({"labels": {"team": "platform"}}).items():
        metadata = one["metadata"]
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "pulumi", part
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "castai-eks", part
        assert metadata["labels"]["team"] == "platform", part
        assert metadata["annotations"]["pulumi.com/patchForce"] == "true", part


def test_only_the_deployment_bears_a_version_so_that_an_upgrade_touches_nothing_else():
    before, after = objects(), objects(controller={"tag": "v0.999.0"})

    assert [part for part in before if before[part] != after[part]] == ["controller-deployment"]


def test_the_provider_does_not_wait_for_the_deployment():
    annotations = objects()["controller-deployment"]["metadata"]["annotations"]

    assert annotations["pulumi.com/skipAwait"] == "true"


def test_what_pods_read_at_their_start_restarts_them_and_is_not_revealed():
    def digest(release: Release, *values: str) -> str:
        text = manifests.environment_digest(release, *values)
        assert re.fullmatch(r"[0-9a-f]{16}", text)
        return text

    texts = {
        digest(a_release(), "id", "token"),
        digest(a_release(), "id", "another"),
        digest(a_release(), "another", "token"),
        digest(a_release({"trusted_ca_certificate": CERTIFICATE}), "id", "token"),
    }
    template = objects()["controller-deployment"]["spec"]["template"]["metadata"]

    assert len(texts) == 4
    assert template["annotations"]["castai-eks/key-digest"] == "abc"


@pytest.mark.parametrize("changes", [{"tag": "v9.9.9"}, {"replicas": 1}, {"self_upgrade": True}])
def test_a_change_of_the_pods_is_another_rollout(changes):
    before = manifests.rollout_digest(a_release(), "abc")

    assert manifests.rollout_digest(a_release(controller=changes), "abc") != before
    assert manifests.rollout_digest(a_release(), "def") != before
    assert manifests.rollout_digest(a_release(rollout_timeout_seconds=20), "abc") == before
