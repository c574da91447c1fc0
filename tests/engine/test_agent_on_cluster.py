"""The agent's component on the real engine, provider and API server, its pods run by KWOK."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import ApiError, Client, codecs
from lightkube.models.core_v1 import ResourceQuotaSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import (
    ConfigMap,
    Namespace,
    Node,
    Pod,
    ResourceQuota,
    Secret,
)
from lightkube.resources.rbac_authorization_v1 import ClusterRole, Role
from lightkube.types import PatchType

from castai_stack.agent import adoption, manifests, release, settings
from castai_stack.agent import names as agent_names
from castai_stack.agent.names import AGENT, AUTOSCALER, NAMESPACE
from castai_stack.config import model
from castai_stack.kube import connection
from castai_stack.permissions import operator_kubernetes
from sandbox.kubernetes.control_plane import KWOK_ANNOTATION, ControlPlane
from sandbox.toolchain import Programs
from tests.support.agent_stack import KEY, AgentStack
from tests.support.authorizer import Authorizer
from tests.support.rights import granted, questions, table
from tests.support.waits import is_absent, wait_for

pytestmark = pytest.mark.sandbox

GOLDEN = Path(__file__).parents[1] / "golden"
CHART = Path(__file__).parents[1] / "support" / "agent_of_the_chart.yaml"
ROLLOUT = {"update": 2}
"""The deployment in place, and the gate that waits for its pods."""
ACCOUNT = (NAMESPACE, AGENT)


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Client]:
    """A client with all powers, and two nodes to run pods on."""
    annotation, value = KWOK_ANNOTATION
    names = ("agent-node-0", "agent-node-1")
    with connection.connect(str(control_plane.kubeconfig), None) as client:
        for name in names:
            labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
            metadata = ObjectMeta(name=name, annotations={annotation: value}, labels=labels)
            client.create(Node(metadata=metadata))
        yield client
        for name in names:
            client.delete(Node, name)


@pytest.fixture(scope="module")
def authorizer(control_plane: ControlPlane) -> Authorizer:
    return Authorizer(control_plane.kubeconfig)


@pytest.fixture
def agent(tmp_path: Path, programs: Programs, control_plane: ControlPlane) -> Iterator[AgentStack]:
    """A stack of its own, taken away at the end whatever happened."""
    stack = AgentStack(tmp_path, programs, control_plane.kubeconfig)
    yield stack
    stack.stack().destroy()


@pytest.fixture(scope="class")
def installed(
    tmp_path_factory: pytest.TempPathFactory,
    programs: Programs,
    control_plane: ControlPlane,
    api: Client,  # its nodes
) -> Iterator[AgentStack]:
    """An agent with default settings; nothing of it is left in the end."""
    stack = AgentStack(tmp_path_factory.mktemp("agent"), programs, control_plane.kubeconfig)
    stack.stack().up()
    yield stack
    stack.stack().destroy()
    with pytest.raises(ApiError, match="not found"):
        api.get(Namespace, NAMESPACE)


def changes(result: Any) -> dict[str, int]:
    """What a preview, up or refresh did, by operation, unchanged resources apart."""
    counted = getattr(result, "change_summary", None) or result.summary.resource_changes
    return {str(getattr(op, "value", op)): n for op, n in counted.items() if op != "same"}


def pods(api: Client) -> dict[str, Any]:
    return {
        pod.metadata.name: pod.to_dict()
        for pod in api.list(Pod, namespace=NAMESPACE)
        if pod.metadata.deletionTimestamp is None
    }


def agent_container(api: Client) -> dict[str, Any]:
    result = api.get(Deployment, AGENT, namespace=NAMESPACE).to_dict()
    return next(
        one for one in result["spec"]["template"]["spec"]["containers"] if one["name"] == "agent"
    )


def leave_things_behind(api: Client) -> None:
    """Do what the agent does at run time; and somebody else, next to it."""
    for name in (agent_names.METADATA_STORE, "somebody-elses"):
        metadata = ObjectMeta(name=name, namespace=NAMESPACE)
        api.create(ConfigMap(metadata=metadata, data={"CLUSTER_ID": "x"}))
    for name in (*agent_names.LEASES, "somebody-elses"):
        api.create(Lease(metadata=ObjectMeta(name=name, namespace=NAMESPACE)))


@pytest.mark.usefixtures("installed")
class TestDefaults:
    """One agent with default settings, gone before the next test."""

    def test_what_was_made_is_as_wanted(self, installed: AgentStack):
        assert changes(installed.stack().preview()) == {}
        assert changes(installed.stack().refresh()) == {}
        assert changes(installed.stack().up()) == {}

    def test_the_pods_run_under_a_quota_that_asks_for_no_memory(self, api: Client):
        running = pods(api)

        assert len(running) == 3, "two of the agent, one of its autoscaler"
        assert agent_container(api)["resources"] == {
            "requests": {"cpu": "100m"},
            "limits": {"cpu": "1"},
        }
        for name, pod in running.items():
            ready = [one for one in pod["status"]["conditions"] if one["type"] == "Ready"]
            assert [one["status"] for one in ready] == ["True"], name

    def test_the_key_is_encrypted_wherever_the_state_keeps_it(self, installed: AgentStack):
        exported = installed.export()

        assert "castai-agent" in exported, "the state must be the one that is looked at"
        assert KEY not in exported
        assert manifests.encoded(KEY) not in exported

    def test_the_autoscalers_memory_is_no_drift_and_survives_an_upgrade(
        self, installed: AgentStack, api: Client, authorizer: Authorizer
    ):
        memory = {"requests": {"memory": "2304Mi"}, "limits": {"memory": "2304Mi"}}
        containers = [{"name": "agent", "resources": memory}]
        authorizer.call(
            "PATCH",
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{AGENT}",
            {"spec": {"template": {"spec": {"containers": containers}}}},
            kind="application/strategic-merge-patch+json",
            account=ACCOUNT,
        )
        assert agent_container(api)["resources"]["limits"]["memory"] == "2304Mi"

        assert changes(installed.stack().preview()) == {}
        assert changes(installed.stack().refresh()) == {}
        assert changes(installed.stack().preview()) == {}

        before = api.get(Deployment, AGENT, namespace=NAMESPACE).metadata.uid
        upgrade = installed.stack(tag="v0.124.0")
        assert changes(upgrade.preview()) == ROLLOUT
        assert changes(upgrade.up()) == ROLLOUT

        after = api.get(Deployment, AGENT, namespace=NAMESPACE)
        assert after.metadata.uid == before, "an upgrade is a rollout, no replacement"
        assert after.status.updatedReplicas == after.status.readyReplicas == 2
        assert agent_container(api)["image"].endswith(":v0.124.0")
        assert agent_container(api)["resources"]["limits"] == {"cpu": "1", "memory": "2304Mi"}
        assert changes(installed.stack().up()) == ROLLOUT

    def test_a_new_key_restarts_the_pods_and_replaces_nothing(
        self, installed: AgentStack, api: Client
    ):
        before = set(pods(api))
        rotated = installed.stack(api_key="another")

        assert changes(rotated.preview()) == {"update": 3}, "secret, deployment and rollout"
        rotated.up()

        secret = api.get(Secret, AGENT, namespace=NAMESPACE)
        assert secret.data == {"API_KEY": manifests.encoded("another")}
        restarted = {name for name in set(pods(api)) - before if not name.startswith(AUTOSCALER)}
        assert len(restarted) == 2
        assert changes(installed.stack().up()) == {"update": 3}

    def test_the_agent_may_do_what_the_table_says_and_nothing_else(
        self, api: Client, authorizer: Authorizer
    ):
        namespaces = [one.metadata.name for one in api.list(Namespace)]
        assert {NAMESPACE, "kube-system", "default"} <= set(namespaces)

        all_questions = set(questions(authorizer, namespaces, [AGENT]))
        may = authorizer.allowed(ACCOUNT, all_questions)
        anybody = authorizer.allowed((NAMESPACE, "without-any-binding"), may)
        granted = may - anybody

        assert table(granted) == yaml.safe_load((GOLDEN / "agent_access.yaml").read_text())
        reading = {"get", "list", "watch"}
        for question in granted:
            assert question.resource.partition("/")[0] != "secrets", question
            assert question.verb in reading or question.namespace == NAMESPACE, question


def test_a_namespace_that_enforces_the_restricted_level_takes_the_pods_and_is_left_clean(
    agent: AgentStack, api: Client
):
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create(Namespace(metadata=ObjectMeta(name=NAMESPACE, labels=enforced)))
    own = ObjectMeta(name="brought-along", namespace=NAMESPACE)
    api.create(Secret(metadata=own, stringData={"API_KEY": "x"}))
    stack = agent.stack(create_namespace=False, existing_secret="brought-along")

    stack.up()
    leave_things_behind(api)

    assert len(pods(api)) == 3
    assert changes(stack.preview()) == {}
    stack.destroy()
    maps = {one.metadata.name for one in api.list(ConfigMap, namespace=NAMESPACE)}
    leases = {one.metadata.name for one in api.list(Lease, namespace=NAMESPACE)}
    secrets = {one.metadata.name for one in api.list(Secret, namespace=NAMESPACE)}
    assert maps == {"kube-root-ca.crt", "somebody-elses"}
    assert leases == {"somebody-elses"}
    assert secrets == {"brought-along"}
    api.delete(Namespace, NAMESPACE)
    wait_for(lambda: is_absent(api, Namespace, NAMESPACE))


def install_the_chart(api: Client) -> None:
    """Install the agent as Helm does, whose name the API server remembers for every field."""
    chart = {"helm.sh/chart": "castai-agent-0.153.2", "app.kubernetes.io/managed-by": "Helm"}
    for document in yaml.safe_load_all(CHART.read_text()):
        if document["kind"] != "Namespace":
            document["metadata"]["labels"] = chart
        api.create(codecs.from_dict(document), field_manager="helm")
    wait_for(lambda: len(pods(api)) == 3)


def a_release(**changes: Any) -> release.Release:
    return release.Release(
        cluster_name="demo",
        region="eu-central-1",
        account_id="012345678901",
        api_url="https://api.cast.ai",
        settings=settings.Agent.model_validate(changes),
    )


def test_an_agent_of_the_chart_is_found_and_taken_over_without_a_restart(
    agent: AgentStack, api: Client
):
    assert adoption.find(api, a_release()) == []
    install_the_chart(api)
    before = pods(api)

    result = adoption.find(api, a_release())
    assert len(result) == 14
    refusal = adoption.refusal(result, a_release())
    assert refusal is not None
    assert "the chart castai-agent-0.153.2" in refusal

    adopted = agent.stack(adopt=True, existing=adoption.existing(result))
    preview = changes(adopted.preview())
    assert preview["import"] == 14, "every object that exists is imported"
    assert "replace" not in preview
    adopted.up()

    assert set(pods(api)) == set(before), "no pod may be restarted"
    for name in (AGENT, AUTOSCALER):
        deployment = api.get(Deployment, name, namespace=NAMESPACE)
        assert deployment.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    assert changes(adopted.preview()) == {}
    assert all(one.of_this_program for one in adoption.find(api, a_release()))

    existing = adoption.existing(adoption.find(api, a_release(adopt=True)))
    upgraded = agent.stack(adopt=True, existing=existing, tag="v0.124.0")
    assert changes(upgraded.up()) == ROLLOUT
    released = agent.stack(tag="v0.124.0")
    # Adopted pods keep their tolerations; without adoption both deployments take the program's.
    assert changes(released.up()) == {"update": 3}, "adopt may be switched off again"


def test_somebody_elses_edit_is_found_and_taken_back(agent: AgentStack, api: Client):
    agent.stack().up()
    api.patch(Deployment, AGENT, {"spec": {"replicas": 4}}, namespace=NAMESPACE)
    api.patch(ClusterRole, AGENT, {"rules": []}, patch_type=PatchType.MERGE)
    api.delete(Role, AGENT, namespace=NAMESPACE)

    assert changes(agent.stack().refresh()) == {"update": 2, "delete": 1}
    assert changes(agent.stack().up()) == {"update": 2, "create": 1}
    assert api.get(Deployment, AGENT, namespace=NAMESPACE).spec.replicas == 2
    assert api.get(ClusterRole, AGENT).rules
    assert changes(agent.stack().preview()) == {}


@pytest.mark.exhaustive
def test_a_namespace_that_is_gone_is_noticed_and_made_again_after_a_refresh(
    agent: AgentStack, api: Client
):
    agent.stack().up()
    uid = adoption.namespace_uid(api, NAMESPACE)
    assert changes(agent.stack(namespace_uid=uid).preview()) == {}
    api.delete(Namespace, NAMESPACE)
    wait_for(lambda: is_absent(api, Namespace, NAMESPACE))
    assert adoption.namespace_uid(api, NAMESPACE) == ""

    assert "namespace castai-agent is gone from the cluster" in agent.failing_up(namespace_uid="")
    refreshed = changes(agent.stack(namespace_uid="").refresh())
    assert refreshed["delete"] > 10, "the gate and the objects of the namespace"
    again = changes(agent.stack(namespace_uid="").up())
    assert again["create"] == refreshed["delete"]
    assert "was deleted and created again" in agent.failing_up(namespace_uid="another")


def test_a_namespace_that_went_before_the_first_rollout_is_named(agent: AgentStack, api: Client):
    assert "not rolled out" in agent.failing_up(
        rollout_timeout_seconds=10, node_selector={"example.com/absent": "true"}
    )
    api.delete(Namespace, NAMESPACE)
    wait_for(lambda: is_absent(api, Namespace, NAMESPACE))

    assert "namespace castai-agent is gone from the cluster" in agent.failing_up(namespace_uid="")
    agent.stack(namespace_uid="").refresh()
    agent.stack(namespace_uid="").up()
    assert changes(agent.stack().preview()) == {}


def test_the_documented_rights_are_enough_to_install_preview_and_remove(
    agent: AgentStack, api: Client, authorizer: Authorizer, tmp_path: Path
):
    """The rights alone, not those of an administrator."""
    cluster = model.Cluster(name="demo", region="eu-central-1", account_id="012345678901")
    needed = operator_kubernetes.kubernetes_requirements(
        model.StackConfig(cluster=cluster), aws_auth=True
    )
    apply = operator_kubernetes.cluster_role(needed, apply=True)
    preview = operator_kubernetes.cluster_role(needed, apply=False)
    place = tmp_path / "account"

    with granted(api, "deployer", apply), granted(api, "reviewer", preview):
        deployer = authorizer.kubeconfig_of(("default", "deployer"), place)
        login = Path(deployer).read_text()
        agent.kubeconfig = deployer
        assert changes(agent.stack().up())["create"] == 20
        authorizer.kubeconfig_of(("default", "reviewer"), place)
        assert changes(agent.stack().preview()) == {}
        assert changes(agent.stack(tag="v0.124.0").preview()) == ROLLOUT
        Path(deployer).write_text(login)
        assert changes(agent.stack(tag="v0.124.0").up()) == ROLLOUT
        assert changes(agent.stack().destroy())["delete"] == 20
    assert is_absent(api, Namespace, NAMESPACE)


@pytest.mark.exhaustive
def test_what_keeps_the_pods_from_running_is_said(agent: AgentStack, api: Client):
    api.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    team = ObjectMeta(name="team", namespace=NAMESPACE)
    api.create(ResourceQuota(metadata=team, spec=ResourceQuotaSpec(hard={"pods": "0"})))
    bounded = {"create_namespace": False, "rollout_timeout_seconds": 10}

    message = agent.failing_up(**bounded)

    assert "a resource quota refuses the pods of ReplicaSet castai-agent-" in message
    assert "exceeded quota: team" in message
    stack = agent.stack(**bounded)
    api.delete(ResourceQuota, "team", namespace=NAMESPACE)
    assert changes(stack.up()) == {"create": 1}, "the next up goes on where this one stopped"
    stack.destroy()
    api.delete(Namespace, NAMESPACE)
    wait_for(lambda: is_absent(api, Namespace, NAMESPACE))
