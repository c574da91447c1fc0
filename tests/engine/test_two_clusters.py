"""Two clusters side by side in one Python program, each with every component."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lightkube import Client, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Node

from sandbox import castai, constants, inventory
from sandbox.engine.stack import Stack
from sandbox.kubernetes.agent_standin import AgentStandIn
from sandbox.kubernetes.control_plane import KWOK_ANNOTATION, ControlPlane
from sandbox.kubernetes.controller_standin import ControllerStandIn
from sandbox.session import Sandbox
from tests.support.life import require_empty

pytestmark = pytest.mark.sandbox

PROGRAM = """\
import pulumi
from castai_stack import CastaiCluster

for name, access, kubeconfig in {clusters!r}:
    connected = CastaiCluster(
        name,
        {{
            "cluster": {{"name": name, "region": {region!r}, "account_id": {account!r}}},
            "access": {{"mode": access}},
            "credentials": {{"mode": "role"}},
            "kubeconfig": kubeconfig,
        }},
    )
    pulumi.export(f"{{name}}_role", connected.role_arn)
    pulumi.export(f"{{name}}_id", connected.cluster_id)
"""
SECOND = "second"


@pytest.fixture
def second_cluster(sandbox: Sandbox, control_plane: ControlPlane) -> Iterator[Path]:
    """Another EKS cluster of the account, whose API is the bare API server; its kubeconfig."""
    eks = sandbox.client("eks", "root")
    model = eks.describe_cluster(name=constants.CLUSTER)["cluster"]
    eks.create_cluster(
        name=SECOND,
        roleArn=model["roleArn"],
        resourcesVpcConfig={"subnetIds": model["resourcesVpcConfig"]["subnetIds"]},
        accessConfig={"authenticationMode": "API"},
    )
    annotation, value = KWOK_ANNOTATION
    metadata = ObjectMeta(
        name="second-node", annotations={annotation: value}, labels={"kubernetes.io/os": "linux"}
    )
    kubeconfig = control_plane.kubeconfig
    with ExitStack() as ending, Client(config=KubeConfig.from_file(kubeconfig)) as client:
        client.create(Node(metadata=metadata))
        for stand_in in (AgentStandIn(kubeconfig), ControllerStandIn(kubeconfig)):
            ending.callback(stand_in.close)
            stand_in.start()
        yield kubeconfig
        client.delete(Node, "second-node")
    eks.delete_cluster(name=SECOND)


@pytest.fixture
def stack(sandbox: Sandbox, second_cluster: Path, tmp_path: Path) -> Stack:
    clusters = [
        (constants.CLUSTER, "aws-auth", "ambient"),
        (SECOND, "access-entries", str(second_cluster)),
    ]
    program = tmp_path / "two_clusters.py"
    program.write_text(
        PROGRAM.format(clusters=clusters, region=constants.REGION, account=constants.ACCOUNT)
    )
    stack = sandbox.stack(program=program, name="two-clusters")
    stack.environment = {**stack.environment, "CASTAI_API_KEY": castai.API_KEY}
    return stack


def test_one_program_connects_two_clusters_and_takes_both_away(
    stack: Stack, sandbox: Sandbox, second_cluster: Path
):
    before = inventory.aws(sandbox.aws_url)

    stack.up()
    outputs = stack.outputs()
    assert outputs["demo_role"].endswith(":role/cast-eks-demo")
    assert outputs["second_role"].endswith(":role/cast-eks-second")
    assert outputs["demo_id"] != outputs["second_id"]
    require_empty([stack.preview()])

    stack.destroy()
    left = inventory.differences(before, inventory.aws(sandbox.aws_url))
    assert not left, [str(one) for one in left]
    with Client(config=KubeConfig.from_file(second_cluster)) as client:
        names = [one.metadata.name for one in client.list(Namespace)]
    assert not [name for name in names if "castai" in name]
