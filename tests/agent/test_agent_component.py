"""What AgentComponent asks the engine for; what the cluster makes of it is shown elsewhere."""

from typing import Any

import pulumi
from google.protobuf import json_format

from castai_stack.agent import settings
from castai_stack.agent.component import AgentArgs, AgentComponent
from tests.support import engine

COMPONENT = "castai-stack:index:AgentComponent"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
ROLLOUT = "castai-stack:index:AgentRollout"
GUARD = "castai-stack:index:NamespaceGuard"
SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"


def some_args(**changes: Any) -> AgentArgs:
    existing = changes.pop("existing", ())
    return {
        "cluster_name": "demo",
        "region": "eu-central-1",
        "account_id": "012345678901",
        "api_url": "https://api.cast.ai",
        "settings": settings.Agent.model_validate(changes),
        "namespace": "castai-agent",
        "cluster_id": pulumi.Output.from_input("the-id"),
        "api_key": "sentinel",
        "existing": existing,
    }


def recorded(*names: str, preview: bool = False, **changes: Any) -> engine.Recorder:
    def program() -> None:
        for name in names or ("agent",):
            AgentComponent(name, some_args(**changes))

    return engine.run(program, preview=preview)


def named(recorder: engine.Recorder, name: str) -> Any:
    return next(one for one in recorder.requests if one.name == name)


def dependencies(recorder: engine.Recorder, name: str) -> set[str]:
    return {urn.rpartition("::")[2] for urn in named(recorder, name).dependencies}


def test_every_object_is_a_resource_of_its_own_under_the_component():
    inventory = recorded(network_policy=True).inventory()
    parent = next(one for one in recorded().requests if one.type == COMPONENT)

    assert [(kind, name) for kind, name, _ in inventory] == [
        (COMPONENT, "agent"),
        (ROLLOUT, "agent-rollout"),
        (GUARD, "agent-namespace-guard"),
        (DEPLOYMENT, "agent-autoscaler"),
        (DEPLOYMENT, "agent-deployment"),
        ("kubernetes:core/v1:ConfigMap", "agent-autoscaler-config"),
        ("kubernetes:core/v1:Namespace", "agent-namespace"),
        ("kubernetes:core/v1:ResourceQuota", "agent-quota"),
        ("kubernetes:core/v1:Secret", "agent-key"),
        ("kubernetes:core/v1:ServiceAccount", "agent-service-account"),
        ("kubernetes:networking.k8s.io/v1:NetworkPolicy", "agent-network-policy"),
        ("kubernetes:policy/v1:PodDisruptionBudget", "agent-budget"),
        ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "agent-cluster-role"),
        (
            "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
            "agent-cluster-role-binding",
        ),
        ("kubernetes:rbac.authorization.k8s.io/v1:Role", "agent-config-role"),
        ("kubernetes:rbac.authorization.k8s.io/v1:Role", "agent-role"),
        ("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "agent-config-role-binding"),
        ("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "agent-role-binding"),
    ]
    assert parent.name == "agent"
    assert {of.rpartition("::")[2] for _, name, of in inventory if name != "agent"} == {"agent"}


def test_a_preview_shows_what_an_up_creates():
    assert recorded(preview=True).inventory() == recorded().inventory()


def test_two_agents_fit_into_one_program():
    names = [name for _, name, _ in recorded("one", "two").inventory()]

    assert len(names) == len(set(names)), "children must be named after their component"


def test_objects_in_the_namespace_depend_on_its_guard():
    recorder = recorded(network_policy=True)
    assert dependencies(recorder, "agent-namespace-guard") == {"agent-namespace"}
    for request in recorder.requests:
        document = json_format.MessageToDict(request.object)
        if document.get("metadata", {}).get("namespace") == "castai-agent":
            assert "agent-namespace-guard" in dependencies(recorder, request.name), request.name


def test_a_binding_waits_for_its_role():
    recorder = recorded()
    for role in ("cluster-role", "role", "config-role"):
        assert f"agent-{role}" in dependencies(recorder, f"agent-{role}-binding")


def test_the_deployment_depends_on_all_that_its_pods_need():
    assert dependencies(recorded(network_policy=True), "agent-deployment") == {
        "agent-namespace",
        "agent-namespace-guard",
        "agent-service-account",
        "agent-cluster-role",
        "agent-cluster-role-binding",
        "agent-role",
        "agent-role-binding",
        "agent-config-role",
        "agent-config-role-binding",
        "agent-key",
        "agent-quota",
        "agent-network-policy",
        "agent-budget",
    }


def test_the_autoscaler_waits_for_the_agent_and_for_its_own_configuration():
    result = dependencies(recorded(), "agent-autoscaler")

    assert {"agent-deployment", "agent-autoscaler-config", "agent-role-binding"} <= result


def test_the_key_and_all_values_from_it_are_secret():
    recorder = recorded()
    secret = json_format.MessageToDict(named(recorder, "agent-key").object)
    deployment = json_format.MessageToDict(named(recorder, "agent-deployment").object)
    digest = deployment["spec"]["template"]["metadata"]["annotations"]["castai-eks/key-digest"]

    assert SECRET_MARK in str(secret["data"]["API_KEY"])
    assert SECRET_MARK in str(digest)
    assert list(named(recorder, "agent-key").additionalSecretOutputs) == ["data", "stringData"]


def test_an_unknown_key_leaves_all_other_values_known():
    def program() -> None:
        unborn = pulumi.CustomResource("test:index:Token", "token", {}).id
        AgentComponent("agent", {**some_args(), "api_key": unborn, "cluster_id": unborn})

    recorder = engine.run(program, preview=True)
    deployment = json_format.MessageToDict(named(recorder, "agent-deployment").object)

    containers = deployment["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in containers] == ["agent", "monitor"]
    assert pulumi.runtime.rpc.UNKNOWN in str(named(recorder, "agent-key").object)


def test_with_an_existing_secret_the_key_is_used_for_nothing():
    recorder = recorded(existing_secret="mine")

    for request in recorder.requests:
        assert request.name != "agent-key", "no secret is to be made"
        assert SECRET_MARK not in str(request.object), request.name


def test_an_existing_namespace_is_not_made_and_gets_cleared_last():
    recorder = recorded(create_namespace=False)

    assert "agent-namespace" not in [one.name for one in recorder.requests]
    leftovers = recorder.one("castai-stack:index:AgentLeftovers")
    assert leftovers.name == "agent-leftovers"
    assert "agent-leftovers" in dependencies(recorder, "agent-deployment")
    assert "agent-leftovers" not in [one.name for one in recorded().requests]


def test_the_rollout_of_both_deployments_is_waited_for_within_bounds():
    recorder = recorded(rollout_timeout_seconds=90)
    gate = json_format.MessageToDict(recorder.one(ROLLOUT).object)

    assert gate["deployments"] == ["castai-agent", "castai-agent-cpvpa"]
    assert gate["timeoutSeconds"] == 90
    assert {"agent-deployment", "agent-autoscaler"} <= dependencies(recorder, "agent-rollout")


def test_without_the_autoscaler_the_agent_alone_is_waited_for():
    gate = json_format.MessageToDict(recorded(autoscaling={"enabled": False}).one(ROLLOUT).object)

    assert gate["deployments"] == ["castai-agent"]


def test_a_change_of_the_pods_changes_the_rollout():
    def wanted(**changes: Any) -> str:
        recorder = recorded(existing_secret="mine", **changes)
        return json_format.MessageToDict(recorder.one(ROLLOUT).object)["wanted"]

    assert wanted() == wanted(rollout_timeout_seconds=90)
    assert wanted() == wanted(network_policy=True)
    assert len({wanted(), wanted(tag="v9.9.9"), wanted(replicas=1)}) == 3


def test_what_exists_is_imported_under_its_own_name_and_the_rest_created():
    recorder = recorded(
        adopt=True,
        existing={
            "kubernetes:apps/v1:Deployment::castai-agent/castai-agent",
            "kubernetes:core/v1:Namespace::castai-agent",
        },
    )

    imports = {one.name: one.importId for one in recorder.requests if one.importId}
    assert imports == {
        "agent-deployment": "castai-agent/castai-agent",
        "agent-namespace": "castai-agent",
    }


def test_it_is_ready_when_the_rollout_is():
    recorder = recorded()
    urn = next(one for one in recorder.registered_outputs if one.endswith("::agent"))

    assert recorder.registered_outputs[urn]["ready"] is True
    assert recorder.registered_outputs[urn]["namespace"] == "castai-agent"
