"""Builders and doubles of the Spot tests: events as EC2 sends them, time that stands still."""

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from botocore.exceptions import ClientError

from castai_stack.spot_handler.decide import INTERRUPTION

NOW = 1_795_000_000.0
CLUSTER = "Shop"
CLUSTER_ID = "6d7f8a90-1b2c-4d3e-8f4a-5b6c7d8e9f00"
OURS = "i-0a1b2c3d4e5f60001"
FOREIGN = "i-0a1b2c3d4e5f60002"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def an_event(instance_id=OURS, *, kind=INTERRUPTION, age=1.0, **overrides) -> dict[str, Any]:
    """An event as EC2 sends it; the ARN names a zone where region and account belong."""
    return {
        "version": "0",
        "id": f"event-of-{instance_id}",
        "detail-type": kind,
        "source": "aws.ec2",
        "account": "123456789012",
        "time": iso(NOW - age),
        "region": "eu-central-1",
        "resources": ["arn:aws:ec2:eu-central-1a:instance/i-ffffffffffffffff0"],
        "detail": {"instance-id": instance_id, "instance-action": "terminate"},
        **overrides,
    }


def described(instance_id=OURS, *, cluster=CLUSTER, lifecycle="spot", value="owned"):
    """What DescribeInstances says of one instance."""
    instance = {
        "InstanceId": instance_id,
        "Placement": {"AvailabilityZone": "eu-central-1b"},
        "PrivateDnsName": "ip-10-0-0-1.eu-central-1.compute.internal",
        "Tags": [
            {"Key": "Name", "Value": "node"},
            {"Key": f"kubernetes.io/cluster/{cluster}", "Value": value},
        ],
    }
    if lifecycle:
        instance["InstanceLifecycle"] = lifecycle
    return instance


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Ec2:
    """EC2 with a few instances; `failures` are raised first, one per request."""

    def __init__(self, *instances, failures=()) -> None:
        self.instances = {instance["InstanceId"]: instance for instance in instances}
        self.failures = list(failures)
        self.requests: list[str] = []

    def describe_instances(self, *, InstanceIds):  # noqa: N803 - boto3's spelling
        (instance_id,) = InstanceIds
        self.requests.append(instance_id)
        if self.failures:
            raise self.failures.pop(0)
        if instance_id not in self.instances:
            raise refusal("InvalidInstanceID.NotFound", 400)
        return {"Reservations": [{"Instances": [self.instances[instance_id]]}]}


def refusal(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "DescribeInstances",
    )


@dataclass
class EventReport:
    """One request that reached the events endpoint."""

    path: str
    key: str
    body: dict[str, Any]


@dataclass
class EventsEndpoint:
    """CAST AI's events endpoint on loopback: takes today's three fields and nothing else."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    reports: list[EventReport] = field(default_factory=list)
    message: str = ""

    def __enter__(self) -> Self:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.reports.append(EventReport(self.path, self.headers["X-API-Key"], body))
                status, headers = endpoint.answers.pop(0) if endpoint.answers else (200, {})
                if set(body) != {"eventType", "nodeId", "providerId"}:
                    status = 400
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("X-Castai-Request-Id", "request-1")
                self.end_headers()
                self.wfile.write(json.dumps({"message": endpoint.message}).encode())

            do_GET = do_POST  # noqa: N815 - a followed redirect would arrive as one

            def log_message(self, *args: Any) -> None:
                del args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"
