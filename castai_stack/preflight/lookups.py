"""What the program must know of AWS before it can compose anything, asked once and side by side."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

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


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs this program."""

    account_id: str
    arn: str


class LookupFailed(pulumi.RunError):
    """AWS did not answer a question; the message names the question and the answer."""


_SHOWN = 500
_PREAMBLE = re.compile(r"^invoke of \S+ failed: (?:invocation of \S+ returned an error: )?")

T = TypeVar("T")


async def ask(
    function: str, arguments: Mapping[str, Any], answer: type[T], provider: aws.Provider
) -> T:
    """Call a function of the provider; what it refuses is raised here, and nowhere else.

    The SDK's own `..._output` functions leave a failed Output behind, which ends the program with
    a traceback whatever its caller made of the failure.
    """
    options = pulumi.InvokeOptions(provider=provider)
    found = await pulumi.runtime.invoke_async(function, dict(arguments), options, answer)
    if found is None:
        raise LookupFailed("A lookup has no answer; its provider is not configured yet")
    return found


async def look_up(cluster: Cluster, provider: aws.Provider) -> tuple[Caller, ClusterFacts]:
    """Return the caller and the cluster. Raises LookupFailed, with every answer that was wrong."""
    caller, found = await asyncio.gather(
        ask(
            "aws:index/getCallerIdentity:getCallerIdentity",
            {},
            aws.GetCallerIdentityResult,
            provider,
        ),
        ask(
            "aws:eks/getCluster:getCluster",
            {"name": cluster.name},
            aws.eks.GetClusterResult,
            provider,
        ),
        return_exceptions=True,
    )
    problems = [
        f"  {question}: {first_line(answer)}"
        for question, answer in (
            ("who am I (sts:GetCallerIdentity)", caller),
            (f"cluster {cluster.name} in {cluster.region} (eks:DescribeCluster)", found),
        )
        if isinstance(answer, BaseException)
    ]
    if isinstance(caller, BaseException) or isinstance(found, BaseException):
        raise LookupFailed(
            "AWS does not answer, nothing was written:\n"
            + "\n".join(problems)
            + "\nLog in again, or correct cluster.accountId, cluster.name or cluster.region"
        )
    return Caller(caller.account_id, caller.arn), _facts(found)


_MODES: dict[str, AuthenticationMode] = {mode: mode for mode in get_args(AuthenticationMode)}


def _facts(found: aws.eks.GetClusterResult) -> ClusterFacts:
    access, authorities = found.access_configs, found.certificate_authorities
    # Clusters from before access entries carry no mode; they read aws-auth only.
    said = access[0].authentication_mode if access else ""
    return ClusterFacts(
        arn=found.arn,
        status=found.status,
        vpc_id=found.vpc_config.vpc_id,
        # A cluster that is being made has neither of them yet.
        endpoint=found.endpoint or "",
        certificate_authority=authorities[0].data if authorities else "",
        authentication_mode=_MODES.get(said, "CONFIG_MAP"),
    )


def first_line(error: BaseException) -> str:
    """Return what an error says without the engine's preamble and traceback."""
    text = str(error).strip() or type(error).__name__
    return _PREAMBLE.sub("", text).splitlines()[0][:_SHOWN]
