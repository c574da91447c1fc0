"""What AutomationComponent asks the engine for; what the cluster makes of it is shown elsewhere."""

from typing import Any

import pulumi
from google.protobuf import json_format

from castai_stack.agent import settings as agent_settings
from castai_stack.automation import settings
from castai_stack.automation.component import AutomationArgs, AutomationComponent
from tests.support import engine

COMPONENT = "castai-stack:index:AutomationComponent"
ROLLOUT = "castai-stack:index:AutomationRollout"
SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"


def some_args(**changes: Any) -> AutomationArgs:
    existing = changes.pop("existing", ())
    spot_daemonset = changes.pop("spot_daemonset", False)
    return {
        "api_url": "https://api.cast.ai",
        "settings": settings.Automation.model_validate(changes),
        "agent": agent_settings.Agent(),
        "namespace": "castai-agent",
        "spot_daemonset": spot_daemonset,
        "cluster_id": pulumi.Output.from_input("the-id"),
        "token": "sentinel",
        "existing": existing,
    }


def recorded(*, preview: bool = False, **changes: Any) -> engine.Recorder:
    def program() -> None:
        AutomationComponent("automation", some_args(**changes))

    return engine.run(program, preview=preview)


def named(recorder: engine.Recorder, name: str) -> Any:
    return next(one for one in recorder.requests if one.name == name)


def dependencies(recorder: engine.Recorder, name: str) -> set[str]:
    return {urn.rpartition("::")[2] for urn in named(recorder, name).dependencies}


def test_every_object_is_a_resource_of_its_own_under_the_component():
    inventory = recorded().inventory()

    assert (COMPONENT, "automation") in [(kind, name) for kind, name, _ in inventory]
    assert len(inventory) == 13, "eleven objects, the gate and the component"
    for _, name, parent in inventory:
        if name != "automation":
            assert name.startswith("automation-"), name
            assert parent.endswith("::automation"), name


def test_a_preview_shows_what_an_up_creates():
    assert recorded(preview=True).inventory() == recorded().inventory()


def test_the_deployment_depends_on_all_that_its_pods_need():
    everything = {name for _, name, _ in recorded().inventory()}
    later = {"automation", "automation-rollout", "automation-controller-deployment"}

    assert dependencies(recorded(), "automation-controller-deployment") == everything - later


def test_a_binding_waits_for_its_role():
    recorder = recorded()
    for role in ("cluster-role", "extension-role", "role"):
        name = f"automation-controller-{role}"
        assert name in dependencies(recorder, f"{name}-binding")


def test_children_wait_for_what_the_component_waits_for():
    """They do not inherit it: the namespace would otherwise be needed before it is there."""

    def program() -> None:
        agent = pulumi.CustomResource("test:index:Agent", "agent", {})
        opts = pulumi.ResourceOptions(depends_on=[agent])
        AutomationComponent("automation", some_args(), opts)

    recorder = engine.run(program)

    for _, name, _ in recorder.inventory():
        if name.startswith("automation-"):
            assert "agent" in dependencies(recorder, name), name


def test_the_token_and_all_values_from_it_are_secret():
    recorder = recorded()
    secret = json_format.MessageToDict(named(recorder, "automation-token").object)
    deployment = named(recorder, "automation-controller-deployment").object
    template = json_format.MessageToDict(deployment)["spec"]["template"]["metadata"]

    assert SECRET_MARK in str(secret["data"]["API_KEY"])
    assert SECRET_MARK in str(template["annotations"]["castai-eks/key-digest"])
    assert list(named(recorder, "automation-token").additionalSecretOutputs) == [
        "data",
        "stringData",
    ]


def test_with_an_existing_secret_the_token_is_used_for_nothing():
    for request in recorded(existing_secret="mine").requests:
        assert request.name != "automation-token"
        assert SECRET_MARK not in str(request.object), request.name


def test_an_unknown_token_leaves_all_other_values_known():
    def program() -> None:
        unborn = pulumi.CustomResource("test:index:Token", "token", {}).id
        AutomationComponent("automation", {**some_args(), "token": unborn, "cluster_id": unborn})

    recorder = engine.run(program, preview=True)
    deployment = json_format.MessageToDict(
        named(recorder, "automation-controller-deployment").object
    )

    containers = deployment["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in containers] == ["cluster-controller", "monitor"]
    assert pulumi.runtime.rpc.UNKNOWN in str(named(recorder, "automation-config").object)


def test_the_rollout_is_waited_for_within_bounds():
    recorder = recorded(rollout_timeout_seconds=90)
    gate = json_format.MessageToDict(recorder.one(ROLLOUT).object)

    assert gate["deployments"] == ["castai-cluster-controller"]
    assert gate["timeoutSeconds"] == 90
    assert "automation-controller-deployment" in dependencies(recorder, "automation-rollout")


def test_a_change_of_the_pods_changes_the_rollout():
    def wanted(**changes: Any) -> str:
        recorder = recorded(existing_secret="mine", **changes)
        return json_format.MessageToDict(recorder.one(ROLLOUT).object)["wanted"]

    assert wanted() == wanted(rollout_timeout_seconds=90)
    assert wanted() != wanted(controller={"tag": "v9.9.9"})


def test_what_exists_is_imported_under_its_own_name_and_the_rest_created():
    key = "kubernetes:apps/v1:Deployment::castai-agent/castai-cluster-controller"
    recorder = recorded(existing={key})

    imports = {one.name: one.importId for one in recorder.requests if one.importId}
    assert imports == {"automation-controller-deployment": "castai-agent/castai-cluster-controller"}


def test_every_workload_depends_on_its_own_objects_and_the_shared_ones():
    recorder = recorded(evictor={"enabled": True}, spot_daemonset=True)

    for workload in ("evictor-deployment", "spot-handler-daemonset"):
        needed = dependencies(recorder, f"automation-{workload}")
        account = f"automation-{workload.rpartition('-')[0]}-service-account"
        assert {"automation-token", "automation-config", account} <= needed


def test_the_evictors_configuration_follows_its_kind_and_is_castais_to_change():
    recorder = recorded(evictor={"enabled": True})
    configuration = named(recorder, "automation-evictor-configuration")

    assert "automation-evictor-definition" in dependencies(recorder, configuration.name)
    assert list(configuration.ignoreChanges) == ["spec"]
    assert not named(recorder, "automation-evictor-deployment").ignoreChanges


def test_the_daemonset_is_not_waited_for_because_there_may_be_no_spot_node():
    recorder = recorded(controller={"enabled": False}, spot_daemonset=True)

    assert ROLLOUT not in [kind for kind, _, _ in recorder.inventory()]
