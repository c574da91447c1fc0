"""What the program must know of AWS before it can compose anything, asked once and side by side."""

import asyncio
from dataclasses import dataclass
from typing import TypeVar, get_args

import pulumi
import pulumi_aws as aws

from castai_stack.settings import AuthenticationMode, Cluster


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


_SHOWN = 300

T = TypeVar("T")


async def answered(question: pulumi.Output[T]) -> T:
    """Wait for the answer of a lookup; its arguments are plain, so there is always one."""
    try:
        answer = await question.future()
    except Exception:
        # Whoever asked tells the refusal in a sentence. Left to the engine's own bookkeeping, it
        # would come up again at the end as a traceback, in the sentence's place.
        question._untrack()  # noqa: SLF001 - there is no public way to handle a failed invoke
        raise
    if answer is None:
        raise LookupFailed("A lookup has no answer; its provider is not configured yet")
    return answer


async def look_up(cluster: Cluster, provider: aws.Provider) -> tuple[Caller, ClusterFacts]:
    """Return the caller and the cluster. Raises LookupFailed, with every answer that was wrong."""
    options = pulumi.InvokeOutputOptions(provider=provider)
    caller, found = await asyncio.gather(
        answered(aws.get_caller_identity_output(opts=options)),
        answered(aws.eks.get_cluster_output(name=cluster.name, opts=options)),
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
        raise LookupFailed("AWS does not answer:\n" + "\n".join(problems))
    return Caller(caller.account_id, caller.arn), _facts(found)


_MODES: dict[str, AuthenticationMode] = {mode: mode for mode in get_args(AuthenticationMode)}


def _facts(found: aws.eks.GetClusterResult) -> ClusterFacts:
    access = found.access_configs
    # Clusters from before access entries carry no mode; they read aws-auth only.
    said = access[0].authentication_mode if access else ""
    return ClusterFacts(
        arn=found.arn,
        status=found.status,
        vpc_id=found.vpc_config.vpc_id,
        endpoint=found.endpoint,
        certificate_authority=found.certificate_authorities[0].data,
        authentication_mode=_MODES.get(said, "CONFIG_MAP"),
    )


def first_line(error: BaseException) -> str:
    """Return what an error says without the engine's preamble and traceback."""
    text = str(error).strip() or type(error).__name__
    return text.rsplit(" failed: ", 1)[-1].splitlines()[0][:_SHOWN]
