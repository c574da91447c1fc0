"""The audit's questions to a real API server."""

import contextlib

import pytest
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.resources.rbac_authorization_v1 import ClusterRole

from castai_stack.commands import audit
from castai_stack.commands.aws_kinds import OURS, SCRIPT
from tests.support.waits import is_absent, wait_for

pytestmark = pytest.mark.sandbox

AUTH = """\
- rolearn: arn:aws:iam::012345678901:role/cast-demo-eks-3f2b8a4c
  username: system:node:{{EC2PrivateDNSName}}
- rolearn: arn:aws:iam::012345678901:role/platform-admin
"""


def named(name, namespace=None, **labels):
    return ObjectMeta(name=name, namespace=namespace, labels=labels)


def leftovers(control_plane):
    target = audit.Target("demo", "eu-central-1", "012345678901", str(control_plane.kubeconfig))
    answer = audit.audit(target, ["kubernetes"])
    assert answer.problems == []
    return {(one.kind, one.name, one.origin) for one in answer.leftovers}


def test_objects_and_mappings_are_found_in_the_cluster(control_plane, kubernetes):
    ours = {"app.kubernetes.io/part-of": "castai-eks"}
    before = leftovers(control_plane)
    result = [
        Namespace(metadata=named("castai-agent", **ours)),
        ConfigMap(metadata=named("castai-agent-metadata", "castai-agent")),
        ConfigMap(metadata=named("kept-by-somebody", "castai-agent")),
        ClusterRole(metadata=named("castai-agent")),
        ConfigMap(metadata=named("aws-auth", "kube-system"), data={"mapRoles": AUTH}),
    ]
    for one in result:
        with contextlib.suppress(ApiError):  # another test may have left a namespace
            kubernetes.create(one)
    try:
        after = leftovers(control_plane)
    finally:
        for one in reversed(result):
            kubernetes.delete(type(one), one.metadata.name, namespace=one.metadata.namespace)
        wait_for(lambda: is_absent(kubernetes, Namespace, "castai-agent"))
    assert after - before == {
        ("Namespace", "castai-agent", OURS),
        ("ConfigMap", "castai-agent/castai-agent-metadata", f"{SCRIPT} or its chart"),
        ("ClusterRole", "castai-agent", f"{SCRIPT} or its chart"),
        (
            "aws-auth entry",
            "arn:aws:iam::012345678901:role/cast-demo-eks-3f2b8a4c",
            f"{OURS} or CAST AI's script",
        ),
    }
