"""The process of everything that stands in: AWS, CAST AI, agent, controller, kubelets.

`python -m sandbox.services PLAN` serves until it is ended. `options` of the plan: `aws` and
`castai`, each passed on to the server of that name.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from sandbox import addresses, aws, castai, constants
from sandbox.kubernetes import authenticator
from sandbox.kubernetes.agent_standin import AgentStandIn
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.kubernetes.controller_standin import ControllerStandIn
from sandbox.kubernetes.kubelet_standin import KubeletStandIn

_POLL = 0.1


def main(plan_file: Path) -> NoReturn:
    """Serve what the plan says until the process is ended."""
    document = json.loads(plan_file.read_text())
    directory = Path(document["directory"])
    aws_url, keys = _serve(directory, document)
    while not addresses.cluster_is_announced(directory):
        time.sleep(_POLL)
    kubeconfig = ControlPlane.at(directory / "kubernetes").kubeconfig_of("services")
    for stand_in in (
        AgentStandIn(kubeconfig),
        ControllerStandIn(kubeconfig),
        KubeletStandIn(kubeconfig, aws_url, keys),
    ):
        stand_in.start()
    while True:
        signal.pause()


def _serve(directory: Path, document: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Serve AWS and CAST AI; return AWS's address and the root's keys as boto3 takes them."""
    options = document["options"]
    folder = directory / "services"
    access = authenticator.Access(directory)
    cloud = aws.serve(folder / "aws", clusters_changed=access.update, **options.get("aws", {}))
    service = castai.serve(
        folder / "castai", cloud.url, options=castai.Options(**options.get("castai", {}))
    )
    seeded = aws.seed(cloud.url)
    root = aws.root(cloud.url)
    keys = {
        "operator": seeded.operator,
        "reader": seeded.pull_request,
        "expired": seeded.expired,
        "root": root,
    }
    addresses.publish(
        directory,
        {
            "aws": cloud.url,
            "castai": service.url,
            "account": _account(root.client("sts", cloud.url)),
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
    return cloud.url, {
        "aws_access_key_id": root.access_key_id,
        "aws_secret_access_key": root.secret_access_key,
        "aws_session_token": root.session_token,
    }


def _account(sts: Any) -> str:
    return str(sts.get_caller_identity()["Account"])


def _nodes(ec2: Any) -> list[dict[str, str]]:
    """Return the instances of the cluster, as the nodes that they are."""
    filters = [{"Name": "tag-key", "Values": [f"kubernetes.io/cluster/{constants.CLUSTER}"]}]
    reservations = ec2.describe_instances(Filters=filters)["Reservations"]
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


if __name__ == "__main__":
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    main(Path(sys.argv[1]))
