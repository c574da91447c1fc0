"""The caller's AWS permissions, asked of IAM's policy simulator before anything is written.

The simulator carries nothing out. A preview relies on an answer of the last hours in which nothing
was missing; an apply always asks.
Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pulumi
import pulumi_aws as aws

from castai_stack.config.model import StackConfig
from castai_stack.permissions.operator import Requirement, is_determined, request_context
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import Caller, ask, first_line

_LIST_KEYS = frozenset({"aws:TagKeys"})
"""Condition keys with several values; the simulator wants their type."""
_ALLOW_ALL = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The simulator's answer on one action and one resource."""

    action: str
    allowed: bool
    explicit: bool = False
    """A statement denies it; otherwise no statement allows it."""
    matched: bool = False
    """The statements that led to the decision are those of the caller's own policies."""
    missing_keys: frozenset[str] = frozenset()
    """Condition keys that the policies ask for and the simulated request does not carry."""


@dataclass(frozen=True, slots=True)
class Denial:
    """Actions of one requirement that the simulator denies."""

    requirement: Requirement
    actions: tuple[str, ...]
    context: frozenset[str]
    """Condition keys that the simulated request carried."""
    missing_keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reasons:
    """Reasons of denials, by action, that lie outside the caller's own policies."""

    missing_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    by_organization: frozenset[str] = frozenset()


Simulate = Callable[[Mapping[str, Any]], Awaitable[tuple[Verdict, ...]]]
"""Sends one question, as arguments of the data source, and returns the verdicts."""


_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """Time of the last answer in which a caller missed nothing, kept as the age of a file.

    The name of the file is a digest of caller and questions, so another question has no answer yet.
    """

    file: Path

    @classmethod
    def of(cls, caller: Caller, questions: Sequence[Mapping[str, Any]], folder: Path) -> Self:
        """Find the answer to these questions for every session of the caller."""
        principal = caller.arn.rsplit("/", 1)[0] if ":assumed-role/" in caller.arn else caller.arn
        text = json.dumps([principal, *questions])
        return cls(folder / hashlib.sha256(text.encode()).hexdigest())

    def hours(self) -> float | None:
        """Return its age; None without one."""
        try:
            return (time.time() - self.file.stat().st_mtime) / _SECONDS_PER_HOUR
        except OSError:
            return None

    def keep(self, *, complete: bool) -> None:
        """Note that nothing is missing now, or forget the note."""
        # Without a folder of its own, a preview asks as an apply does.
        with contextlib.suppress(OSError):
            if complete:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self.file.touch()
            else:
                self.file.unlink(missing_ok=True)


def answers_folder() -> Path:
    """Return the folder of last answers, in Pulumi's home."""
    home = os.environ.get("PULUMI_HOME")
    return (Path(home) if home else Path("~/.pulumi").expanduser()) / "castai-eks-permissions"


async def permission_findings(
    caller: Caller,
    needed: Sequence[Requirement],
    settings: StackConfig,
    provider: aws.Provider,
    *,
    preview: bool,
) -> Findings:
    """Ask which of the needed actions the caller's policies deny.

    A question without an answer leaves its own part unchecked and no other.
    """
    questions = [simulation_arguments(requirement, settings) for requirement in needed]
    last = LastAnswer.of(caller, questions, answers_folder())
    hours = last.hours() if preview else None
    if hours is not None and 0 <= hours < settings.preflight.permission_answer_hours:
        line = f"AWS permissions were complete {hours:.1f} hours ago; an update asks again"
        pulumi.log.info(line, ephemeral=True)
        return Findings()
    findings = await _asked_now(caller, needed, settings, provider)
    last.keep(complete=findings == Findings())
    return findings


async def _asked_now(
    caller: Caller, needed: Sequence[Requirement], settings: StackConfig, provider: aws.Provider
) -> Findings:
    if caller.arn.endswith(":root"):
        line = "AWS permissions were not checked: the simulator does not know the root user"
        return Findings(inconclusive=(line,))
    try:
        source = await _policy_source(caller, provider)
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        return Findings(inconclusive=(f"AWS permissions were not checked: {first_line(error)}",))

    async def simulate(arguments: Mapping[str, Any]) -> tuple[Verdict, ...]:
        answer = await ask(
            "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation",
            {"policySourceArn": source, **arguments},
            provider,
        )
        return tuple(map(_verdict, answer["results"]))

    return await simulated_findings(needed, settings, simulate)


async def _policy_source(caller: Caller, provider: aws.Provider) -> str:
    """Return the ARN of the user or role whose policies count; a session's own ARN is not one."""
    session = await ask(
        "aws:iam/getSessionContext:getSessionContext",
        {"arn": caller.arn},
        provider,
    )
    return session.get("issuerArn") or caller.arn


def _verdict(result: Mapping[str, Any]) -> Verdict:
    return Verdict(
        action=result["actionName"],
        allowed=result["allowed"],
        explicit=result["decision"] == "explicitDeny",
        matched=bool(result.get("matchedStatements")),
        missing_keys=frozenset(result.get("missingContextKeys") or ()),
    )


async def simulated_findings(
    needed: Sequence[Requirement], settings: StackConfig, simulate: Simulate
) -> Findings:
    """Ask one question for each requirement, then for the reasons of what is denied."""
    answers = await asyncio.gather(
        *(simulate(simulation_arguments(requirement, settings)) for requirement in needed),
        return_exceptions=True,
    )
    unanswered: dict[str, list[str]] = defaultdict(list)
    denials = []
    for requirement, answer in zip(needed, answers, strict=True):
        if isinstance(answer, BaseException):
            unanswered[first_line(answer)].append(requirement.part)
        elif refused := [verdict for verdict in answer if not verdict.allowed]:
            denials.append(
                Denial(
                    requirement,
                    tuple(sorted({verdict.action for verdict in refused})),
                    frozenset(request_context(requirement, settings)),
                    frozenset().union(*(verdict.missing_keys for verdict in refused)),
                )
            )
    reasons = await _reasons(denials, settings, simulate) if denials else Reasons()
    unchecked = tuple(
        f"AWS permissions were not checked for {', '.join(dict.fromkeys(parts))}: {error}"
        for error, parts in unanswered.items()
    )
    return Findings(inconclusive=unchecked) + judged(denials, reasons)


def simulation_arguments(requirement: Requirement, settings: StackConfig) -> dict[str, Any]:
    """Return the question of a requirement."""
    context = request_context(requirement, settings)
    return question(requirement.actions, requirement.resources, context)


def question(
    actions: Sequence[str], resources: Sequence[str], context: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Return the arguments of one question.

    The data source takes whole ARNs only; without any, the simulator asks about `*`.
    Source: hashicorp/terraform-provider-aws, principal_policy_simulation_data_source.go
    """
    named = [example(resource) for resource in resources if resource != "*"]
    return {
        "actionNames": list(actions),
        **({"resourceArns": named} if named else {}),
        "contexts": [
            {
                "key": key,
                "type": "stringList" if key in _LIST_KEYS else "string",
                "values": list(values),
            }
            for key, values in context.items()
        ],
    }


def example(pattern: str) -> str:
    """Return a resource that fits a pattern; the simulator takes no patterns."""
    return pattern.replace("*", "00000000").replace("?", "0")


async def _reasons(denials: Sequence[Denial], settings: StackConfig, simulate: Simulate) -> Reasons:
    """Ask about the denied actions twice more.

    With resources named, the API reports missing condition keys at a place that the data source
    does not read; without, it reports them where it does. And what stays denied although the
    caller's policies and boundary are replaced by one that allows everything is denied by an
    organization, unless a statement of the caller's own denies it.
    """
    actions = sorted({action for denial in denials for action in denial.actions})
    common = request_context(Requirement("", tuple(actions), ()), settings)
    plain, unlimited = await asyncio.gather(
        simulate(question(actions, (), common)),
        simulate(
            question(actions, (), common)
            | {
                "additionalPoliciesJsons": [_ALLOW_ALL],
                "permissionsBoundaryPoliciesJsons": [_ALLOW_ALL],
            }
        ),
        return_exceptions=True,
    )
    return Reasons(
        missing_keys={}
        if isinstance(plain, BaseException)
        else {verdict.action: verdict.missing_keys for verdict in plain},
        by_organization=frozenset()
        if isinstance(unlimited, BaseException)
        else frozenset(
            verdict.action
            for verdict in unlimited
            if not verdict.allowed and not (verdict.explicit and verdict.matched)
        ),
    )


def judged(denials: Iterable[Denial], reasons: Reasons) -> Findings:
    """Judge denials: certain ones are missing permissions, the others only warn."""
    missing: list[str] = []
    doubtful: list[str] = []
    for denial in denials:
        groups: dict[tuple[bool, str], list[str]] = defaultdict(list)
        for action in denial.actions:
            groups[_reason(denial, action, reasons)].append(action)
        for (certain, reason), actions in groups.items():
            (missing if certain else doubtful).append(_line(denial.requirement, actions, reason))
    return Findings(missing=tuple(missing), inconclusive=tuple(doubtful))


def _reason(denial: Denial, action: str, reasons: Reasons) -> tuple[bool, str]:
    """Return whether AWS will deny an action for certain, and a remark on why."""
    if action in reasons.by_organization:
        return False, "a policy of the organization may deny it"
    keys = denial.missing_keys | reasons.missing_keys.get(action, frozenset())
    carried = {key.lower() for key in denial.context}
    absent = sorted(key for key in keys if key.lower() not in carried)
    unknown = [key for key in absent if not is_determined(key)]
    if unknown:
        return False, f"the simulator denies it without {', '.join(unknown)}, which only AWS knows"
    if absent:
        return True, f"the caller's policies ask for {', '.join(absent)}; these settings give none"
    return True, ""


def _line(requirement: Requirement, actions: Iterable[str], reason: str) -> str:
    line = f"AWS, {requirement.part}: {', '.join(actions)} on {', '.join(requirement.resources)}"
    return f"{line} ({reason})" if reason else line
