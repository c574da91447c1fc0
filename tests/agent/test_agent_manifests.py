"""The agent's documents for every switch; that the API server takes them is shown elsewhere."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from castai_stack.agent import manifests, settings
from castai_stack.agent.release import Release

GOLDEN = Path(__file__).parents[1] / "golden"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def a_release(**changes: Any) -> Release:
    return Release(
        cluster_name="demo",
        region="eu-central-1",
        account_id="012345678901",
        api_url="https://api.cast.ai",
        settings=settings.Agent.model_validate(changes),
    )


def objects(**changes: Any) -> dict[str, Any]:
    return manifests.objects(a_release(**changes), cluster_id="the-id", encoded_key="a2V5")


def pod(document: dict[str, Any]) -> dict[str, Any]:
    return document["spec"]["template"]["spec"]


def container(documents: dict[str, Any], name: str) -> dict[str, Any]:
    containers = [
        one
        for part in ("deployment", "autoscaler")
        if part in documents
        for one in pod(documents[part])["containers"]
    ]
    return next(one for one in containers if one["name"] == name)


def env(documents: dict[str, Any], name: str = "agent") -> dict[str, Any]:
    return {
        one["name"]: one.get("value", one.get("valueFrom"))
        for one in container(documents, name)["env"]
    }


def test_the_parts_are_those_that_cast_ai_ships():
    result = {
        part: f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for part, one in objects(network_policy=True, trusted_ca_certificate=CERTIFICATE).items()
    }

    assert result == {
        "namespace": "Namespace /castai-agent",
        "service-account": "ServiceAccount castai-agent/castai-agent",
        "cluster-role": "ClusterRole /castai-agent",
        "cluster-role-binding": "ClusterRoleBinding /castai-agent",
        "role": "Role castai-agent/castai-agent",
        "role-binding": "RoleBinding castai-agent/castai-agent",
        "config-role": "Role kube-system/castai-agent",
        "config-role-binding": "RoleBinding kube-system/castai-agent",
        "key": "Secret castai-agent/castai-agent",
        "trusted-ca": "Secret castai-agent/castai-agent-tls-cert",
        "quota": "ResourceQuota castai-agent/castai-agent-critical-pods",
        "network-policy": "NetworkPolicy castai-agent/castai-agent",
        "budget": "PodDisruptionBudget castai-agent/castai-agent",
        "deployment": "Deployment castai-agent/castai-agent",
        "autoscaler-config": "ConfigMap castai-agent/castai-agent-autoscaler",
        "autoscaler": "Deployment castai-agent/castai-agent-cpvpa",
    }


@pytest.mark.parametrize(
    ("switch", "part"),
    [
        ({"create_namespace": False}, "namespace"),
        ({"existing_secret": "mine"}, "key"),
        ({"priority_class": ""}, "quota"),
        ({"autoscaling": {"enabled": False}}, "autoscaler"),
        ({"autoscaling": {"enabled": False}}, "autoscaler-config"),
        ({}, "network-policy"),
        ({}, "trusted-ca"),
    ],
    ids=str,
)
def test_a_switch_leaves_its_part_out(switch, part):
    assert part not in objects(**switch), f"{part} must not be made"


def test_every_object_bears_the_release_and_who_manages_it():
    for part, one in objects(network_policy=True).items():
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "castai-agent", part
        assert labels["app.kubernetes.io/managed-by"] == "pulumi", part
        assert labels["app.kubernetes.io/part-of"] == "castai-eks", part


def test_only_deployments_bear_a_version_so_that_an_upgrade_touches_nothing_else():
    before, after = objects(), objects(tag="v0.999.0")

    assert [part for part in before if before[part] != after[part]] == ["deployment"]
    labels = after["deployment"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == "v0.999.0"


def test_selectors_are_the_same_under_all_settings():
    full = {
        "tag": "v9.9.9",
        "labels": {"team": "platform"},
        "autoscaling": {"tag": "v9.9.9"},
        "adopt": True,
        "priority_class": "",
    }
    for documents in (objects(), objects(**full)):
        for part, name in (("deployment", "castai-agent"), ("autoscaler", "castai-agent-cpvpa")):
            selector = documents[part]["spec"]["selector"]["matchLabels"]
            assert selector == {
                "app.kubernetes.io/name": name,
                "app.kubernetes.io/instance": "castai-agent",
            }
            labels = documents[part]["spec"]["template"]["metadata"]["labels"]
            assert selector.items() <= labels.items(), "the deployment must find its pods"


IMAGES = re.compile(r'"image": "([^"]+)"')


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"digest": DIGEST, "autoscaling": {"digest": DIGEST}},
        {"image_registry": "registry.example.com:5000/mirror"},
    ],
    ids=["tags", "digests", "mirror"],
)
def test_no_image_floats(changes):
    images = IMAGES.findall(json.dumps(objects(**changes)))

    assert len(images) == 3
    for image in images:
        assert re.fullmatch(r"\S+:v\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", image), image


@pytest.mark.parametrize("tag", ["latest", "v1", "main", "0.1", ""])
def test_a_tag_that_moves_is_refused(tag):
    for section in (settings.Agent, settings.Autoscaling):
        with pytest.raises(ValidationError, match="a tag that moves pins nothing"):
            section.model_validate({"tag": tag})


def test_images_come_from_the_registries_that_are_set():
    documents = objects(
        image_registry="registry.example.com/castai",
        digest=DIGEST,
        autoscaling={"image_registry": "registry.example.com/cpa"},
        pull_secrets=["pull"],
    )

    agent = f"registry.example.com/castai/agent:v0.161.1@{DIGEST}"
    assert container(documents, "agent")["image"] == agent
    assert container(documents, "monitor")["image"] == agent
    assert container(documents, "autoscaler")["image"] == "registry.example.com/cpa/cpvpa:v0.8.4"
    for part in ("deployment", "autoscaler"):
        assert pod(documents[part])["imagePullSecrets"] == [{"name": "pull"}]


def test_the_rules_are_the_reviewed_ones():
    documents = objects()
    rules = {part: documents[part]["rules"] for part in ("cluster-role", "role", "config-role")}

    assert rules == yaml.safe_load((GOLDEN / "agent_rbac.yaml").read_text())


def test_the_cluster_role_reads_and_does_nothing_else():
    for rule in objects()["cluster-role"]["rules"]:
        assert set(rule["verbs"]) <= {"get", "list", "watch"}, rule
        assert "secrets" not in rule.get("resources", []), "no secrets anywhere"
        wild = "*" in rule.get("resources", [])
        (group,) = rule.get("apiGroups", [""])
        assert not wild or group in {"autoscaling.cast.ai", "castware.cast.ai"}, rule


def test_custom_resources_are_readable_only_with_the_setting():
    groups = {
        group
        for rule in objects(read_custom_resources=False)["cluster-role"]["rules"]
        for group in rule.get("apiGroups", [])
    }

    assert groups == {
        "",
        "apps",
        "autoscaling",
        "batch",
        "metrics.k8s.io",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "storage.k8s.io",
    }


def test_without_the_autoscaler_no_role_may_patch_the_deployment():
    rules = objects(autoscaling={"enabled": False})["role"]["rules"]

    assert not [rule for rule in rules if "deployments" in rule["resources"]]


def test_every_binding_names_the_agents_service_account_and_its_own_role():
    documents = objects()
    for part in ("cluster-role", "role", "config-role"):
        binding = documents[f"{part}-binding"]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "castai-agent", "namespace": "castai-agent"}
        ]
        assert binding["roleRef"]["kind"] == documents[part]["kind"]
        assert binding["roleRef"]["name"] == documents[part]["metadata"]["name"]
        place = documents[part]["metadata"].get("namespace")
        assert binding["metadata"].get("namespace") == place


def test_the_agent_knows_its_cluster_in_text_and_does_not_register_itself():
    known = env(objects())

    assert known["EKS_ACCOUNT_ID"] == "012345678901"
    assert known["EKS_REGION"] == "eu-central-1"
    assert known["EKS_CLUSTER_NAME"] == "demo"
    assert known["STATIC_CLUSTER_ID"] == "the-id"
    for one in container(objects(), "agent")["env"]:
        assert isinstance(one.get("value", ""), str), f"{one['name']} must be a text"


def test_the_agents_surroundings_are_those_of_the_chart():
    assert env(objects()) == {
        "SELF_POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "SELF_POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "SELF_POD_NODE": {"fieldRef": {"fieldPath": "spec.nodeName"}},
        "API_URL": "https://api.cast.ai",
        "PROVIDER": "eks",
        "METADATA_STORE_ENABLED": "true",
        "METADATA_STORE_CONFIG_MAP_NAME": "castai-agent-metadata",
        "METADATA_STORE_CONFIG_MAP_NAMESPACE": "castai-agent",
        "MONITOR_METADATA": "/agent-metadata/metadata",
        "CONTROLLER_CONFIG_MAP_NAMESPACES": "castai-agent,kube-system",
        "EKS_ACCOUNT_ID": "012345678901",
        "EKS_CLUSTER_NAME": "demo",
        "EKS_REGION": "eu-central-1",
        "STATIC_CLUSTER_ID": "the-id",
        "PPROF_PORT": "6060",
    }


def test_the_monitor_shares_the_key_and_the_metadata_of_the_agent():
    documents = objects()
    monitor = container(documents, "monitor")

    assert env(documents, "monitor")["MODE"] == "monitor"
    assert env(documents, "monitor")["MONITOR_METADATA"] == "/agent-metadata/metadata"
    for name in ("agent", "monitor"):
        one = container(documents, name)
        assert one["envFrom"] == [{"secretRef": {"name": "castai-agent"}}]
        assert one["volumeMounts"] == [{"name": "shared-metadata", "mountPath": "/agent-metadata"}]
    assert monitor["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}}
    assert "readinessProbe" not in monitor
    assert pod(documents["deployment"])["shareProcessNamespace"] is True


def test_the_agent_is_probed():
    agent = container(objects(), "agent")

    assert agent["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "healthz"}
    assert agent["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "healthz"}
    assert {"name": "healthz", "containerPort": 9876} in agent["ports"]


def test_with_the_autoscaler_the_agent_declares_no_memory_at_all():
    resources = container(objects(), "agent")["resources"]

    assert resources == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1000m"}}


def test_without_the_autoscaler_the_agent_declares_the_memory_that_is_set():
    documents = objects(
        autoscaling={"enabled": False}, memory="3Gi", cpu_request="200m", cpu_limit="2"
    )

    assert container(documents, "agent")["resources"] == {
        "requests": {"cpu": "200m", "memory": "3Gi"},
        "limits": {"cpu": "2", "memory": "3Gi"},
    }


def test_the_autoscaler_sizes_requests_and_limits_of_the_agent_alike():
    documents = objects(
        autoscaling={
            "base": "1Gi",
            "max": "4Gi",
            "step": "128Mi",
            "nodes_per_step": 5,
            "cores_per_step": 60,
            "poll_period_seconds": 30,
        }
    )
    config = json.loads(documents["autoscaler-config"]["data"]["castai-agent-autoscaler"])
    memory = {
        "memory": {
            "base": "1Gi",
            "max": "4Gi",
            "step": "128Mi",
            "nodesPerStep": 5,
            "coresPerStep": 60,
        }
    }

    assert config == {"agent": {"requests": memory, "limits": memory}}
    assert container(documents, "autoscaler")["command"] == [
        "/cpvpa",
        "--target=deployment/castai-agent",
        "--namespace=castai-agent",
        "--logtostderr=true",
        "--poll-period-seconds=30",
        "--config-file=/etc/config/castai-agent-autoscaler",
    ]


def test_the_quota_sets_no_limit_and_so_asks_for_no_memory():
    spec = objects()["quota"]["spec"]

    assert "hard" not in spec, "a limit on memory would make every pod declare some"
    assert spec["scopeSelector"]["matchExpressions"] == [
        {"operator": "In", "scopeName": "PriorityClass", "values": ["system-cluster-critical"]}
    ]


def test_the_priority_class_is_one_for_pods_and_quota():
    documents = objects(priority_class="gold")

    expression = documents["quota"]["spec"]["scopeSelector"]["matchExpressions"][0]
    assert expression["values"] == ["gold"]
    for part in ("deployment", "autoscaler"):
        assert pod(documents[part])["priorityClassName"] == "gold"
        assert "priorityClassName" not in pod(objects(priority_class="")[part])


def test_placement_is_what_the_settings_say():
    documents = objects(
        node_selector={"pool": "system"},
        tolerations=[{"key": "pool", "operator": "Equal", "value": "system"}],
        affinity={"nodeAffinity": {}},
        topology_spread=False,
        replicas=3,
    )

    for part in ("deployment", "autoscaler"):
        spec = pod(documents[part])
        assert spec["nodeSelector"] == {"pool": "system"}
        assert spec["affinity"] == {"nodeAffinity": {}}
        assert spec["tolerations"] == [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {
                "key": "provisioning.cast.ai/temporary",
                "operator": "Equal",
                "value": "resuming",
                "effect": "NoSchedule",
            },
            {"key": "pool", "operator": "Equal", "value": "system"},
        ]
    assert "topologySpreadConstraints" not in pod(documents["deployment"])
    assert documents["deployment"]["spec"]["replicas"] == 3
    assert documents["autoscaler"]["spec"]["replicas"] == 1


def test_pods_spread_over_nodes_and_prefer_those_of_cast_ai():
    spec = pod(objects()["deployment"])

    (spread,) = spec["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"] == {"matchLabels": {"app.kubernetes.io/name": "castai-agent"}}
    (preferred,) = spec["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["weight"] == 100


def test_the_proxy_is_not_used_for_the_cluster_itself():
    documents = objects(
        proxy={"https": "http://proxy.example.com:3128", "no_proxy": ["internal.example.com"]}
    )

    for name in ("agent", "monitor"):
        known = env(documents, name)
        assert known["HTTPS_PROXY"] == "http://proxy.example.com:3128"
        assert "HTTP_PROXY" not in known
        assert known["NO_PROXY"] == (
            "$(KUBERNETES_SERVICE_HOST),.svc,.cluster.local,169.254.169.254,internal.example.com"
        )
    assert "NO_PROXY" not in env(objects())


def test_a_proxy_with_a_password_is_refused_and_the_password_not_repeated():
    with pytest.raises(ValidationError, match="without user and password") as refused:
        settings.Proxy.model_validate({"https": "http://me:hunter2@proxy.example.com"})

    assert "hunter2" not in str(refused.value)


def test_further_authorities_come_from_a_secret_of_their_own():
    documents = objects(trusted_ca_certificate=CERTIFICATE)

    data = documents["trusted-ca"]["data"]["TLS_CA_CERT_FILE"]
    assert base64.b64decode(data).decode() == CERTIFICATE
    for name in ("agent", "monitor"):
        assert {"secretRef": {"name": "castai-agent-tls-cert"}} in container(documents, name)[
            "envFrom"
        ]


@pytest.mark.parametrize(
    "text", ["nothing", CERTIFICATE + "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----"]
)
def test_what_is_no_certificate_is_refused(text):
    with pytest.raises(ValidationError, match="certificates in PEM form and nothing else"):
        settings.Agent.model_validate({"trusted_ca_certificate": text})


def test_an_existing_secret_replaces_the_programs_own():
    documents = objects(existing_secret="mine")

    assert container(documents, "agent")["envFrom"] == [{"secretRef": {"name": "mine"}}]


def test_the_key_is_in_the_secret_and_nowhere_else():
    documents = objects()

    assert documents["key"]["data"] == {"API_KEY": "a2V5"}
    rest = {part: one for part, one in documents.items() if part != "key"}
    assert "a2V5" not in json.dumps(rest)


def test_the_role_of_the_service_account_is_optional():
    role = "arn:aws:iam::012345678901:role/agent"
    with_role = objects(role_arn=role)["service-account"]["metadata"]

    assert with_role["annotations"]["eks.amazonaws.com/role-arn"] == role
    without = objects()["service-account"]["metadata"]["annotations"]
    assert "eks.amazonaws.com/role-arn" not in without


def test_extra_variables_and_labels_reach_the_pods_and_every_object():
    documents = objects(
        extra_env={"LOG_LEVEL": "5"}, labels={"team": "platform"}, network_policy=True
    )

    assert env(documents)["LOG_LEVEL"] == "5"
    for part, one in documents.items():
        assert one["metadata"]["labels"]["team"] == "platform", part
    for part in ("deployment", "autoscaler"):
        assert documents[part]["spec"]["template"]["metadata"]["labels"]["team"] == "platform"


@pytest.mark.parametrize(
    "name", ["API_KEY", "EKS_REGION", "STATIC_CLUSTER_ID", "SELF_POD_NAME", "NO_PROXY", "A-B"]
)
def test_a_variable_that_is_set_already_is_refused(name):
    with pytest.raises(ValidationError, match="does not set itself"):
        settings.Agent.model_validate({"extra_env": {name: "x"}})


def test_every_variable_that_is_set_already_is_refused():
    everything = objects(
        proxy={"http": "http://proxy", "https": "http://proxy"},
        trusted_ca_certificate=CERTIFICATE,
    )
    names = {*env(everything), *env(everything, "monitor"), "TLS_CA_CERT_FILE", "API_KEY"}
    for name in names:
        with pytest.raises(ValidationError, match="does not set itself"):
            settings.Agent.model_validate({"extra_env": {name: "x"}})


@pytest.mark.parametrize(
    "key", ["app.kubernetes.io/name", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of"]
)
def test_a_label_that_is_set_already_is_refused(key):
    with pytest.raises(ValidationError, match="does not set itself"):
        settings.Agent.model_validate({"labels": {key: "x"}})


def test_the_network_policy_allows_names_and_https_out_and_nothing_in():
    spec = objects(network_policy=True, proxy={"https": "http://proxy:3128"})["network-policy"][
        "spec"
    ]

    assert spec["podSelector"] == {"matchLabels": {"app.kubernetes.io/instance": "castai-agent"}}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec, "nothing may come in"
    names, https, credentials = spec["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in https["ports"]] == [443, 3128]
    assert credentials["to"] == [{"ipBlock": {"cidr": "169.254.169.254/32"}}]


def test_with_a_role_of_its_own_the_agent_needs_no_metadata_service():
    spec = objects(network_policy=True, role_arn="arn:aws:iam::012345678901:role/agent")[
        "network-policy"
    ]["spec"]

    assert "169.254" not in json.dumps(spec)


def test_pods_meet_the_restricted_level_on_paper():
    documents = objects()
    for part in ("deployment", "autoscaler"):
        spec = pod(documents[part])
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in spec["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_a_new_key_or_authority_changes_the_digest_which_reveals_neither():
    plain = settings.Agent()
    trusting = settings.Agent(trusted_ca_certificate=CERTIFICATE)
    digests = {
        manifests.key_digest("one", plain),
        manifests.key_digest("two", plain),
        manifests.key_digest("one", trusting),
    }

    assert len(digests) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests)


def test_the_digest_restarts_the_pods():
    documents = manifests.objects(a_release(), key_digest="abc")

    template = documents["deployment"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {"castai-eks/key-digest": "abc"}


def test_fields_that_others_changed_are_reverted():
    for part, one in objects(network_policy=True).items():
        assert one["metadata"]["annotations"]["pulumi.com/patchForce"] == "true", part


def test_the_provider_does_not_wait_for_deployments():
    documents = objects(network_policy=True)
    unwaited = {
        part
        for part, one in documents.items()
        if one["metadata"]["annotations"].get("pulumi.com/skipAwait") == "true"
    }

    assert unwaited == {"quota", "deployment", "autoscaler"}


def test_adoption_leaves_the_pods_as_the_chart_has_them():
    documents = objects(adopt=True)

    assert "terminationMessagePolicy" not in container(documents, "agent")
    assert pod(documents["deployment"])["tolerations"] == [
        {"key": "CriticalAddonsOnly", "operator": "Exists"}
    ]
    assert "annotations" not in documents["deployment"]["spec"]["template"]["metadata"]


def test_variables_stand_in_the_order_of_the_chart():
    documents = objects(extra_env={"LOG_LEVEL": "5"})

    assert list(env(documents)) == [
        "SELF_POD_NAME",
        "SELF_POD_NAMESPACE",
        "SELF_POD_NODE",
        "API_URL",
        "PROVIDER",
        "METADATA_STORE_ENABLED",
        "METADATA_STORE_CONFIG_MAP_NAME",
        "METADATA_STORE_CONFIG_MAP_NAMESPACE",
        "MONITOR_METADATA",
        "CONTROLLER_CONFIG_MAP_NAMESPACES",
        "EKS_ACCOUNT_ID",
        "EKS_CLUSTER_NAME",
        "EKS_REGION",
        "LOG_LEVEL",
        "PPROF_PORT",
        "STATIC_CLUSTER_ID",
    ]
    assert list(env(documents, "monitor"))[:2] == ["MODE", "MONITOR_METADATA"]


def test_pods_report_the_end_of_their_log():
    for name in ("agent", "monitor"):
        one = container(objects(), name)
        assert one["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_another_namespace_is_used_everywhere():
    release = Release(
        cluster_name="demo",
        region="eu-central-1",
        account_id="012345678901",
        api_url="https://api.cast.ai",
        settings=settings.Agent(),
        namespace="elsewhere",
    )
    documents = manifests.objects(release)

    assert env(documents)["LEADER_ELECTION_NAMESPACE"] == "elsewhere"
    assert env(documents)["CONTROLLER_CONFIG_MAP_NAMESPACES"] == "elsewhere,kube-system"
    assert documents["namespace"]["metadata"]["name"] == "elsewhere"
    assert documents["role"]["metadata"]["namespace"] == "elsewhere"
    assert "--namespace=elsewhere" in container(documents, "autoscaler")["command"]
