"""A CAST AI service beside plain moto: what a customer's account needs for a hand-over."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import requests
from moto.server import ThreadedMotoServer

from sandbox.castai import API_KEY, CastaiServer, Options, serve

REGION = "eu-central-1"
QUICK = Options(reconcile_delay=0.05, disconnect_delay=0.05, disconnect_retry=0.02)


@contextmanager
def plain_aws() -> Iterator[str]:
    """moto alone: it judges neither trust policies nor permissions."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class World:
    """One service, one customer, and ways to act as either."""

    def __init__(self, directory: Path, aws_url: str, options: Options = QUICK) -> None:
        self.aws_url = aws_url
        requests.post(f"{aws_url}/moto-api/reset", timeout=10)
        self.castai: CastaiServer = serve(directory, aws_url, options=options)
        self.account = self.aws("sts").get_caller_identity()["Account"]

    def close(self) -> None:
        self.castai.close()

    def aws(self, service: str) -> Any:
        """The customer's own access."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.aws_url,
            aws_access_key_id="operator",
            aws_secret_access_key="operator",
        )

    def user_with_key(self, name: str = "cast-eks-demo") -> tuple[str, str]:
        iam = self.aws("iam")
        if name not in [user["UserName"] for user in iam.list_users()["Users"]]:
            iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def drop_user(self, name: str = "cast-eks-demo") -> None:
        iam = self.aws("iam")
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName=name)

    def role(self, name: str = "cast-eks-demo") -> str:
        return self.aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"][
            "Arn"
        ]

    def instances(self) -> list[str]:
        """Instances that run."""
        reservations = self.aws("ec2").describe_instances(
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        )["Reservations"]
        return [one["InstanceId"] for each in reservations for one in each["Instances"]]

    def call(self, method: str, path: str, body: Any = None, key: str = API_KEY) -> Any:
        """A raw request; the answer with its status."""
        return requests.request(
            method,
            self.castai.url + path,
            json=body,
            headers={"X-API-Key": key} if key else {},
            timeout=20,
        )

    def heartbeat(self, cluster_id: str, key: str) -> int:
        """What an agent sends every 15 seconds."""
        path = f"/v1/kubernetes/clusters/{cluster_id}/agent-deltas"
        return self.call("POST", path, {"items": []}, key).status_code

    def state(self, cluster_id: str) -> dict[str, Any]:
        [found] = [
            one
            for one in self.call("GET", "/_sandbox/state").json()["clusters"]
            if one["id"] == cluster_id
        ]
        return found
