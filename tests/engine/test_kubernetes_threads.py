import subprocess
import sys

import pytest

from sandbox.kubernetes.control_plane import ControlPlane

pytestmark = pytest.mark.sandbox

MANY_FIRST_LOOKS = """
import sys
import threading
from castai_stack.kube import connection
from lightkube.resources import core_v1
from lightkube.resources import rbac_authorization_v1 as rbac

sys.setswitchinterval(1e-6)
looks = [
    (core_v1.Namespace, "default", None),
    (core_v1.ServiceAccount, "default", "default"),
    (core_v1.ConfigMap, "kube-root-ca.crt", "default"),
    (core_v1.Service, "kubernetes", "default"),
    (rbac.ClusterRole, "view", None),
    (rbac.ClusterRoleBinding, "cluster-admin", None),
    (rbac.Role, "extension-apiserver-authentication-reader", "kube-system"),
    (rbac.RoleBinding, "system:controller:bootstrap-signer", "kube-system"),
] * 2
ready = threading.Barrier(len(looks))


def look(kind, name, namespace):
    ready.wait()
    with connection.connect(sys.argv[1], None) as client:
        ready.wait()
        client.get(kind, name, namespace=namespace)


threads = [threading.Thread(target=look, args=one) for one in looks]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_many_threads_may_look_at_kinds_for_the_first_time_at_once(control_plane: ControlPlane):
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", MANY_FIRST_LOOKS, str(control_plane.kubeconfig)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]
