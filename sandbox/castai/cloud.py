"""CAST AI's actions in a customer's AWS account, with the credentials that it was handed."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.constants import CASTAI_ACCOUNT

_TIMEOUT = 10
_IMAGE = "ami-0123456789abcdef0"
_CLIENT = Config(
    retries={"total_max_attempts": 1},
    connect_timeout=_TIMEOUT,
    read_timeout=_TIMEOUT,
    user_agent_extra="castai-service",
)


class NoAccessError(Exception):
    """The credentials do not work; the text is AWS's, without a secret."""


@dataclass(frozen=True)
class Keys:
    """An IAM user's access key, or a session's."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Credentials:
    """A hand-over: the keys of a user, or a role to assume."""

    kind: str
    """`user` or `role`."""
    keys: Keys | None = None
    role_arn: str = ""


def principal_arn(cluster_id: str) -> str:
    """ARN of the user with which CAST AI assumes the role of this cluster."""
    return f"arn:aws:iam::{CASTAI_ACCOUNT}:user/cast-crossrole-{cluster_id}"


class Cloud:
    """The customer's AWS as CAST AI reaches it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Any = boto3.session.Session()
        self._lock = threading.Lock()

    def create_principal(self, cluster_id: str) -> Keys:
        """Make CAST AI's own user in CAST AI's own account, and a key for it."""
        arn = principal_arn(cluster_id)
        answer = requests.put(self._foreign(arn), json={}, timeout=_TIMEOUT)
        answer.raise_for_status()
        key = answer.json()
        return Keys(key["accessKeyId"], key["secretAccessKey"])

    def delete_principal(self, cluster_id: str) -> None:
        """Remove that user."""
        requests.delete(self._foreign(principal_arn(cluster_id)), timeout=_TIMEOUT)

    def session(
        self, credentials: Credentials, principal: Keys | None, cluster_id: str, region: str
    ) -> Keys:
        """Return working keys, or raise NoAccessError: the credentials are used to get them."""
        try:
            if credentials.keys is not None:
                return self._used(credentials.keys, region)
            if principal is None:
                raise NoAccessError("the cluster has no principal to assume a role with")
            answer = self._client("sts", principal, region).assume_role(
                RoleArn=credentials.role_arn,
                RoleSessionName="castai",
                ExternalId=cluster_id,
            )["Credentials"]
            keys = Keys(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
            return self._used(keys, region)
        except (ClientError, BotoCoreError) as error:
            raise NoAccessError(_reason(error)) from None

    def launch(
        self, keys: Keys, region: str, tags: Mapping[str, str], subnet_id: str, profile: str
    ) -> str:
        """Start an instance as a node; return its id."""
        ec2 = self._client("ec2", keys, region)
        try:
            arguments: dict[str, Any] = {
                "ImageId": _IMAGE,
                "InstanceType": "m5.large",
                "MinCount": 1,
                "MaxCount": 1,
                "TagSpecifications": [
                    {
                        "ResourceType": "instance",
                        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                    }
                ],
            }
            if subnet_id:
                arguments["SubnetId"] = subnet_id
            if profile:
                arguments["IamInstanceProfile"] = {"Name": profile}
            return str(ec2.run_instances(**arguments)["Instances"][0]["InstanceId"])
        except (ClientError, BotoCoreError) as error:
            raise NoAccessError(_reason(error)) from None

    def terminate(self, keys: Keys, region: str, instance_ids: list[str]) -> None:
        """End instances."""
        try:
            self._client("ec2", keys, region).terminate_instances(InstanceIds=instance_ids)
        except (ClientError, BotoCoreError) as error:
            raise NoAccessError(_reason(error)) from None

    def _used(self, keys: Keys, region: str) -> Keys:
        """Log in, and look at the instances, which needs the read permissions."""
        self._client("sts", keys, region).get_caller_identity()
        self._client("ec2", keys, region).describe_instances(MaxResults=5)
        return keys

    def _client(self, service: str, keys: Keys, region: str) -> Any:
        with self._lock:  # sessions make clients on one thread at a time
            return self._session.client(
                service,
                region_name=region,
                endpoint_url=self._url,
                aws_access_key_id=keys.access_key_id,
                aws_secret_access_key=keys.secret_access_key,
                aws_session_token=keys.session_token,
                config=_CLIENT,
            )

    def _foreign(self, arn: str) -> str:
        return f"{self._url.rstrip('/')}/_sandbox/foreign-principals/{quote(arn, safe='')}"


def _reason(error: Exception) -> str:
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return f"{details.get('Code', 'error')}: {details.get('Message', '')}"
    return type(error).__name__
