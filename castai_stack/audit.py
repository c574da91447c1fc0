"""What connecting a cluster has left behind: `python -m castai_stack.audit`.

Reads AWS, Kubernetes and CAST AI, and writes nothing. Exit status 0: nothing is left; 1: the
table lists what is; 2: something could not be asked, so the table may be short.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from castai_stack import command_line
from castai_stack import target as targets
from castai_stack.leftovers import CLUSTER_TAG, OURS, SCRIPT, Kind, Signs, instance_origin
from castai_stack.target import FROM_EKS, Target, TargetError
from castai_stack.validation import SettingsError

if TYPE_CHECKING:
    import lightkube

PLACES = ("aws", "kubernetes", "castai")
CLEAN, LEFTOVERS, FAILED = 0, 1, 2

_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(?P<kind>user|role)/[\w+=,.@/-]+")
_ENDED = ("terminated", "shutting-down")


@dataclass(frozen=True, order=True, slots=True)
class Leftover:
    """One thing that is still there."""

    place: str
    kind: str
    name: str
    origin: str


class AuditError(Exception):
    """A question got no answer; the message names the question and the answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack.audit",
        description="List what connecting an EKS cluster to CAST AI has left behind.",
        epilog="AWS credentials and CASTAI_API_KEY come from the environment. "
        "Exit status: 0 nothing is left, 1 something is, 2 something could not be asked.",
    )
    targets.add_arguments(parser)
    parser.add_argument(
        "--without",
        action="append",
        choices=PLACES,
        default=[],
        help="do not ask there; repeatable",
    )
    given = parser.parse_args(arguments)
    asked = [place for place in PLACES if place not in given.without]
    if not asked:
        parser.error("--without: every place is left out, nothing would be asked")
    try:
        target = targets.from_arguments(given)
    except (TargetError, SettingsError) as error:
        _say(f"audit: {error}", sys.stderr)
        return FAILED
    found, problems = audit(target, asked)
    _print(target, asked, found, problems)
    if problems:
        return FAILED
    return LEFTOVERS if found else CLEAN


def audit(target: Target, places: Iterable[str] = PLACES) -> tuple[list[Leftover], list[str]]:
    """Return what is left, and what could not be asked."""
    ask: dict[str, Callable[[Target], list[Callable[[], Iterator[Leftover]]]]] = {
        "aws": lambda target: AwsAudit(target).questions(),
        "kubernetes": lambda target: [lambda: _kubernetes(target)],
        "castai": lambda target: [lambda: _castai(target)],
    }
    found: set[Leftover] = set()
    problems: list[str] = []
    for place in places:
        try:
            questions = ask[place](target)
        except AuditError as error:
            problems.append(str(error))
            continue
        for question in questions:
            try:
                found.update(question())
            except AuditError as error:
                problems.append(str(error))
    return sorted(found), problems


def _print(
    target: Target, asked: Sequence[str], found: Sequence[Leftover], problems: Sequence[str]
) -> None:
    if found:
        rows = [("PLACE", "KIND", "NAME", "MADE BY")]
        rows += [(one.place, one.kind, one.name, one.origin) for one in found]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            _say("  ".join([*cells, row[3]]).rstrip())
    for problem in problems:
        _say(f"audit: {problem}", sys.stderr)
    where = f"cluster {target.cluster} ({target.region}, account {target.account_id})"
    count = f"{len(found)} leftovers" if len(found) != 1 else "1 leftover"
    sure = ", and not everything could be asked" if problems else ""
    _say(f"audit: {count} of {where}{sure}; asked: {', '.join(asked)}")


def _say(line: str, stream: TextIO | None = None) -> None:
    (stream or sys.stdout).write(f"{line}\n")


class AwsAudit:
    """The questions to AWS."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._signs = Signs(target.cluster)
        self._client = clients(target.region)

    def questions(self) -> list[Callable[[], Iterator[Leftover]]]:
        """Every question, to be asked one by one so that one refusal hides no other answer.

        Raises AuditError when the credentials are none, or those of another account.
        """
        list(self._asked("the account", self._account))
        return [
            lambda: self._asked("IAM users", self._users),
            lambda: self._asked("IAM roles", self._roles),
            lambda: self._asked("IAM policies", self._policies),
            lambda: self._asked("instance profiles", self._profiles),
            lambda: self._asked("EC2 instances", self._instances),
            lambda: self._asked("security groups", self._security_groups),
            lambda: self._asked("key pairs", self._key_pairs),
            lambda: self._asked("volumes", self._volumes),
            lambda: self._asked("Lambda functions", self._functions),
            lambda: self._asked("EventBridge rules", self._rules),
            lambda: self._asked("log groups", self._log_groups),
            lambda: self._asked("SQS queues", self._queues),
            lambda: self._asked("alarms", self._alarms),
            lambda: self._asked("secrets", self._secrets),
            lambda: self._asked("EKS access entries", self._access_entries),
        ]

    def _asked(self, what: str, question: Callable[[], Iterator[Leftover]]) -> Iterator[Leftover]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - lazy

        try:
            yield from question()
        except ClientError as error:
            told = error.response.get("Error", {})
            raise AuditError(
                f"{what}: AWS answers {told.get('Code')}: {told.get('Message')}"
            ) from None
        except BotoCoreError as error:
            raise AuditError(f"{what}: {error}") from None

    def _pages(self, service: str, operation: str, key: str, **more: Any) -> Iterator[Any]:
        for page in self._client(service).get_paginator(operation).paginate(**more):
            yield from page.get(key, [])

    def _account(self) -> Iterator[Leftover]:
        account = self._client("sts").get_caller_identity()["Account"]
        if account != self._target.account_id:
            raise AuditError(
                f"the credentials are for account {account}, the cluster is in "
                f"{self._target.account_id}; use credentials of that account"
            )
        yield from ()

    def _judge(
        self, kind: Kind, name: str, tags: Callable[[], dict[str, str]]
    ) -> Iterator[Leftover]:
        """Decide by tag first, because a tag says more than a name, then by name."""
        origin = self._signs.origin(kind, name)
        if origin is None and "cast" not in name.lower():
            return
        if origin is None or self._signs.account_wide(kind, name):
            tagged = tags().get(CLUSTER_TAG)
            if tagged == self._target.cluster:
                origin = OURS
            elif tagged is not None or origin is None:
                return
        yield Leftover("aws", kind, name, origin)

    def _users(self) -> Iterator[Leftover]:
        iam = self._client("iam")
        for user in self._pages("iam", "list_users", "Users"):
            name = user["UserName"]
            found = list(
                self._judge(
                    "user", name, lambda name=name: _tags(iam.list_user_tags(UserName=name))
                )
            )
            yield from found
            for one in found:
                for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                    shown = f"{key['AccessKeyId']} of {name}, {key['Status']}"
                    yield Leftover("aws", "access key", shown, one.origin)

    def _roles(self) -> Iterator[Leftover]:
        iam = self._client("iam")
        for role in self._pages("iam", "list_roles", "Roles"):
            name = role["RoleName"]
            yield from self._judge(
                "role", name, lambda name=name: _tags(iam.list_role_tags(RoleName=name))
            )

    def _policies(self) -> Iterator[Leftover]:
        iam = self._client("iam")
        for policy in self._pages("iam", "list_policies", "Policies", Scope="Local"):
            name, arn = policy["PolicyName"], policy["Arn"]
            for one in self._judge(
                "policy", name, lambda arn=arn: _tags(iam.list_policy_tags(PolicyArn=arn))
            ):
                in_use = self._signs.account_wide("policy", name) and policy["AttachmentCount"]
                if one.origin == OURS or not in_use:
                    yield one

    def _profiles(self) -> Iterator[Leftover]:
        for profile in self._pages("iam", "list_instance_profiles", "InstanceProfiles"):
            name = profile["InstanceProfileName"]
            yield from self._judge("instance profile", name, lambda profile=profile: _tags(profile))

    def _instances(self) -> Iterator[Leftover]:
        mine = [{"Name": "tag-key", "Values": [f"kubernetes.io/cluster/{self._target.cluster}"]}]
        for reservation in self._pages("ec2", "describe_instances", "Reservations", Filters=mine):
            for instance in reservation["Instances"]:
                origin = instance_origin(self._target.cluster, _tags(instance))
                if origin and instance["State"]["Name"] not in _ENDED:
                    yield Leftover("aws", "instance", instance["InstanceId"], origin)

    def _security_groups(self) -> Iterator[Leftover]:
        for group in self._pages("ec2", "describe_security_groups", "SecurityGroups"):
            tags = _tags(group)
            names = (group["GroupName"], tags.get("Name", ""))
            origins = {self._signs.origin("security group", name) for name in names}
            if tags.get(CLUSTER_TAG) == self._target.cluster:
                origins = {OURS}
            for origin in origins - {None}:
                shown = f"{group['GroupId']} {group['GroupName']}"
                yield Leftover("aws", "security group", shown, str(origin))

    def _key_pairs(self) -> Iterator[Leftover]:
        for pair in self._client("ec2").describe_key_pairs()["KeyPairs"]:
            yield from self._by_tag("key pair", pair["KeyName"], _tags(pair))

    def _volumes(self) -> Iterator[Leftover]:
        for volume in self._pages("ec2", "describe_volumes", "Volumes"):
            if volume["State"] == "available":
                yield from self._by_tag("volume", volume["VolumeId"], _tags(volume))

    def _by_tag(self, kind: str, name: str, tags: dict[str, str]) -> Iterator[Leftover]:
        if tags.get(CLUSTER_TAG) == self._target.cluster:
            yield Leftover("aws", kind, name, OURS)
        elif "cast:cluster-id" in tags and instance_origin(self._target.cluster, tags):
            yield Leftover("aws", kind, name, "CAST AI, for a node")

    def _functions(self) -> Iterator[Leftover]:
        functions = self._client("lambda")
        for function in self._pages("lambda", "list_functions", "Functions"):
            arn = function["FunctionArn"]
            yield from self._judge(
                "function",
                function["FunctionName"],
                lambda arn=arn: functions.list_tags(Resource=arn).get("Tags", {}),
            )

    def _rules(self) -> Iterator[Leftover]:
        events = self._client("events")
        for rule in self._pages("events", "list_rules", "Rules"):
            arn = rule["Arn"]
            yield from self._judge(
                "rule",
                rule["Name"],
                lambda arn=arn: _tags(events.list_tags_for_resource(ResourceARN=arn)),
            )

    def _log_groups(self) -> Iterator[Leftover]:
        logs = self._client("logs")
        for group in self._pages("logs", "describe_log_groups", "logGroups"):
            arn = group["arn"].removesuffix(":*")
            yield from self._judge(
                "log group",
                group["logGroupName"],
                lambda arn=arn: logs.list_tags_for_resource(resourceArn=arn).get("tags", {}),
            )

    def _queues(self) -> Iterator[Leftover]:
        queues = self._client("sqs")
        for url in self._pages("sqs", "list_queues", "QueueUrls"):
            yield from self._judge(
                "queue",
                url.rpartition("/")[2],
                lambda url=url: queues.list_queue_tags(QueueUrl=url).get("Tags", {}),
            )

    def _alarms(self) -> Iterator[Leftover]:
        watch = self._client("cloudwatch")
        for alarm in self._pages("cloudwatch", "describe_alarms", "MetricAlarms"):
            arn = alarm["AlarmArn"]
            yield from self._judge(
                "alarm",
                alarm["AlarmName"],
                lambda arn=arn: _tags(watch.list_tags_for_resource(ResourceARN=arn)),
            )

    def _secrets(self) -> Iterator[Leftover]:
        for secret in self._pages("secretsmanager", "list_secrets", "SecretList"):
            yield from self._judge("secret", secret["Name"], lambda secret=secret: _tags(secret))

    def _access_entries(self) -> Iterator[Leftover]:
        eks = self._client("eks")
        try:
            arns = list(
                self._pages(
                    "eks", "list_access_entries", "accessEntries", clusterName=self._target.cluster
                )
            )
        except (
            eks.exceptions.ResourceNotFoundException,  # the cluster itself is gone
            eks.exceptions.InvalidRequestException,  # it maps by aws-auth alone
        ):
            return
        for arn in arns:
            if (origin := _principal_origin(self._signs, arn)) is not None:
                yield Leftover("aws", "access entry", arn, origin)


def clients(region: str) -> Callable[[str], Any]:
    """Return a maker of clients, by service; credentials and address are the environment's."""
    import boto3  # noqa: PLC0415 - takes a third of a second
    from botocore.config import Config  # noqa: PLC0415 - lazy

    session: Any = boto3.session.Session()  # not the shared one, which keeps older credentials
    patient = Config(retries={"mode": "standard", "total_max_attempts": 8})
    return lambda service: session.client(service, region_name=region, config=patient)


def _tags(answer: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags") or []}


def _principal_origin(signs: Signs, arn: str) -> str | None:
    match = _ARN.fullmatch(arn)
    if match is None:
        return None
    kind: Kind = "user" if match["kind"] == "user" else "role"
    return signs.origin(kind, arn.rpartition("/")[2])


def _kubernetes(target: Target) -> Iterator[Leftover]:
    from castai_stack import kubernetes_access  # noqa: PLC0415 - lazy

    refused: list[str] = []
    try:
        with kubernetes_access.connect(_kubeconfig(target), target.context) as client:
            yield from _objects(client, refused)
            yield from _mappings(client, Signs(target.cluster))
    except AuditError:
        raise
    except Exception as error:  # noqa: BLE001 - clients, logins and networks fail in their own ways
        refused.append(kubernetes_access.explain(error))
    if refused:
        raise AuditError(f"Kubernetes: {'; '.join(refused)}")


def _kubeconfig(target: Target) -> str:
    if target.kubeconfig != FROM_EKS:
        return target.kubeconfig
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - lazy

    from castai_stack.kubernetes_access import eks_kubeconfig  # noqa: PLC0415 - lazy

    try:
        found = clients(target.region)("eks").describe_cluster(name=target.cluster)["cluster"]
    except (ClientError, BotoCoreError) as error:
        raise AuditError(
            f"Kubernetes: the cluster's address could not be looked up: {error}; "
            "give --kubeconfig, or --without kubernetes"
        ) from None
    return eks_kubeconfig(
        target.cluster,
        target.region,
        found["endpoint"],
        found["certificateAuthority"]["data"],
    )


def _objects(client: "lightkube.Client", refused: list[str]) -> Iterator[Leftover]:
    """List what is there; `refused` tells of each kind that could not be listed."""
    from lightkube.core.exceptions import ApiError  # noqa: PLC0415 - lazy
    from lightkube.resources.apps_v1 import Deployment  # noqa: PLC0415 - lazy
    from lightkube.resources.coordination_v1 import Lease  # noqa: PLC0415 - lazy
    from lightkube.resources.core_v1 import (  # noqa: PLC0415 - lazy
        ConfigMap,
        Namespace,
        ResourceQuota,
        Secret,
        ServiceAccount,
    )
    from lightkube.resources.networking_v1 import NetworkPolicy  # noqa: PLC0415 - lazy
    from lightkube.resources.policy_v1 import PodDisruptionBudget  # noqa: PLC0415 - lazy
    from lightkube.resources.rbac_authorization_v1 import (  # noqa: PLC0415 - lazy
        ClusterRole,
        ClusterRoleBinding,
        Role,
        RoleBinding,
    )

    from castai_stack import (  # noqa: PLC0415 - lazy
        access_rbac,
        agent_manifests,
        aws_auth_steps,
        kubernetes_access,
        spot_rbac,
    )

    agent, system = agent_manifests.AGENT, "kube-system"
    own = {agent, access_rbac.NAME, spot_rbac.NAME}
    inside = (
        Deployment,
        ConfigMap,
        ResourceQuota,
        Secret,
        ServiceAccount,
        PodDisruptionBudget,
        NetworkPolicy,
        Role,
        RoleBinding,
        Lease,
    )

    def of_the_agent(name: str) -> bool:
        return name.startswith(agent) or name in agent_manifests.LEASES

    places: list[tuple[Any, str | None, Callable[[str], bool]]] = [
        *((kind, None, own.__contains__) for kind in (Namespace, ClusterRole, ClusterRoleBinding)),
        *((kind, system, {agent}.__contains__) for kind in (Role, RoleBinding)),
        (ConfigMap, system, {aws_auth_steps.COPY}.__contains__),
        *((kind, agent_manifests.NAMESPACE, of_the_agent) for kind in inside),
    ]
    for kind, namespace, wanted in places:
        where: dict[str, Any] = {"namespace": namespace} if namespace else {}
        try:
            listed = list(client.list(kind, **where))
        except ApiError as error:
            refused.append(kubernetes_access.explain(error))
            continue
        for found in listed:
            if wanted(found.metadata.name):
                yield _object(kind.__name__, found.metadata)


def _object(kind: str, metadata: Any) -> Leftover:
    from castai_stack import aws_auth_steps  # noqa: PLC0415 - lazy
    from castai_stack.agent_manifests import (  # noqa: PLC0415 - lazy
        MANAGED_BY_LABEL,
        PART_OF,
        PART_OF_LABEL,
    )

    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    labels = metadata.labels or {}
    ours = PART_OF in (labels.get(PART_OF_LABEL), labels.get(MANAGED_BY_LABEL))
    ours = ours or metadata.name == aws_auth_steps.COPY
    return Leftover("kubernetes", kind, name, OURS if ours else f"{SCRIPT} or its chart")


def _mappings(client: "lightkube.Client", signs: Signs) -> Iterator[Leftover]:
    from lightkube.core.exceptions import ApiError  # noqa: PLC0415 - lazy
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415 - lazy

    from castai_stack.aws_auth_steps import MARK  # noqa: PLC0415 - lazy
    from castai_stack.castai_api import NOT_FOUND  # noqa: PLC0415 - lazy

    try:
        found = client.get(ConfigMap, "aws-auth", namespace="kube-system")
    except ApiError as error:
        if error.status.code == NOT_FOUND:
            return
        raise
    for text in (found.data or {}).values():
        for match in _ARN.finditer(text):
            if (origin := _principal_origin(signs, match[0])) is not None:
                yield Leftover("kubernetes", "aws-auth entry", match[0], origin)
    annotations = (found.metadata.annotations if found.metadata else None) or {}
    if MARK in annotations:
        yield Leftover("kubernetes", "aws-auth annotation", MARK, OURS)


def _castai(target: Target) -> Iterator[Leftover]:
    from castai_stack.castai_api import CastaiApi, CastaiError  # noqa: PLC0415 - lazy

    if not (key := os.environ.get("CASTAI_API_KEY", "").strip()):
        raise AuditError(
            "CAST AI: there is no API key; set CASTAI_API_KEY (that of the stack is encrypted), "
            "or leave this question out with --without castai"
        )
    try:
        api = CastaiApi(os.environ.get("CASTAI_API_URL") or target.api_url, key)
        for cluster in api.list_clusters():
            same = (cluster.name, cluster.region, cluster.account_id) == (
                target.cluster,
                target.region,
                target.account_id,
            )
            if same and not cluster.archived:
                shown = f"{cluster.id} {cluster.name}, {cluster.status}"
                yield Leftover("castai", "cluster", shown, "a registration")
    except CastaiError as error:
        raise AuditError(str(error)) from None


if __name__ == "__main__":
    command_line.leave(main)
