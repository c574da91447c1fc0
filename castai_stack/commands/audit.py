"""What connecting a cluster has left behind: `python -m castai_stack audit`.

Reads AWS, Kubernetes and CAST AI, and writes nothing. Exit status 0: nothing is left; 1: the
table lists what is; 2: something could not be asked, so the table may be short.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

from castai_stack.commands import target as commands_target
from castai_stack.commands.audit_aws import AwsAudit
from castai_stack.commands.audit_kubernetes import audit_kubernetes
from castai_stack.commands.leftovers import AuditError, Leftover
from castai_stack.commands.target import Target, TargetError
from castai_stack.config.validation import SettingsError

PLACES = ("aws", "kubernetes", "castai")
CLEAN, LEFTOVERS, FAILED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack audit",
        description="List what connecting an EKS cluster to CAST AI has left behind.",
        epilog="AWS credentials and CASTAI_API_KEY come from the environment. "
        "Exit status: 0 nothing is left, 1 something is, 2 something could not be asked.",
    )
    commands_target.add_arguments(parser)
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
        target = commands_target.from_arguments(given)
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
        "kubernetes": lambda target: [lambda: audit_kubernetes(target)],
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


def _castai(target: Target) -> Iterator[Leftover]:
    from castai_stack.castai.client import CastaiApi  # noqa: PLC0415 - lazy
    from castai_stack.castai.model import CastaiError  # noqa: PLC0415 - lazy

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
