"""The request log and the faults, over a server that answers anything."""

import os
import signal
import subprocess
import sys
import time

import pytest
import requests
from werkzeug.wrappers import Request, Response

from sandbox.serving.faults import Bucket, Call, Faults, Kill, UnclassifiedError, json_response
from sandbox.serving.http_server import PortInUseError, serve


class Things:
    """Keeps what was put, so that an effect can be told from an answer."""

    def __init__(self):
        self.contents = []

    def __call__(self, environ, start_response):
        request = Request(environ)
        if request.method == "PUT":
            self.contents.append(request.get_data(as_text=True))
        return Response(",".join(self.contents))(environ, start_response)


def classify(environ, _body):
    if environ["PATH_INFO"] != "/things":
        raise UnclassifiedError(f"no such path: {environ['PATH_INFO']}")
    write = environ["REQUEST_METHOD"] == "PUT"
    return Call("things", "Put" if write else "Get", write, environ.get("HTTP_X_WHO", ""))


def render(_environ, _call, refusal):
    return json_response({"message": refusal.message}, 429 if refusal.throttled else refusal.status)


@pytest.fixture
def things():
    return Things()


@pytest.fixture
def url(things):
    server = serve(Faults(things, classify, render, own=("delay",)))
    yield server.url
    server.close()


def faults(url, **wanted):
    return requests.put(f"{url}/_sandbox/faults", json=wanted, timeout=60)


def log(url):
    return requests.get(f"{url}/_sandbox/requests", timeout=60).json()


def put(url, text="a"):
    return requests.put(f"{url}/things", data=text, headers={"X-Who": "me"}, timeout=60)


def test_reads_and_writes_are_counted_apart_with_their_principal(url):
    put(url)
    requests.get(f"{url}/things", timeout=60)

    counts = log(url)
    assert (counts["reads"], counts["writes"]) == (1, 1)
    assert counts["log"][0] == {
        "service": "things", "action": "Put", "write": True, "principal": "me",
        "status": 200, "fault": None,
    }  # fmt: skip


def test_a_request_that_cannot_be_classified_is_refused_and_never_answered(url, things):
    answer = requests.put(f"{url}/elsewhere", data="a", timeout=60)

    assert answer.status_code == 400
    assert "no such path: /elsewhere" in answer.text
    assert things.contents == [], "a refused request must not reach the application"


def test_throttling_refuses_about_the_wanted_fraction_and_the_same_ones_again(url):
    def run():
        faults(url, throttle=0.3, seed=7)
        return [put(url).status_code for _ in range(100)]

    first, second = run(), run()
    assert first == second, "the seed decides"
    assert 15 <= first.count(429) <= 45


def test_a_throttled_request_has_no_effect(url, things):
    faults(url, throttle=1)
    put(url)

    assert things.contents == []


def test_a_rule_refuses_as_often_as_told(url, things):
    faults(url, rules=[{"action": "things:P*", "status": 503, "times": 2}])

    assert [put(url).status_code for _ in range(3)] == [503, 503, 200]
    assert things.contents == ["a"]


def test_a_rule_after_effect_carries_the_request_out_and_answers_the_error(url, things):
    faults(url, rules=[{"action": "things:Put", "status": 500, "times": 1, "after_effect": True}])

    assert put(url).status_code == 500
    assert things.contents == ["a"], "the caller cannot know that it was done"


@pytest.mark.parametrize(("after_effect", "content"), [(False, []), (True, ["a"])])
def test_a_rule_with_status_0_ends_the_connection(url, things, after_effect, content):
    rule = {"action": "things:Put", "status": 0, "times": 1, "after_effect": after_effect}
    faults(url, rules=[rule])

    with pytest.raises(requests.ConnectionError, match="closed connection"):
        put(url)
    assert things.contents == content
    assert put(url).status_code == 200


def test_a_rule_with_status_206_ends_the_connection_within_the_answer(url, things):
    faults(url, rules=[{"action": "things:Put", "status": 206, "times": 1}])

    with pytest.raises(requests.RequestException, match="IncompleteRead"):
        put(url, "a" * 100)
    assert things.contents == ["a" * 100]


def test_broken_connections_end_without_an_answer_to_a_read(url):
    faults(url, broken=1)

    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/things", timeout=60)
    assert put(url).status_code == 200, "a write is carried out and answered"


def test_latency_comes_before_every_answer(url):
    faults(url, latency_seconds=0.2)
    began = time.monotonic()
    put(url)

    assert time.monotonic() - began >= 0.2


def test_kill_carries_the_nth_request_out_and_ends_the_group_before_answering(url, things):
    program = (
        "import requests, sys\n"
        "for text in 'abc':\n"
        "    requests.put(sys.argv[1], data=text, timeout=60)\n"
        "    print(text, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", f"input()\n{program}", f"{url}/things"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    faults(url, kill={"after": 2, "pid": child.pid})
    out, _ = child.communicate("go\n", timeout=30)

    assert child.returncode == -signal.SIGKILL
    assert things.contents == ["a", "b"], "the second request is carried out"
    assert out.split() == ["a"], "and its answer is never seen"


def test_kill_counts_the_calls_that_fit_its_actions_only():
    kill = Kill(1, 12345, writes_only=True, actions=("*:Put", "*:Tag"))
    assert kill.counts(Call("things", "Tag", write=True, principal=""))
    assert kill.counts(Call("things", "Put", write=True, principal=""))
    assert not kill.counts(Call("things", "Delete", write=True, principal=""))
    assert not kill.counts(Call("things", "Put", write=False, principal=""))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"throttle": 2}, "throttle: found 2"),
        ({"bucket": {"rate": 0, "burst": 1}}, "bucket.rate: found 0"),
        ({"bucket": {"rates": 1}}, "bucket: unknown rates"),
        ({"broken": "half"}, "broken: found 'half'"),
        ({"latency_seconds": -1}, "latency_seconds: found -1"),
        ({"throtle": 0.1}, "unknown throtle"),
        ({"rules": [{"action": "a:B"}]}, "expected at least action and status"),
        ({"kill": {"after": 0, "pid": 12345}}, "kill.after: found 0"),
        ({"kill": {"after": 1, "pid": os.getpgrp()}}, "never 0, 1 or the sandbox's own"),
        ({"kill": {"after": 1, "pid": 12345, "actions": "a:B"}}, "kill.actions: found 'a:B'"),
        ({"kill": {"after": 1, "pid": 1}}, "never 0, 1 or the sandbox's own"),
    ],
)
def test_malformed_faults_are_refused(url, wanted, message):
    answer = faults(url, **wanted)

    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_faults_and_the_log_are_taken_away_by_delete(url):
    faults(url, throttle=1)
    put(url)
    requests.delete(f"{url}/_sandbox/faults", timeout=60)
    requests.delete(f"{url}/_sandbox/requests", timeout=60)

    assert put(url).status_code == 200
    assert len(log(url)["log"]) == 1


def test_a_port_in_use_is_a_sentence(url):
    with pytest.raises(PortInUseError, match="cannot be used"):
        serve(Things(), int(url.rsplit(":", 1)[1]))


def test_a_bucket_lets_its_burst_pass_and_then_its_rate():
    bucket = Bucket("things:P*", rate=2, burst=3)
    write, read = Call("things", "Put", True, ""), Call("things", "Get", False, "")

    assert [bucket.takes(write, 100) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.takes(read, 100), "no call that the bucket counts"
    assert [bucket.takes(write, 100.5) for _ in range(2)] == [True, False]
    assert [bucket.takes(write, 1000) for _ in range(5)] == [True, True, True, False, False]


def test_a_call_over_the_bucket_is_throttled_without_effect(url, things):
    faults(url, bucket={"action": "things:*", "rate": 0.001, "burst": 1})

    assert [put(url).status_code for _ in range(2)] == [200, 429]
    assert things.contents == ["a"]
    assert [one["fault"] for one in log(url)["log"]] == [None, "throttle"]
