"""Facts from AWS that the composition depends on, asked once and side by side."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pulumi
import pulumi_aws as aws

from castai_stack.access.modes import AuthenticationMode
from castai_stack.config.model import Cluster


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """The existing cluster, as EKS describes it."""

    arn: str
    status: str
    vpc_id: str
    endpoint: str
    certificate_authority: str
    authentication_mode: AuthenticationMode
    security_group_id: str = ""
    """The cluster's own security group; empty for clusters older than it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Principal that runs this program."""

    account_id: str
    arn: str


class AwsLookupError(pulumi.RunError):
    """AWS did not answer a question; the message names the question and the answer."""


_SHOWN = 500
_PREAMBLE = re.compile(r"^invoke of \S+ failed: (?:invocation of \S+ returned an error: )?")


async def ask(
    function: str, arguments: Mapping[str, Any], provider: aws.Provider
) -> Mapping[str, Any]:
    """Call a function of the provider; keys of its answer are camelCase. Raises its refusal.

    The SDK's own `..._output` functions leave a failed Output behind, which ends the program with
    a traceback even if the caller handles the failure. Its classes for the answers take as long to
    import as its resources.
    """
    options = pulumi.InvokeOptions(provider=provider)
    result = await pulumi.runtime.invoke_async(function, dict(arguments), options)
    if result is None:
        raise AwsLookupError("A lookup has no answer; its provider is not configured yet")
    return result


async def look_up(cluster: Cluster, provider: aws.Provider) -> tuple[Caller, ClusterFacts]:
    """Caller and cluster. Raises AwsLookupError with every refusal."""
    caller, cluster_answer = await asyncio.gather(
        ask("aws:index/getCallerIdentity:getCallerIdentity", {}, provider),
        ask("aws:eks/getCluster:getCluster", {"name": cluster.name}, provider),
        return_exceptions=True,
    )
    problems = [
        f"  {question}: {first_line(answer)}"
        for question, answer in (
            ("who am I (sts:GetCallerIdentity)", caller),
            (f"cluster {cluster.name} in {cluster.region} (eks:DescribeCluster)", cluster_answer),
        )
        if isinstance(answer, BaseException)
    ]
    if isinstance(caller, BaseException) or isinstance(cluster_answer, BaseException):
        raise AwsLookupError(
            "AWS does not answer, nothing was written:\n"
            + "\n".join(problems)
            + "\nLog in again, or correct cluster.accountId, cluster.name or cluster.region"
        )
    return Caller(caller["accountId"], caller["arn"]), _facts(cluster_answer)


_MODES: dict[str, AuthenticationMode] = {mode: mode for mode in get_args(AuthenticationMode)}


def _facts(answer: Mapping[str, Any]) -> ClusterFacts:
    if not answer.get("vpcConfig"):
        raise AwsLookupError(
            f"{answer['arn']} is a cluster of another provider, which the EKS Connector "
            "registered; this program connects clusters that run in EKS. Correct cluster.name"
        )
    access, authorities = answer.get("accessConfigs"), answer.get("certificateAuthorities")
    # Clusters older than access entries carry no mode and read aws-auth only.
    mode = access[0]["authenticationMode"] if access else ""
    return ClusterFacts(
        arn=answer["arn"],
        status=answer["status"],
        vpc_id=answer["vpcConfig"]["vpcId"],
        # A cluster in creation has neither of them yet.
        endpoint=answer.get("endpoint") or "",
        certificate_authority=authorities[0]["data"] if authorities else "",
        authentication_mode=_MODES.get(mode, "CONFIG_MAP"),
        security_group_id=answer["vpcConfig"].get("clusterSecurityGroupId") or "",
    )


def first_line(error: BaseException) -> str:
    """First line of an error, without the engine's preamble and traceback."""
    text = str(error).strip() or type(error).__name__
    return _PREAMBLE.sub("", text).splitlines()[0][:_SHOWN]
