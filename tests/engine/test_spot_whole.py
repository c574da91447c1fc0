"""The second path in the whole stack: role, mapping, login and cluster role fit each other."""

import json
import subprocess
import sys
import time

import pytest
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Node
from lightkube.types import PatchType

from castai_stack.spot import rbac
from sandbox import aws, constants
from sandbox.engine import stack as engine_stack
from sandbox.session import Sandbox
from tests.support.spot import an_event, iso

pytestmark = pytest.mark.sandbox

FUNCTION = "cast-ai-ec2-events-handler-demo"
ROLE = "CastLambdaRoleForSpot-demo"
INVOKE = """
import json, sys
from castai_stack.spot_handler.handler import handle
class Context:
    def get_remaining_time_in_millis(self): return 60000
handle(json.load(sys.stdin), Context())
"""


def test_the_function_drains_the_node_as_the_role_that_the_stack_maps(sandbox: Sandbox):
    stack = sandbox.stack(["spot.drain=true"])
    stack.up()
    try:
        root = aws.root(sandbox.aws_url)
        deployed = root.client("lambda", sandbox.aws_url).get_function_configuration(
            FunctionName=FUNCTION
        )
        again = stack.preview()
        line = invoke(sandbox, deployed["Environment"]["Variables"])
        with Client(KubeConfig.from_file(sandbox.control_plane.kubeconfig)) as api:
            node = api.get(Node, line["drain"]["node"])
            leave_as_found(api, node.metadata.name)
    finally:
        stack.destroy()

    assert again.empty, again.changing()
    assert line["decision"] == "reported"
    assert node.spec.unschedulable
    assert node.spec.providerID == line["providerId"]
    users = {r.user for r in sandbox.control_plane.requests() if r.resource == "nodes"}
    assert rbac.USERNAME in users, "the mapping names the function's role"


def leave_as_found(api: Client, name: str) -> None:
    """Give the node back to the tests that share the sandbox."""
    drained = {"autoscaling.cast.ai/draining": None}
    as_found = {"unschedulable": None, "taints": None}
    api.patch(
        Node, name, {"metadata": {"labels": drained}, "spec": as_found}, patch_type=PatchType.MERGE
    )


def invoke(sandbox: Sandbox, variables: dict[str, str]) -> dict:
    """Run the deployed function's code in its environment, as its role."""
    event = an_event(sandbox.record["spotNode"], time=iso(time.time()))
    keys = aws.session(sandbox.aws_url, ROLE, "function").environment(sandbox.aws_url)
    # The function asks STS for nothing but the address in its token.
    keys["AWS_ENDPOINT_URL_STS"] = constants.STS_URL
    done = subprocess.run(
        [sys.executable, "-c", INVOKE],
        input=json.dumps(event),
        env={**sandbox.environment(), **keys, **variables},
        cwd=engine_stack.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    return json.loads(done.stdout.splitlines()[-1])
