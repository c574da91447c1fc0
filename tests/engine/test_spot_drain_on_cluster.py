"""The draining path of the Spot handler on a real API server, with the rights that it ships."""

import base64
import itertools
import time

import pytest
from lightkube import Client, KubeConfig
from lightkube.models.apps_v1 import DaemonSetSpec, ReplicaSetSpec
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.core_v1 import (
    Container,
    NodeSpec,
    PodSpec,
    PodTemplateSpec,
    Taint,
    Toleration,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.policy_v1 import PodDisruptionBudgetSpec
from lightkube.resources.apps_v1 import DaemonSet, ReplicaSet
from lightkube.resources.core_v1 import Namespace, Node, Pod, ServiceAccount, ServiceAccountToken
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding
from lightkube.types import PatchType

from castai_stack.spot import rbac
from castai_stack.spot_handler import handler
from castai_stack.spot_handler.castai import Castai, ReportError
from castai_stack.spot_handler.deadline import Deadline
from castai_stack.spot_handler.decide import Report
from castai_stack.spot_handler.drain import Cluster, KubernetesError, UntrustedServerError, drain
from castai_stack.spot_handler.handler import Settings, SpotHandler
from sandbox.kubernetes import certificates
from sandbox.kubernetes.control_plane import KWOK_ANNOTATION, ControlPlane
from tests.support.spot import CLUSTER, CLUSTER_ID, Ec2, EventsEndpoint, an_event, described, iso

pytestmark = pytest.mark.sandbox

NAMESPACE = "spot-drain"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def token(control_plane: ControlPlane):
    """A login that may do what the shipped cluster role allows, and nothing else."""
    with Client(kubeconfig_of(control_plane)) as api:
        api.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
        api.create(ServiceAccount(metadata=ObjectMeta(name="handler", namespace=NAMESPACE)))
        api.create(ClusterRole.from_dict(rbac.cluster_role()))
        binding = rbac.cluster_role_binding()
        # Without an authenticator nobody is of the mapped group: an account stands for it.
        account = {"kind": "ServiceAccount", "name": "handler", "namespace": NAMESPACE}
        api.create(ClusterRoleBinding.from_dict({**binding, "subjects": [account]}))
        answer = api.create(
            ServiceAccountToken(
                metadata=ObjectMeta(),
                spec=TokenRequestSpec(audiences=[], expirationSeconds=3600),
            ),
            "handler",
            namespace=NAMESPACE,
        )
        yield answer.status.token
        api.delete(ClusterRoleBinding, rbac.NAME)
        api.delete(ClusterRole, rbac.NAME)
        api.delete(Namespace, NAMESPACE)


def kubeconfig_of(control_plane: ControlPlane):
    return KubeConfig.from_file(control_plane.kubeconfig)


@pytest.fixture
def cluster(control_plane: ControlPlane, token):
    return lambda: connect(control_plane, token)


def connect(control_plane: ControlPlane, token: str, authority: bytes | None = None) -> Cluster:
    pem = authority or control_plane.authority.read_bytes()
    return Cluster(control_plane.url, base64.b64encode(pem).decode(), token)


class Place:
    """A node with pods of every kind on it."""

    def __init__(self, api: Client, name: str | None = None) -> None:
        self.api = api
        number = next(_numbers)
        self.instance_id = f"i-{number:017x}"
        self.name = name or f"node-{number}"
        annotation, value = KWOK_ANNOTATION
        api.create(
            Node(
                metadata=ObjectMeta(
                    name=self.name, annotations={annotation: value}, labels={"place": self.name}
                ),
                spec=NodeSpec(
                    providerID=f"aws:///eu-central-1b/{self.instance_id}",
                    taints=[Taint(key="dedicated", value="batch", effect="NoSchedule")],
                ),
            )
        )

    def pod(self, kind: str, **metadata) -> str:
        name = f"{kind}-{self.name}"
        self.api.create(
            Pod(
                metadata=ObjectMeta(name=name, namespace=NAMESPACE, **metadata),
                spec=PodSpec(
                    nodeName=self.name,
                    containers=[Container(name="main", image="example.invalid/main:1")],
                    terminationGracePeriodSeconds=1,
                    automountServiceAccountToken=False,
                ),
            )
        )
        return name

    def guarded_pod(self, app: str) -> str:
        """Make a pod that a disruption budget keeps.

        It runs: one that is still pending is evicted whatever its budget says.
        Source: kubernetes/kubernetes, pkg/registry/core/pod/storage/eviction.go
        """
        name = self.pod(app, labels={"app": app})
        self.api.create(
            PodDisruptionBudget(
                metadata=ObjectMeta(name=app, namespace=NAMESPACE),
                spec=PodDisruptionBudgetSpec(
                    minAvailable=1, selector=LabelSelector(matchLabels={"app": app})
                ),
            )
        )
        eventually(lambda: self.api.get(Pod, name, namespace=NAMESPACE).status.phase == "Running")
        return name

    def template(self, app: str) -> PodTemplateSpec:
        """Pods for this node alone, which mind a cordon."""
        return PodTemplateSpec(
            metadata=ObjectMeta(labels={"app": app}),
            spec=PodSpec(
                nodeSelector={"place": self.name},
                tolerations=[Toleration(key="dedicated", operator="Exists")],
                containers=[Container(name="main", image="example.invalid/main:1")],
                terminationGracePeriodSeconds=1,
            ),
        )

    def report(self, private_dns_name: str = "") -> Report:
        return Report(
            event_type="interrupted",
            instance_id=self.instance_id,
            provider_id=f"aws:///eu-central-1b/{self.instance_id}",
            private_dns_name=private_dns_name,
            occurred=time.time(),
        )

    def pods(self) -> set[str]:
        result = self.api.list(Pod, namespace=NAMESPACE, fields={"spec.nodeName": self.name})
        return {p.metadata.name for p in result if not p.metadata.deletionTimestamp}


def soon(seconds: float) -> Deadline:
    return Deadline(time.time() + seconds)


def eventually(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)


def test_the_node_is_cordoned_labelled_and_tainted_beside_what_it_carries(kubernetes, cluster):
    place = Place(kubernetes)

    outcome = drain(cluster(), place.report(), soon(20))

    node = kubernetes.get(Node, place.name)
    assert outcome.cordoned
    assert node.spec.unschedulable
    assert node.metadata.labels["autoscaling.cast.ai/draining"] == "spot-interruption"
    taints = {(t.key, t.value, t.effect) for t in node.spec.taints}
    assert taints >= {
        ("dedicated", "batch", "NoSchedule"),
        ("autoscaling.cast.ai/draining", "true", "NoSchedule"),
    }


def test_a_taint_that_somebody_adds_meanwhile_is_kept(kubernetes, cluster):
    place = Place(kubernetes)
    connection = cluster()
    ask = connection.call

    def call(method, path, **how):
        if method == "PATCH" and not added:
            late = {"key": "late", "value": "yes", "effect": "NoSchedule"}
            addition = [{"op": "add", "path": "/spec/taints/-", "value": late}]
            kubernetes.patch(Node, place.name, addition, patch_type=PatchType.JSON)
            added.append(place.name)
        return ask(method, path, **how)

    added = []
    connection.call = call
    drain(connection, place.report(), soon(20))

    taints = {taint.key for taint in kubernetes.get(Node, place.name).spec.taints}
    assert taints >= {"dedicated", "late", "autoscaling.cast.ai/draining"}


def test_pods_are_evicted_but_those_of_daemon_sets_and_mirrors(kubernetes, cluster):
    place, other = Place(kubernetes), Place(kubernetes)
    plain = place.pod("plain")
    for kind, spec in ((ReplicaSet, ReplicaSetSpec), (DaemonSet, DaemonSetSpec)):
        app = kind.__name__.lower()
        kubernetes.create(
            kind(
                metadata=ObjectMeta(name=app, namespace=NAMESPACE),
                spec=spec(
                    selector=LabelSelector(matchLabels={"app": app}), template=place.template(app)
                ),
            )
        )
    eventually(lambda: len(place.pods()) == 3)
    daemon, replica = sorted(place.pods() - {plain})
    mirror = place.pod("mirror", annotations={"kubernetes.io/config.mirror": "hash"})
    untouched = other.pod("plain")

    outcome = drain(cluster(), place.report(), soon(20))

    assert (outcome.evicted, outcome.left_alone, outcome.blocked) == (2, 2, ())
    eventually(lambda: place.pods() == {daemon, mirror})
    assert replica.startswith("replicaset-")
    assert other.pods() == {untouched}
    assert not kubernetes.get(Node, other.name).spec.unschedulable


def test_a_disruption_budget_is_respected_to_the_end(kubernetes, cluster):
    place = Place(kubernetes)
    guarded = place.guarded_pod("guarded")
    place.pod("plain")
    started = time.monotonic()

    outcome = drain(cluster(), place.report(), soon(6))

    assert outcome.evicted == 1
    assert outcome.blocked == (f"{NAMESPACE}/{guarded}",)
    assert 4 < time.monotonic() - started < 8, "it is to try until the deadline and no longer"
    assert guarded in place.pods()


def test_an_eviction_goes_through_as_soon_as_the_budget_lets_it(kubernetes, cluster):
    place, refuge = Place(kubernetes), Place(kubernetes)
    place.guarded_pod("waiting")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            refuge.pod("replacement", labels={"app": "waiting"})
        time.sleep(seconds)

    outcome = drain(cluster(), place.report(), Deadline(time.time() + 40, sleep=sleep))

    assert slept, "the first attempt was to be refused"
    assert (outcome.evicted, outcome.blocked) == (1, ())


def test_a_node_is_known_by_its_provider_id_whatever_its_name(kubernetes, cluster):
    decoy = Place(kubernetes)
    place = Place(kubernetes)

    outcome = drain(cluster(), place.report(private_dns_name=decoy.name), soon(20))

    assert outcome.node == place.name
    assert not kubernetes.get(Node, decoy.name).spec.unschedulable


def test_a_node_named_as_usual_is_found_by_a_single_read(kubernetes, cluster, control_plane):
    place = Place(kubernetes, name="ip-10-0-3-7.eu-central-1.compute.internal")
    before = len(control_plane.requests())

    outcome = drain(cluster(), place.report(private_dns_name=place.name), soon(20))

    own_requests = [r for r in control_plane.requests()[before:] if r.user.endswith(":handler")]
    assert outcome.node == place.name
    assert "get" in {r.verb for r in own_requests if r.resource == "nodes"}
    assert "list" not in {r.verb for r in own_requests if r.resource == "nodes"}


def test_an_instance_that_is_no_node_drains_nothing(kubernetes, cluster):
    place = Place(kubernetes)
    kubernetes.delete(Node, place.name)

    outcome = drain(cluster(), place.report(private_dns_name=place.name), soon(20))

    assert outcome.as_log()["node"] == ""


def test_a_second_drain_of_the_same_node_does_no_harm(kubernetes, cluster):
    place = Place(kubernetes)
    place.pod("plain")

    first = drain(cluster(), place.report(), soon(20))
    second = drain(cluster(), place.report(), soon(20))

    assert (first.cordoned, first.evicted) == (True, 1)
    assert (second.cordoned, second.evicted) == (False, 0)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/namespaces/kube-system/secrets", None),
        ("GET", "/api/v1/namespaces/kube-system/configmaps/aws-auth", None),
        ("DELETE", "/api/v1/nodes/anything", None),
        ("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/anything", None),
        ("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", {"kind": "Pod", "apiVersion": "v1"}),
        ("POST", f"/api/v1/namespaces/{NAMESPACE}/pods/anything/exec", None),
    ],
)
def test_the_cluster_role_allows_nothing_else(cluster, method, path, body):
    connection = cluster()
    with pytest.raises(KubernetesError) as caught:
        connection.call(method, path, body=body)
    connection.close()

    assert caught.value.status == 403


def test_an_api_server_of_another_authority_is_not_spoken_to(
    control_plane, token, kubernetes, tmp_path
):
    other = certificates.make(tmp_path).authority.read_bytes()
    place = Place(kubernetes)
    with pytest.raises(UntrustedServerError, match="is not signed by the cluster's authority"):
        drain(connect(control_plane, token, other), place.report(), soon(3))

    assert not kubernetes.get(Node, place.name).spec.unschedulable


def test_a_login_that_the_cluster_refuses_is_an_error_at_once(control_plane, kubernetes):
    place = Place(kubernetes)
    started = time.monotonic()
    with pytest.raises(KubernetesError, match="status 401"):
        drain(connect(control_plane, "no-token"), place.report(), soon(20))

    assert time.monotonic() - started < 15


def a_handler(endpoint: EventsEndpoint, cluster, place: Place) -> SpotHandler:
    return SpotHandler(
        Settings(cluster_name=CLUSTER, maximum_age=180, drain=True),
        Ec2(described(place.instance_id)),
        Castai(endpoint.url, CLUSTER_ID, lambda _fresh: "key"),
        cluster,
    )


def test_the_handler_tells_castai_and_drains(kubernetes, cluster):
    place = Place(kubernetes)
    place.pod("plain")
    with EventsEndpoint() as endpoint:
        line = a_handler(endpoint, cluster, place).handle(
            an_event(place.instance_id, time=iso(time.time())), 60
        )

    assert len(endpoint.reports) == 1
    assert line["drain"]["node"] == place.name
    assert line["drain"]["evicted"] == 1


def test_the_handler_drains_even_while_castai_does_not_answer(kubernetes, cluster, monkeypatch):
    monkeypatch.setattr(handler, "REPORT_SECONDS", 2.0)
    place = Place(kubernetes)
    place.pod("plain")
    with EventsEndpoint(answers=[(503, {})] * 1000) as endpoint, pytest.raises(ReportError):
        a_handler(endpoint, cluster, place).handle(
            an_event(place.instance_id, time=iso(time.time())), 11
        )

    assert kubernetes.get(Node, place.name).spec.unschedulable
    eventually(lambda: not place.pods())


def test_castai_hears_even_when_the_cluster_cannot_be_reached(kubernetes, control_plane):
    place = Place(kubernetes)
    with EventsEndpoint() as endpoint, pytest.raises(KubernetesError):
        a_handler(endpoint, lambda: connect(control_plane, "no-token"), place).handle(
            an_event(place.instance_id, time=iso(time.time())), 60
        )

    assert len(endpoint.reports) == 1


def test_a_rebalance_recommendation_leaves_the_node_alone(kubernetes, cluster):
    place = Place(kubernetes)
    event = an_event(
        place.instance_id, kind="EC2 Instance Rebalance Recommendation", time=iso(time.time())
    )
    with EventsEndpoint() as endpoint:
        line = a_handler(endpoint, cluster, place).handle(event, 60)

    assert len(endpoint.reports) == 1
    assert "drain" not in line
    assert not kubernetes.get(Node, place.name).spec.unschedulable


def test_pods_leave_by_eviction_and_never_by_deletion(control_plane):
    own_requests = [r for r in control_plane.requests() if r.user.endswith(":handler")]

    assert [r for r in own_requests if (r.verb, r.resource) == ("create", "pods/eviction")]
    assert {r.status for r in own_requests if r.verb.startswith("delete")} <= {403}
