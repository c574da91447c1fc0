"""The program on bad days: throttled services, IAM that is late, CAST AI's nodes in the way."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
import requests

from castai_stack.castai.provider import LEAVE_NODES
from sandbox.engine.stack import OperationError

pytestmark = pytest.mark.sandbox

SECONDS = 10
LATE = 300
"""AWS shows things after a third of this at the earliest."""
OPERATOR = "assumed-role/platform-admin/"
INTERRUPTED_SECONDS = 60
"""Longest end of an interrupted run on a busy machine; each wait would last two minutes or more."""


@pytest.fixture
def bad_days(sandbox):
    result = BadDays(sandbox)
    yield result
    result.forget()


class BadDays:
    """What goes wrong, and what was seen of it."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.servers = (sandbox.aws_url, sandbox.castai_url)
        for server in self.servers:
            requests.delete(f"{server}/_sandbox/requests", timeout=SECONDS)

    def put(self, server, **faults):
        answer = requests.put(f"{server}/_sandbox/faults", json=faults, timeout=SECONDS)
        assert answer.ok, answer.text

    def forget(self):
        for server in self.servers:
            requests.delete(f"{server}/_sandbox/faults", timeout=SECONDS)

    def log(self, server):
        return requests.get(f"{server}/_sandbox/requests", timeout=SECONDS).json()["log"]

    @contextmanager
    def connected(self, *settings):
        stack = self.sandbox.stack(settings)
        try:
            stack.up()
            yield stack
        finally:
            self.forget()
            for instance in self.nodes(self.states()):
                self.sandbox.client("ec2").terminate_instances(InstanceIds=[instance])
            stack.environment = {**stack.environment, LEAVE_NODES: "yes"}
            stack.destroy()

    def states(self):
        url = f"{self.sandbox.castai_url}/_sandbox/state"
        return requests.get(url, timeout=SECONDS).json()["clusters"]

    def nodes(self, states):
        return [instance for one in states for instance in one["castNodes"]]

    def launch(self, stack):
        outputs = stack.outputs()
        answer = requests.post(
            f"{self.sandbox.castai_url}/_sandbox/clusters/{outputs['cluster_id']}/nodes",
            json={
                "count": 2,
                "subnetId": self.sandbox.record["subnets"][0],
                "instanceProfile": outputs["instance_profile_arn"].rpartition("/")[2],
            },
            timeout=SECONDS,
        )
        assert answer.ok, answer.text
        return answer.json()["instanceIds"]

    def running(self, instances):
        result = self.sandbox.client("ec2").describe_instances(InstanceIds=instances)[
            "Reservations"
        ]
        descriptions = [one for reservation in result for one in reservation["Instances"]]
        return [one["InstanceId"] for one in descriptions if one["State"]["Name"] == "running"]


def test_throttling_and_broken_connections_stop_neither_up_nor_preview_nor_destroy(bad_days):
    """A third of all requests is throttled; one read in ten breaks within its answer."""
    for server in bad_days.servers:
        bad_days.put(server, throttle=0.3, broken=0.1, seed=1)

    with bad_days.connected() as stack:
        assert stack.preview().empty
        for server in bad_days.servers:
            faults = {one["fault"] for one in bad_days.log(server)}
            assert {"throttle", "broken"} <= faults, f"{server} answered every request"
        assert stack.destroy().changes["delete"]


def test_up_waits_for_iam_that_shows_new_principals_late(bad_days):
    """So late that no busy machine is slower, and shown once CAST AI was refused.

    Without the function: its role is late, too, and there it is the provider that waits.
    """
    bad_days.put(bad_days.sandbox.aws_url, propagation_seconds=LATE, seed=2)
    release = AfterARefusal(bad_days, before=len(bad_days.states()))
    release.start()
    try:
        with bad_days.connected("spot.enabled=false"):
            release.end()
            state = bad_days.states()[-1]
            assert state["refusedHandOvers"] >= 1, "AWS showed everything at once"
            assert state["status"] == "ready"
    finally:
        release.end()


@pytest.mark.exhaustive
def test_the_whole_stack_comes_up_while_iam_is_half_a_minute_late(bad_days):
    """The function's role, CAST AI's and the attachments, each seen by others when AWS pleases."""
    aws = bad_days.sandbox.aws_url
    bad_days.put(aws, propagation_seconds=30, seed=2)
    with bad_days.connected("credentials.mode=role"):
        tries = [one for one in bad_days.log(aws) if one["action"].startswith("CreateFunction")]
        assert len(tries) > 1, "AWS showed the function's role at once"
        assert bad_days.states()[-1]["status"] == "ready"


def interrupt(stack, progress):
    """Start `up`, press Ctrl-C when a wait reports `progress`; return the error of the run."""
    running = stack.begin("up")
    deadline = time.monotonic() + 300
    while progress not in running.output:
        assert time.monotonic() < deadline, running.output
        assert not running.ended(0.1), running.output
    os.killpg(running.group, signal.SIGINT)  # a terminal sends it to the whole group
    ended = running.ended(INTERRUPTED_SECONDS)
    if not ended:
        running.kill()
    assert ended, "the wait went on"
    with pytest.raises(OperationError) as failure:
        running.result()
    return failure.value


def test_an_interrupt_ends_the_wait_under_way_and_the_next_up_goes_through(bad_days):
    """First the agent's pods find no node, then AWS shows the new key late."""
    settings = ["spot.enabled=false"]
    stack = bad_days.sandbox.stack(settings)
    try:
        stack.settings = [*settings, "agent.nodeSelector={nowhere: anything}"]
        pods = interrupt(stack, "0 of 2 pods available")
        stack.settings = settings
        bad_days.put(bad_days.sandbox.aws_url, propagation_seconds=LATE, seed=2)
        key = interrupt(stack, "AWS still spreads the new access")
        bad_days.forget()

        for failure, purpose in (
            (pods, "rollout in namespace castai-agent"),
            (key, f"hand-over of cluster {bad_days.states()[-1]['id']}"),
        ):
            sentence = f"The wait for {purpose} was cancelled; run the same command again."
            assert sentence in failure.output
            assert "Traceback" not in failure.output
        resources = stack.export()["deployment"]
        assert not resources.get("pending_operations"), "the state does not know what happened"
        stack.up()
        assert bad_days.states()[-1]["status"] == "ready"
        assert stack.preview().empty
    finally:
        bad_days.forget()
        stack.destroy()


class AfterARefusal(threading.Thread):
    """Lets AWS show everything when CAST AI could not use what it was handed."""

    def __init__(self, bad_days, before):
        super().__init__(daemon=True)
        self._bad_days = bad_days
        self._before = before
        self._ended = threading.Event()

    def run(self):
        while not self._ended.wait(0.2):
            new = self._bad_days.states()[self._before :]
            if any(one["refusedHandOvers"] for one in new):
                self._bad_days.forget()
                return

    def end(self):
        self._ended.set()
        self.join()


def test_nothing_that_castai_needs_goes_before_its_nodes_are_gone(bad_days):
    """Deleting them fails for a while, as it did when the role went at the same time."""
    with bad_days.connected("credentials.mode=role", "api.deleteNodesOnDisconnect=true") as stack:
        instances = bad_days.launch(stack)
        assert bad_days.running(instances) == instances
        aws = bad_days.sandbox.aws_url
        requests.delete(f"{aws}/_sandbox/requests", timeout=SECONDS)
        late = {"action": "ec2:TerminateInstances", "status": 403, "code": "AccessDenied"}
        bad_days.put(aws, rules=[{**late, "times": 6}])

        stack.destroy()

        assert bad_days.running(instances) == [], "a node was left behind"
        log = bad_days.log(aws)
        terminated = [n for n, one in enumerate(log) if one["action"] == "TerminateInstances"]
        ours = [n for n, one in enumerate(log) if one["write"] and OPERATOR in one["principal"]]
        assert len(terminated) == 6 + len(instances)
        assert ours, "the destroy took nothing away"
        assert terminated[-1] < ours[0], f"{log[ours[0]]['action']} came before the nodes were gone"


@pytest.mark.exhaustive
def test_a_disconnect_that_gives_up_on_the_nodes_is_an_error_and_keeps_the_role(bad_days):
    with bad_days.connected("credentials.mode=role", "api.deleteNodesOnDisconnect=true") as stack:
        instances = bad_days.launch(stack)
        aws = bad_days.sandbox.aws_url
        requests.delete(f"{aws}/_sandbox/requests", timeout=SECONDS)
        bad_days.put(aws, rules=[{"action": "ec2:TerminateInstances", "status": 403}])

        with pytest.raises(OperationError, match="left 2 nodes") as refused:
            stack.destroy()

        assert all(one in str(refused.value) for one in instances)
        log = bad_days.log(aws)
        ours = [one["action"] for one in log if one["write"] and OPERATOR in one["principal"]]
        assert ours == [], "something was taken away under nodes that run"


def test_destroy_refuses_while_castai_has_nodes_unless_told_to_leave_them(bad_days):
    with bad_days.connected() as stack:
        instances = bad_days.launch(stack)

        with pytest.raises(OperationError, match="CAST AI made 2 nodes") as refused:
            stack.destroy()

        assert LEAVE_NODES in str(refused.value)
        assert bad_days.states()[-1]["status"] == "ready", "it was disconnected all the same"

        stack.environment = {**stack.environment, LEAVE_NODES: "yes"}
        stack.destroy()

        assert bad_days.running(instances) == instances, "nodes that were to be left are gone"
        assert bad_days.states()[-1]["status"] == "archived"
