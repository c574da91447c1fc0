"""Lives with and without cluster-controller on the real engine."""

from collections.abc import Iterator

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Secret

from castai_stack.agent.names import NAMESPACE
from castai_stack.automation.names import CONTROLLER
from sandbox import inventory
from sandbox.engine.stack import OperationError
from sandbox.proofs import EVERYTHING
from sandbox.session import Sandbox
from tests.support.life import Life, operations, require_empty

pytestmark = pytest.mark.sandbox


@pytest.fixture
def life(sandbox: Sandbox) -> Iterator[Life]:
    """A stack without a controller; its destroy leaves AWS as it was."""
    before = inventory.aws(sandbox.aws_url)
    settings = {
        "credentials.mode": "user",
        "spot.enabled": "false",
        "automation.controller.enabled": "false",
        "api.readyTimeoutSeconds": "10",
    }
    life = Life(sandbox, "controller", settings)
    try:
        yield life
    finally:
        life.stack().destroy()
    left = inventory.differences(before, inventory.aws(sandbox.aws_url))
    assert not left, [str(one) for one in left]


def test_castai_waits_for_a_controller_and_goes_on_with_one(life: Life):
    with pytest.raises(OperationError) as failed:
        life.stack().up()
    assert "its status is connecting" in str(failed.value)
    assert "automation.controller.enabled: false leaves out" in str(failed.value)
    assert life.castai()["status"] == "connecting"

    without = dict(life.base)
    everything = dict(setting.split("=") for setting in EVERYTHING)
    life.base |= {"automation.controller.enabled": "true", "api.readyTimeoutSeconds": "120"}
    life.base |= everything
    result = operations(life.stack().up())
    assert {"automation-controller-deployment", "evictor-configuration"} <= result.keys()
    assert life.castai()["status"] == "ready"
    require_empty([life.stack().preview(), life.stack().up()])
    with life.kubernetes() as client:
        token = client.get(Secret, CONTROLLER, namespace=NAMESPACE).data
        assert token == client.get(Secret, "castai-agent", namespace=NAMESPACE).data
        assert client.get(Deployment, CONTROLLER, namespace=NAMESPACE).status.readyReplicas == 2

    # Without the controller the connection stays.
    life.base = without
    changed = operations(life.stack().up())
    assert changed["automation-controller-deployment"] == "delete"
    assert changed.get("hand-over") is None
    assert life.castai()["status"] == "ready"
