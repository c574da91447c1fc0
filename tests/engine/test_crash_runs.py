"""The engine killed at a few points; `make crash` does it at all of them."""

import subprocess
import sys

import pytest
from lightkube import Client, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from sandbox.kubernetes.proxy import KubernetesProxy
from sandbox.proofs.crash import Crash, Point, verdict

pytestmark = pytest.mark.sandbox

NAMESPACE = "DELETE /api/v1/namespaces/castai-agent"
AWS_AUTH = "PATCH /api/v1/namespaces/kube-system/configmaps/aws-auth"


POINTS = {
    "user": [
        Point("user", "up", "Kubernetes", AWS_AUTH, 1, "up"),
        Point("user", "destroy", "CAST AI", "castai:Disconnect", 1, "destroy"),
    ],
    "user, further points": [
        Point("user", "up", "AWS", "iam:CreateAccessKey", 1, "destroy"),
        Point("user", "destroy", "CAST AI", "castai:Disconnect", 1, "up"),
    ],
    "role": [
        Point("role", "up", "CAST AI", "castai:UpdatePoliciesV2", 1, "up"),
        Point("role", "destroy", "AWS", "iam:DetachRolePolicy", 1, "destroy"),
        Point("role", "destroy", "Kubernetes", NAMESPACE, 1, "up"),
    ],
}


@pytest.mark.parametrize(
    "points",
    [
        "user",
        pytest.param("user, further points", marks=pytest.mark.exhaustive),
        pytest.param("role", marks=pytest.mark.exhaustive),
    ],
)
def test_a_killed_run_is_recovered_and_leaves_nothing_odd(sandbox, points):
    run = Crash(sandbox)
    try:
        run.measure(POINTS[points][0].mode)
        outcomes = list(run.run(POINTS[points]))
    finally:
        run.close()

    assert [(str(one.point), verdict(one)) for one in outcomes] == [
        (str(point), "converged") for point in POINTS[points]
    ]


def test_a_write_to_kubernetes_is_carried_out_before_its_sender_dies(control_plane, tmp_path):
    proxy = KubernetesProxy(control_plane, tmp_path)
    code = (
        "import sys\n"
        "from lightkube import Client, KubeConfig\n"
        "from lightkube.models.meta_v1 import ObjectMeta\n"
        "from lightkube.resources.core_v1 import ConfigMap\n"
        "with Client(config=KubeConfig.from_file(sys.argv[1])) as client:\n"
        "    sys.stdin.readline()\n"
        "    for name in ('first', 'second', 'third'):\n"
        "        list(client.list(ConfigMap, namespace='default'))\n"
        "        metadata = ObjectMeta(name=name, namespace='default')\n"
        "        client.create(ConfigMap(metadata=metadata))\n"
    )
    sender = subprocess.Popen(
        [sys.executable, "-c", code, str(proxy.kubeconfig)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        path = "POST /api/v1/namespaces/default/configmaps"
        proxy.count_anew(([path], 2, sender.pid))
        sender.communicate(b"go\n", timeout=60)
        assert proxy.writes == [path, path]
    finally:
        proxy.close()
    with Client(config=KubeConfig.from_file(control_plane.kubeconfig)) as client:
        result = [one.metadata.name for one in client.list(ConfigMap, namespace="default")]
        for name in ("first", "second"):
            client.delete(ConfigMap, name, namespace="default")

    assert sender.returncode == -9
    assert "second" in result, "the write was not carried out"
    assert "third" not in result, "the sender went on"


def test_a_watch_comes_through_the_proxy_as_it_happens(control_plane, tmp_path):
    proxy = KubernetesProxy(control_plane, tmp_path)
    try:
        with Client(config=KubeConfig.from_file(proxy.kubeconfig)) as client:
            result = ConfigMap(metadata=ObjectMeta(name="watched", namespace="default"))
            client.create(result)
            events = client.watch(
                ConfigMap, namespace="default", fields={"metadata.name": "watched"}
            )
            assert next(iter(events))[1].metadata.name == "watched"
            client.delete(ConfigMap, "watched", namespace="default")
    finally:
        proxy.close()
