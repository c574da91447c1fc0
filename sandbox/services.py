"""The process of everything that stands in: AWS, CAST AI, the authenticator, the agent.

`python -m sandbox.services PLAN` serves until it is told to end. `options` of the plan: `aws` and
`castai`, each passed on to the server of that name.
"""

import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from sandbox import addresses, aws, castai, constants
from sandbox.kubernetes.agent_standin import AgentStandIn
from sandbox.kubernetes.authenticator import (
    AccessEntry,
    Authenticator,
    Principal,
    live_aws_auth,
    presigned,
)
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.serving import http_server

_SECONDS = 10
_POLL = 0.1
_FRESH = 1.0


def main(plan_file: Path) -> int:
    """Serve what the plan says until SIGTERM."""
    document = json.loads(plan_file.read_text())
    directory = Path(document["directory"])
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as running:
        _serve(directory, document, running)
        while not ended.wait(_POLL):
            if addresses.cluster_is_announced(directory):
                break
        if not ended.is_set():
            plane = ControlPlane.at(directory / "kubernetes")
            agent = AgentStandIn(plane.kubeconfig_of("services"))
            running.callback(agent.close)
            agent.start()
            ended.wait()
    return 0


def _serve(directory: Path, document: Mapping[str, Any], running: ExitStack) -> None:
    options = document["options"]
    tokens = document["tokens"]
    folder = directory / "services"
    cloud = aws.serve(folder / "aws", **options.get("aws", {}))
    running.callback(cloud.close)
    service = castai.serve(
        folder / "castai", cloud.url, options=castai.Options(**options.get("castai", {}))
    )
    running.callback(service.close)
    seeded = aws.seed(cloud.url)
    root = aws.root(cloud.url)
    keys = {
        "operator": seeded.operator,
        "reader": seeded.pull_request,
        "expired": seeded.expired,
        "root": root,
    }
    callers = {tokens[name]: _caller(keys[name], cloud.url) for name in tokens}
    account = callers[tokens["operator"]].account
    authenticator = Authenticator(
        tokens=callers.get,
        identify=presigned(cloud.url, constants.CLUSTER),
        aws_auth=_once_there(directory),
        mode=_authentication_mode(root.client("eks", cloud.url)),
        access_entries=_access_entries(cloud.url),
        creator=f"arn:aws:iam::{account}:role/{constants.CREATOR_ROLE}",
    )
    webhook = http_server.serve(authenticator.app(), document["authenticatorPort"])
    running.callback(webhook.close)
    addresses.publish(
        directory,
        {
            "aws": cloud.url,
            "castai": service.url,
            "account": account,
            "vpc": seeded.vpc_id,
            "subnets": seeded.subnet_ids,
            "spotNode": seeded.spot_node,
            "foreignSpotNode": seeded.foreign_spot_node,
            "principals": {
                name: {
                    "arn": one.arn,
                    "accessKeyId": one.access_key_id,
                    "secretAccessKey": one.secret_access_key,
                    "sessionToken": one.session_token,
                }
                for name, one in keys.items()
            },
            "nodes": _nodes(root.client("ec2", cloud.url)),
        },
    )


def _caller(keys: aws.Credentials, url: str) -> Principal:
    found = keys.client("sts", url).get_caller_identity()
    return Principal(found["Arn"], found["UserId"], found["Account"])


def _nodes(ec2: Any) -> list[dict[str, str]]:
    """Return the instances of the cluster, as the nodes that they are."""
    wanted = [{"Name": "tag-key", "Values": [f"kubernetes.io/cluster/{constants.CLUSTER}"]}]
    reservations = ec2.describe_instances(Filters=wanted)["Reservations"]
    return [
        {
            "name": one["PrivateDnsName"],
            "instance_id": one["InstanceId"],
            "zone": one["Placement"]["AvailabilityZone"],
            "instance_type": one["InstanceType"],
            "capacity_type": "SPOT" if one.get("InstanceLifecycle") == "spot" else "ON_DEMAND",
        }
        for reservation in reservations
        for one in reservation["Instances"]
    ]


def _once_there(directory: Path) -> Callable[[], Mapping[str, str] | None]:
    @functools.cache
    def reader() -> Callable[[], Mapping[str, str] | None]:
        return live_aws_auth(ControlPlane.at(directory / "kubernetes"))

    def read() -> Mapping[str, str] | None:
        return reader()()

    return read


def _authentication_mode(eks: Any) -> Callable[[], str]:
    known = ("", 0.0)

    def mode() -> str:
        nonlocal known
        if time.monotonic() - known[1] > _FRESH:
            shown = eks.describe_cluster(name=constants.CLUSTER)["cluster"]
            known = (shown["accessConfig"]["authenticationMode"], time.monotonic())
        return known[0]

    return mode


def _access_entries(url: str) -> Callable[[], Iterable[AccessEntry]]:
    def entries() -> Iterable[AccessEntry]:
        answer = requests.get(f"{url}/_sandbox/access-entries", timeout=_SECONDS)
        answer.raise_for_status()
        return [
            AccessEntry(
                unique_id=one["uniqueId"],
                username=one["username"],
                groups=tuple(one["groups"]),
                policies=tuple(
                    policy["policyArn"].rpartition("/")[2]
                    for policy in one["policies"]
                    if policy["accessScope"]["type"] == "cluster"
                ),
            )
            for one in answer.json()
            if one["cluster"] == constants.CLUSTER and one["valid"]
        ]

    return entries


if __name__ == "__main__":
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    sys.exit(main(Path(sys.argv[1])))
