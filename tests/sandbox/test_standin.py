"""What plays a program of the cluster goes on after a call that failed."""

import pytest
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import Status

from sandbox.kubernetes.kubelet_standin import KubeletStandIn
from sandbox.kubernetes.standin import StandIn
from tests.support.castai import eventually


class Flaky(StandIn):
    role = "flaky"

    def __init__(self):
        super().__init__(0.01)
        self.looks = self.forgotten = 0

    def step(self):
        self.looks += 1
        if self.looks == 1:
            raise ConnectionError("reset")

    def forget(self):
        self.forgotten += 1


def test_a_look_that_fails_ends_no_stand_in(capsys):
    flaky = Flaky()
    flaky.start()
    eventually(lambda: flaky.looks > 2, 10)
    flaky.close()

    assert flaky.forgotten == 1
    assert "flaky stand-in: ConnectionError: reset" in capsys.readouterr().out


class Nodes:
    """Refuses the first deletion."""

    def __init__(self):
        self.deleted = []

    def delete(self, _kind, name):
        self.deleted.append(name)
        if len(self.deleted) == 1:
            raise ApiError(status=Status(code=500, message="later"))


def test_the_node_of_an_ended_instance_is_deleted_until_it_is_gone(monkeypatch):
    monkeypatch.setattr(KubeletStandIn, "__init__", lambda _self: None)
    monkeypatch.setattr(KubeletStandIn, "_instances", lambda _self: {})
    kubelet, nodes = KubeletStandIn(), Nodes()
    kubelet._joined, kubelet._cloud_controller = {"i-1": "node"}, nodes

    with pytest.raises(ApiError):
        kubelet.step()
    kubelet.step()
    kubelet.step()

    assert nodes.deleted == ["node", "node"]
