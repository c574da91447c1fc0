import socket
import time
from pathlib import Path

import pytest
import requests
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, HTTPGetAction, PodSpec, PodTemplateSpec, Probe
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node

from sandbox.kubernetes.control_plane import KWOK_ANNOTATION, ControlPlane
from sandbox.processes import ProcessError, Processes
from sandbox.toolchain import Programs

pytestmark = pytest.mark.sandbox


def client(kubeconfig: Path) -> Client:
    return Client(config=KubeConfig.from_file(kubeconfig))


def deployment(name: str) -> Deployment:
    probe = Probe(httpGet=HTTPGetAction(port=8080, path="/healthz"))
    container = Container(name="main", image="example.invalid/main:1", readinessProbe=probe)
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=DeploymentSpec(
            replicas=2,
            selector=LabelSelector(matchLabels={"app": name}),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels={"app": name}), spec=PodSpec(containers=[container])
            ),
        ),
    )


def test_a_deployment_with_probes_becomes_ready_on_a_managed_node(kubernetes: Client):
    api = kubernetes
    annotation, value = KWOK_ANNOTATION
    api.create(Node(metadata=ObjectMeta(name="node-of-kwok", annotations={annotation: value})))
    api.create(deployment("rolls-out"))

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = api.get(Deployment, "rolls-out", namespace="default").status
        if status and status.readyReplicas == 2:
            break
        time.sleep(0.1)

    assert status, "the controller manager never looked at the deployment"
    assert status.readyReplicas == 2
    api.delete(Deployment, "rolls-out", namespace="default")
    api.delete(Node, "node-of-kwok")


def test_the_operator_may_do_everything_and_the_reader_nothing_by_itself(
    control_plane: ControlPlane,
):
    with client(control_plane.operator_kubeconfig) as operator:
        assert list(operator.list(Namespace))

    with client(control_plane.reader_kubeconfig) as reader, pytest.raises(ApiError) as refused:
        list(reader.list(Namespace))

    assert refused.value.status.code == 403


def test_a_wrong_token_is_nobody(control_plane: ControlPlane):
    answer = requests.get(
        f"{control_plane.url}/api/v1/namespaces",
        headers={"Authorization": "Bearer wrong"},
        verify=str(control_plane.authority),
        timeout=60,
    )

    assert answer.status_code == 401


def test_the_request_log_tells_reads_writes_and_dry_runs_apart(control_plane: ControlPlane):
    before = len(control_plane.requests())
    wanted = ConfigMap(
        apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="counted", namespace="default")
    )
    with client(control_plane.operator_kubeconfig) as api:
        api.apply(wanted, field_manager="test", dry_run=True)
        api.apply(wanted, field_manager="test")
        api.get(ConfigMap, "counted", namespace="default")
        api.delete(ConfigMap, "counted", namespace="default")

    log = [r for r in control_plane.requests()[before:] if not r.own]

    assert [(r.user, r.verb, r.write) for r in log] == [
        ("platform-admin", "patch", False),
        ("platform-admin", "patch", True),
        ("platform-admin", "get", False),
        ("platform-admin", "delete", True),
    ]


def test_another_process_finds_it_and_ends_it(programs: Programs, tmp_path: Path):
    started = ControlPlane.start(tmp_path, programs, with_parent=True)
    result = ControlPlane.at(tmp_path)
    assert result.url == started.url
    assert set(result.processes.alive()) == {
        "etcd",
        "apiserver",
        "controller-manager",
        "scheduler",
        "kwok",
    }

    result.stop()

    assert Processes(tmp_path).alive() == [], "a process outlived the control plane"
    started.stop()


def test_a_port_in_use_is_said_and_leaves_no_process(programs: Programs, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ProcessError, match="address already in use"):
            ControlPlane.start(tmp_path, programs, port=port, with_parent=True)

    assert Processes(tmp_path).alive() == [], "a failed start left a process behind"
