"""The automation's component on the real engine, provider and API server, its pods run by KWOK."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import Client, codecs
from lightkube.models.core_v1 import ResourceQuotaSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod, ResourceQuota
from lightkube.types import PatchType

from castai_stack.adopt.evictor import BESIDE, CLUSTER_WIDE, RULES
from castai_stack.agent import adoption
from castai_stack.agent.names import NAMESPACE
from castai_stack.automation import evictor_config, manifests
from castai_stack.automation import existing as existing_automation
from castai_stack.automation.names import CONTROLLER, EVICTOR, EVICTOR_CONFIG, SPOT_HANDLER
from castai_stack.config import model
from castai_stack.kube import connection, kinds
from castai_stack.permissions import operator_kubernetes
from sandbox.kubernetes.control_plane import KWOK_ANNOTATION, ControlPlane
from sandbox.sources import charts, furnish
from sandbox.toolchain import Programs
from tests.automation.test_controller_manifests import a_release
from tests.support import footprints
from tests.support.agent_stack import KEY
from tests.support.authorizer import Authorizer, Question
from tests.support.automation_stack import AutomationStack
from tests.support.rights import granted, questions, table
from tests.support.waits import is_absent, wait_for

pytestmark = pytest.mark.sandbox

GOLDEN = Path(__file__).parents[1] / "golden"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
NODES = {"automation-node-0": {}, "automation-node-1": {"eks.amazonaws.com/capacityType": "SPOT"}}
SPOT_NODE = "automation-node-1"
NAMES = (CONTROLLER, "castai-agent", "cluster-controller")


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Client]:
    """A client with all powers, an ordinary node and a Spot node."""
    annotation, value = KWOK_ANNOTATION
    with connection.connect(str(control_plane.kubeconfig), None) as client:
        for name, labels in NODES.items():
            metadata = ObjectMeta(
                name=name,
                annotations={annotation: value},
                labels={"kubernetes.io/os": "linux", "kubernetes.io/hostname": name, **labels},
            )
            client.create(Node(metadata=metadata))
        yield client
        for name in NODES:
            client.delete(Node, name)


@pytest.fixture(scope="module")
def authorizer(control_plane: ControlPlane) -> Authorizer:
    return Authorizer(control_plane.kubeconfig)


@pytest.fixture(autouse=True)
def namespace(api: Client) -> Iterator[None]:
    """The agent's namespace, which enforces no Pod Security and goes with all that is in it."""
    api.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    yield
    api.delete(Namespace, NAMESPACE)
    wait_for(lambda: is_absent(api, Namespace, NAMESPACE))


@pytest.fixture
def automation(
    tmp_path: Path, programs: Programs, control_plane: ControlPlane
) -> Iterator[AutomationStack]:
    """A stack of its own, taken away at the end whatever happened."""
    stack = AutomationStack(tmp_path, programs, control_plane.kubeconfig)
    yield stack
    stack.stack().destroy()


def changes(result: Any) -> dict[str, int]:
    counted = getattr(result, "change_summary", None) or result.summary.resource_changes
    return {str(getattr(op, "value", op)): n for op, n in counted.items() if op != "same"}


def pods(api: Client) -> dict[str, Any]:
    return {
        pod.metadata.name: pod.to_dict()
        for pod in api.list(Pod, namespace=NAMESPACE)
        if pod.metadata.deletionTimestamp is None
    }


def may(api: Client, authorizer: Authorizer, account: str) -> set[Question]:
    """Return what an account of the namespace may do beyond what every account may."""
    namespaces = [one.metadata.name for one in api.list(Namespace)]
    allowed = authorizer.allowed(
        (NAMESPACE, account), set(questions(authorizer, namespaces, NAMES))
    )
    return allowed - authorizer.allowed((NAMESPACE, "without-any-binding"), allowed)


def test_the_controller_runs_as_wanted_and_may_do_what_the_table_says(
    automation: AutomationStack, api: Client, authorizer: Authorizer
):
    stack = automation.stack()
    stack.up()

    assert changes(stack.preview()) == {}
    assert changes(stack.refresh()) == {}
    assert changes(stack.up()) == {}
    assert len(pods(api)) == 2
    exported = automation.export()
    assert "castai-cluster-controller" in exported
    assert KEY not in exported

    granted = may(api, authorizer, CONTROLLER)
    assert table(granted) == yaml.safe_load((GOLDEN / "controller_access.yaml").read_text())
    assert not [one for one in granted if one.resource.partition("/")[0] == "secrets"]
    for verb in ("bind", "escalate", "impersonate", "approve"):
        assert not [one for one in granted if one.verb == verb]

    upgraded = automation.stack(controller={"tag": "v9.9.9"})
    assert changes(upgraded.up()) == {"update": 2}, "the deployment in place, and its gate"
    rotated = automation.stack(controller={"tag": "v9.9.9"}, token="another")
    assert changes(rotated.up()) == {"update": 3}, "the secret too"


def test_self_upgrade_gives_the_namespace_away_and_no_other_secret(
    automation: AutomationStack, api: Client, authorizer: Authorizer
):
    automation.stack(controller={"self_upgrade": True}).up()

    granted = may(api, authorizer, CONTROLLER)

    secrets = {one for one in granted if one.resource == "secrets"}
    assert {one.namespace for one in secrets} == {NAMESPACE}
    everywhere = {(one.group, one.resource) for one in granted if not one.namespace}
    assert ("", "secrets") not in everywhere
    assert ("apps", "deployments") not in everywhere
    assert changes(automation.stack().up()) == {"update": 5}, "three roles, the pods, their gate"
    assert not [one for one in may(api, authorizer, CONTROLLER) if one.resource == "secrets"]


def test_controller_and_evictor_run_with_the_documented_rights_at_the_restricted_level(
    automation: AutomationStack, api: Client, authorizer: Authorizer, tmp_path: Path
):
    """The operator has the rights that the program prints for these settings, and no others."""
    api.patch(
        Namespace, NAMESPACE, {"metadata": {"labels": RESTRICTED}}, patch_type=PatchType.MERGE
    )
    with granted(api, "deployer", documented_role({"automation": {"evictor": {"enabled": True}}})):
        automation.kubeconfig = authorizer.kubeconfig_of(("default", "deployer"), tmp_path / "own")
        stack = automation.stack(evictor={"enabled": True})
        preview = changes(stack.preview())
        assert changes(stack.up()) == preview
        assert len(pods(api)) == 4, "two of the controller, the evictor and its autoscaler"
        assert changes(stack.preview()) == {}
        require_rights_of_the_evictor(may(api, authorizer, EVICTOR))

        kind = kinds.load("autoscaling.cast.ai/v1alpha1", "EvictorConfig")
        assert api.get(kind, "evictor-config")["spec"]["config"]["dryRun"] is True
        api.patch(
            kind,
            "evictor-config",
            {"spec": {"enabled": False, "config": {"dryRun": False, "cycleInterval": "5m"}}},
            patch_type=PatchType.MERGE,
        )
        assert changes(stack.refresh()) in ({}, {"update": 1}), "the state takes CAST AI's values"
        assert changes(stack.up()) == {}, "which is CAST AI's to write"
        assert api.get(kind, "evictor-config")["spec"]["config"]["dryRun"] is False

        automation.stack().up()
        assert is_absent(api, CustomResourceDefinition, "evictorconfigs.autoscaling.cast.ai")
        assert len(pods(api)) == 2
        automation.stack().destroy()


def documented_role(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the operator's cluster role under these settings."""
    cluster = {"name": "demo", "region": "eu-central-1", "account_id": "012345678901"}
    needed = operator_kubernetes.kubernetes_requirements(
        model.StackConfig.model_validate({"cluster": cluster, **settings}), aws_auth=True
    )
    return operator_kubernetes.cluster_role(needed, apply=True)


def require_rights_of_the_evictor(rights: set[Question]) -> None:
    """Fail unless it writes nodes, pods and evictions everywhere, and leases in its namespace."""
    writes = {
        (one.namespace, one.resource)
        for one in rights
        if one.verb not in {"get", "list", "watch"} and not one.name
    }
    outside = {resource for namespace, resource in writes if namespace != NAMESPACE}
    assert outside == {"nodes", "pods", "pods/eviction", "events"}
    within = {resource for namespace, resource in writes if namespace == NAMESPACE}
    assert within == {*outside, "leases"} - {"nodes"}
    assert not [one for one in rights if one.resource.partition("/")[0] == "secrets"]


def test_the_spot_handler_runs_on_spot_nodes_only_and_may_mark_nodes(
    automation: AutomationStack, api: Client, authorizer: Authorizer, tmp_path: Path
):
    with granted(api, "deployer", documented_role({"spot": {"handler": "daemonset"}})):
        automation.kubeconfig = authorizer.kubeconfig_of(("default", "deployer"), tmp_path / "own")
        stack = automation.stack(controller={"enabled": False}, spot_daemonset=True)
        stack.up()

        wait_for(lambda: len(pods(api)) == 1)
        (pod,) = pods(api).values()
        assert pod["spec"]["nodeName"] == SPOT_NODE
        assert changes(stack.preview()) == {}
        assert table(may(api, authorizer, SPOT_HANDLER)) == {
            "everywhere": {"nodes": ["get", "list", "patch", "watch"]}
        }
        stack.destroy()


def test_what_keeps_the_controllers_pods_from_running_is_said(
    automation: AutomationStack, api: Client
):
    team = ObjectMeta(name="team", namespace=NAMESPACE)
    api.create(ResourceQuota(metadata=team, spec=ResourceQuotaSpec(hard={"pods": "0"})))

    message = automation.failing_up(rollout_timeout_seconds=10)

    assert "CAST AI's automation is not rolled out within 10 s" in message
    assert "exceeded quota: team" in message
    assert "a refused token or a blocked way to the API shows as a failed probe" in message
    assert "automation.rolloutTimeoutSeconds sets the time" in message


def of_helm(instance: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": CONTROLLER,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "castai-cluster-controller-0.92.14",
    }


def install_the_chart(api: Client, instance: str) -> None:
    """Install a controller as Helm does, whose name the API server remembers for every field."""
    documents = manifests.objects(a_release(), cluster_id="x", encoded_token="a2V5")
    for document in documents.values():
        metadata = {**document["metadata"], "labels": of_helm(instance)}
        metadata.pop("annotations")
        if document["kind"] == "PodDisruptionBudget":
            selected = {"app.kubernetes.io/name": CONTROLLER}
            document["spec"] = {"minAvailable": 1, "selector": {"matchLabels": selected}}
        if document["kind"] == "Deployment":
            selector = {
                key: value
                for key, value in of_helm(instance).items()
                if key.endswith(("/name", "/instance"))
            }
            document["spec"]["selector"]["matchLabels"] = selector
            document["spec"]["template"]["metadata"] = {"labels": selector}
        api.create(codecs.from_dict({**document, "metadata": metadata}), field_manager="helm")


def install_an_evictor(api: Client) -> None:
    """Install the evictor's release, whose object `evictor-config` is the user's own."""
    for document in charts.with_evictor(footprints.source_place(), KEY):
        annotations = document["metadata"].get("annotations", {})
        if annotations.get("meta.helm.sh/release-name") == EVICTOR:
            furnish.create(api, document, "helm")


def look(api: Client, **settings: Any) -> list[adoption.ExistingObject]:
    release = a_release(**settings)
    documents = manifests.objects(release).values()
    return adoption.look_for(api, documents, "automation.adopt", adopt=release.settings.adopt)


@pytest.fixture
def cluster_roles_of_the_chart(api: Client) -> Iterator[None]:
    """Take away what the chart leaves outside of the namespace."""
    yield
    for kind_name, name in BESIDE:
        kind = kinds.load("rbac.authorization.k8s.io/v1", kind_name)
        if kind_name in CLUSTER_WIDE and not is_absent(api, kind, name):
            api.delete(kind, name)
    for document in manifests.objects(a_release()).values():
        if "namespace" not in document["metadata"]:
            kind = kinds.load(document["apiVersion"], document["kind"])
            if not is_absent(api, kind, document["metadata"]["name"]):
                api.delete(kind, document["metadata"]["name"])


def uids(api: Client) -> dict[str, Any]:
    deployments = api.list(Deployment, namespace=NAMESPACE)
    return {str(one.metadata.name): one.metadata.uid for one in deployments}


@pytest.mark.usefixtures("cluster_roles_of_the_chart")
def test_controller_and_evictor_of_releases_are_found_and_taken_over_in_place(
    automation: AutomationStack, api: Client
):
    evictor = {"enabled": True, "dry_run": False, "aggressive_mode": True}
    assert look(api, evictor=evictor) == [], "a server without the evictor's kind"
    install_the_chart(api, "cluster-controller")
    install_an_evictor(api)
    before = uids(api)
    custom = kinds.load(evictor_config.API_VERSION, evictor_config.KIND)
    configured = api.get(custom, EVICTOR_CONFIG).to_dict()["spec"]

    result = look(api, adopt=True, evictor=evictor)
    refusal = existing_automation.refusal(result, a_release())
    assert refusal is not None
    assert "helm uninstall castai-evictor cluster-controller -n" in refusal
    assert existing_automation.refusal(result, a_release(adopt=True)) is None

    adopted = automation.stack(adopt=True, evictor=evictor, existing=adoption.existing(result))
    adopted.up()
    assert changes(adopted.preview()) == {}
    assert uids(api) == before
    assert all(one.of_this_program for one in look(api, evictor=evictor))
    assert api.get(custom, EVICTOR_CONFIG).to_dict()["spec"] == configured, "it is the user's"
    deployment = api.get(Deployment, EVICTOR, namespace=NAMESPACE).to_dict()
    assert deployment["metadata"]["labels"]["charts.cast.ai/managed"] == "false"
    pod = deployment["spec"]["template"]["spec"]
    assert [one["configMap"]["name"] for one in pod["volumes"]] == [RULES], "rules stay in force"
    assert pod["containers"][0]["volumeMounts"] == [{"mountPath": "/config", "name": "config"}]

    adopted.destroy()
    assert look(api, evictor=evictor) == []
    assert api.get(ConfigMap, RULES, namespace=NAMESPACE).metadata is not None


@pytest.mark.usefixtures("cluster_roles_of_the_chart")
def test_a_controller_of_the_umbrella_chart_has_another_selector(api: Client):
    install_the_chart(api, "castai")

    refusal = existing_automation.refusal(look(api, adopt=True), a_release(adopt=True))

    assert refusal is not None
    assert "app.kubernetes.io/instance=castai," in refusal
    assert "kubectl delete deployment castai-cluster-controller -n castai-agent" in refusal
