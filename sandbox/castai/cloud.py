"""CAST AI's actions in a customer's AWS account, with the credentials that it was handed."""

import functools
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sandbox.constants import CASTAI_ACCOUNT

_TIMEOUT = 10
_CLIENTS = 16
"""Clients that are kept; a session of a role has some of its own."""
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
        self._connect = functools.lru_cache(_CLIENTS)(self._connect_anew)

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
        with _asking():
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

    def suggestions(self, keys: Keys, region: str, cluster: str) -> dict[str, Any]:
        """Return the account's instance profiles, and groups and routable subnets of the VPC."""
        with _asking():
            network = self._client("eks", keys, region).describe_cluster(name=cluster)
            vpc = network["cluster"]["resourcesVpcConfig"]["vpcId"]
            ec2 = self._client("ec2", keys, region)
            within: list[Any] = [{"Name": "vpc-id", "Values": [vpc]}]
            groups = ec2.describe_security_groups(Filters=within)["SecurityGroups"]
            subnets = ec2.describe_subnets(Filters=within)["Subnets"]
            tables = ec2.describe_route_tables(Filters=within)["RouteTables"]
            profiles = self._client("iam", keys, region).list_instance_profiles()
        return {
            "instanceProfiles": [
                {"arn": one["Arn"], "name": one["InstanceProfileName"]}
                for one in profiles["InstanceProfiles"]
            ],
            "securityGroups": [
                {
                    "id": one["GroupId"],
                    "name": one["GroupName"],
                    "description": one["Description"],
                    "tags": _tags(one),
                }
                for one in groups
            ],
            "subnets": [
                {
                    "id": one["SubnetId"],
                    "cidr": one["CidrBlock"],
                    "tags": _tags(one),
                    "zone": {"id": one["AvailabilityZone"], "name": one["AvailabilityZone"]},
                    "availableIpAddressCount": one["AvailableIpAddressCount"],
                }
                for one in subnets
                if _is_routable(one, tables)
            ],
        }

    def launch(self, keys: Keys, region: str, arguments: Mapping[str, Any]) -> str:
        """Start an instance with these arguments of RunInstances; return its id."""
        with _asking():
            answer = self._client("ec2", keys, region).run_instances(
                **{"ImageId": _IMAGE, "MinCount": 1, "MaxCount": 1, **arguments}
            )
        return str(answer["Instances"][0]["InstanceId"])

    def terminate(self, keys: Keys, region: str, instance_ids: list[str]) -> None:
        """End instances."""
        with _asking():
            self._client("ec2", keys, region).terminate_instances(InstanceIds=instance_ids)

    def _used(self, keys: Keys, region: str) -> Keys:
        """Log in, and look at the instances, which needs the read permissions."""
        self._client("sts", keys, region).get_caller_identity()
        self._client("ec2", keys, region).describe_instances(MaxResults=5)
        return keys

    def _client(self, service: str, keys: Keys, region: str) -> Any:
        with self._lock:  # sessions make clients on one thread at a time
            return self._connect(service, keys, region)

    def _connect_anew(self, service: str, keys: Keys, region: str) -> Any:
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


@contextmanager
def _asking() -> Iterator[None]:
    """Raise NoAccessError where AWS refuses or does not answer."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise NoAccessError(_reason(error)) from None


def _tags(thing: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


def _is_routable(subnet: Mapping[str, Any], tables: Iterable[Mapping[str, Any]]) -> bool:
    """Whether nodes of the subnet have a way out, by its route table or the VPC's main one.

    Through an internet gateway only with public addresses
    (https://docs.cast.ai/docs/node-configuration).
    """
    main = own = None
    for table in tables:
        for association in table["Associations"]:
            if association.get("SubnetId") == subnet["SubnetId"]:
                own = table
            if association.get("Main"):
                main = table
    chosen = own or main
    return chosen is not None and any(
        route.get("NatGatewayId")
        or (str(route.get("GatewayId", "")).startswith("igw-") and subnet["MapPublicIpOnLaunch"])
        for route in chosen["Routes"]
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return f"{details.get('Code', 'error')}: {details.get('Message', '')}"
    return type(error).__name__
