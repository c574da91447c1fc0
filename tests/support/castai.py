"""A CAST AI service beside an AWS account: what a hand-over needs on either side."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from sandbox import aws as sandbox_aws
from sandbox.castai import API_KEY, CastaiServer, Options, serve
from sandbox.castai.cloud import Credentials, Keys, NoAccessError, principal_arn

REGION = "eu-central-1"
ACCOUNT = "012345678901"
QUICK = Options(
    requires_controller=False,  # where no cluster is
    reconcile_delay=0.05,
    disconnect_delay=0.05,
    disconnect_retry=0.02,
    poll_hold=0.3,
    template_delay=0.02,
    autoscaler_interval=0.05,
    launch_pause=0.1,
)
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


def call(castai: CastaiServer, method: str, path: str, body: Any = None, key: str = API_KEY) -> Any:
    """A raw request; the answer with its status."""
    headers = {"X-API-Key": key} if key else {}
    return requests.request(method, castai.url + path, json=body, headers=headers, timeout=20)


def eventually(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds; the default leaves time to a busy machine."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.02)


@contextmanager
def an_account(directory: Path) -> Iterator[str]:
    """An empty AWS account that judges as AWS does."""
    server = sandbox_aws.serve(directory)
    yield server.url
    server.close()


class World:
    """One service, one customer, and ways to act as either."""

    def __init__(self, directory: Path, aws_url: str, options: Options = QUICK) -> None:
        self.aws_url = aws_url
        self.account = ACCOUNT
        self._root = sandbox_aws.root(aws_url)
        self._clear()
        self.castai: CastaiServer = serve(directory, aws_url, options=options)

    def close(self) -> None:
        self.castai.close()

    def aws(self, service: str) -> Any:
        """All powers in the customer's account."""
        return self._root.client(service, self.aws_url)

    def _clear(self) -> None:
        """Take away what another test left."""
        iam = self.aws("iam")
        for user in iam.list_users()["Users"]:
            self.drop_user(user["UserName"])
        for role in iam.list_roles()["Roles"]:
            name = role["RoleName"]
            iam.detach_role_policy(RoleName=name, PolicyArn=ADMINISTRATOR)
            iam.delete_role(RoleName=name)
        if running := self.instances():
            self.aws("ec2").terminate_instances(InstanceIds=running)

    def user_with_key(self, name: str = "cast-eks-demo") -> tuple[str, str]:
        iam = self.aws("iam")
        if name not in [user["UserName"] for user in iam.list_users()["Users"]]:
            iam.create_user(UserName=name)
            iam.attach_user_policy(UserName=name, PolicyArn=ADMINISTRATOR)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def drop_user(self, name: str = "cast-eks-demo") -> None:
        iam = self.aws("iam")
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.detach_user_policy(UserName=name, PolicyArn=ADMINISTRATOR)
        iam.delete_user(UserName=name)

    def role(self, cluster_id: str, name: str = "cast-eks-demo", external_id: str = "") -> str:
        """A role that CAST AI's user for the cluster may assume."""
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": principal_arn(cluster_id)},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id or cluster_id}},
        }
        iam = self.aws("iam")
        result = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [statement]}
            ),
        )
        iam.attach_role_policy(RoleName=name, PolicyArn=ADMINISTRATOR)
        return str(result["Role"]["Arn"])

    def instances(self) -> list[str]:
        """Instances that run."""
        reservations = self.aws("ec2").describe_instances(
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        )["Reservations"]
        return [one["InstanceId"] for each in reservations for one in each["Instances"]]

    def call(self, method: str, path: str, body: Any = None, key: str = API_KEY) -> Any:
        """A raw request; the answer with its status."""
        return call(self.castai, method, path, body, key)

    def heartbeat(self, cluster_id: str, key: str) -> int:
        """What an agent sends every 15 seconds."""
        path = f"/v1/kubernetes/clusters/{cluster_id}/agent-deltas"
        return self.call("POST", path, {"items": []}, key).status_code

    def state(self, cluster_id: str) -> dict[str, Any]:
        [result] = [
            one
            for one in self.call("GET", "/_sandbox/state").json()["clusters"]
            if one["id"] == cluster_id
        ]
        return result


class StubCloud:
    """Stands for AWS where a test is about something else: what works is what `works` says."""

    def __init__(self) -> None:
        self.works = True
        self.refusals = 0
        """How many attempts fail first, as while AWS spreads what is new."""
        self.running: list[str] = []
        self.refuses_launches = ""
        """Why no instance is started."""
        self.launches: list[Any] = []
        """Arguments of RunInstances."""
        self.objects: dict[str, Any] = {}
        """What the account holds."""

    def create_principal(self, cluster_id: str) -> Keys:
        return Keys(f"AKIA{cluster_id[:8]}", "secret")

    def delete_principal(self, _cluster_id: str) -> None:
        return None

    def session(self, credentials: Credentials, *_: Any) -> Keys:
        if not self.works or self.refusals > 0:
            self.refusals -= 1
            raise NoAccessError("InvalidClientTokenId: not known here")
        return credentials.keys or Keys("ASIA", "secret", "token")

    def suggestions(self, *_: Any) -> dict[str, Any]:
        return self.objects

    def launch(self, _keys: Keys, _region: str, arguments: Any) -> str:
        if self.refuses_launches:
            raise NoAccessError(self.refuses_launches)
        self.launches.append(arguments)
        self.running.append(f"i-{len(self.running):08d}")
        return self.running[-1]

    def terminate(self, _keys: Keys, _region: str, instances: list[str]) -> None:
        self.running = [one for one in self.running if one not in instances]
