"""aws-auth as aws-iam-authenticator reads it, for tests that need its word."""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from sandbox.toolchain import Programs


@dataclass(frozen=True)
class Mapped:
    """What a principal gets, with the templates that the map holds."""

    username: str
    groups: tuple[str, ...]
    account: bool
    """Let in by `mapAccounts`, and by no entry."""


@dataclass(frozen=True)
class Reading:
    """What the authenticator takes from one aws-auth, in the order of the text."""

    roles: tuple[dict[str, Any], ...]
    users: tuple[dict[str, Any], ...]
    accounts: tuple[str, ...]
    error: str
    """Every problem that was logged, empty when there was none."""
    mapped: Mapping[str, Mapped]
    """By the ARNs that were asked for; an ARN without access has no key."""


class AwsAuthReader:
    """A running reader: `ParseMap` and the mapper of the `EKSConfigMap` backend."""

    def __init__(self, questions: IO[str], answers: IO[str]) -> None:
        self._questions = questions
        self._answers = answers

    def read(self, data: Mapping[str, str], arns: Iterable[str] = ()) -> Reading:
        """Read the data of an aws-auth, and map `arns`, which IAM or STS may show."""
        print(json.dumps({"data": dict(data), "arns": [*arns]}), file=self._questions, flush=True)
        answer = json.loads(self._answers.readline())
        return Reading(
            roles=tuple(answer["roles"]),
            users=tuple(answer["users"]),
            accounts=tuple(answer["accounts"]),
            error=answer["error"],
            mapped={
                arn: Mapped(one["username"], tuple(one["groups"] or ()), one["account"])
                for arn, one in answer["mapped"].items()
            },
        )


@contextmanager
def aws_auth_reader(programs: Programs) -> Iterator[AwsAuthReader]:
    """Start a reader, and end it."""
    command = [programs.authenticator, "map"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield AwsAuthReader(process.stdin, process.stdout)
