"""Leftovers of connecting a cluster: `python -m castai_stack audit`.

Reads AWS, Kubernetes and CAST AI, and writes nothing.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from castai_stack.commands import command_line, output, target
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.leftovers import Answer, Leftover
from castai_stack.commands.target import Target
from castai_stack.kube.kubeconfig import FROM_EKS

PLACES = ("aws", "kubernetes", "castai")
NAME = "audit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = command_line.parser(
        NAME,
        "List what connecting an EKS cluster to CAST AI has left behind. AWS credentials and "
        "CASTAI_API_KEY come from the environment.",
        [
            "Pulumi.prod.yaml",
            "Pulumi.*.yaml",
            "Pulumi.prod.yaml --without castai --format json",
            "--cluster prod --region eu-central-1 --account-id 012345678901",
        ],
    )
    target.add_stack_files(parser, "Pulumi stack files, such as Pulumi.prod.yaml", most=target.MANY)
    target.add_cluster(parser)
    target.add_kubernetes(parser, FROM_EKS)
    target.add_format(parser, ("table", "json"), "table")
    parser.add_argument(
        "--without",
        action="append",
        choices=PLACES,
        default=[],
        help="do not ask there; repeatable",
    )

    def run(options: argparse.Namespace) -> int:
        places = [place for place in PLACES if place not in options.without]
        if not places:
            parser.error("--without: every place is left out, nothing would be asked")
        paths = target.stack_files(options, parser, most=target.MANY)
        if len(paths) > 1 and (options.cluster or options.region or options.account_id):
            parser.error("--cluster, --region and --account-id: allowed with one stack file only")
        # Every file is read before anything is asked.
        about = [target.from_arguments(options, [path]) for path in paths]
        about = about or [target.from_arguments(options, ())]
        names = [target.stack_name(path) for path in paths] or [""]
        answers = [audit(one, places) for one in about]
        output.stack_reports(
            NAME,
            ("PLACE", "KIND", "NAME", "MADE BY"),
            [_report(*entry, places) for entry in zip(names, about, answers, strict=True)],
            as_json=options.format == "json",
        )
        if any(answer.problems for answer in answers):
            return command_line.FAILED
        left = any(answer.leftovers for answer in answers)
        return command_line.NEGATIVE if left else command_line.OK

    return command_line.execute(NAME, parser, run, arguments)


def audit(about: Target, places: Iterable[str] = PLACES) -> Answer:
    """Ask the places one after the other; a problem in one hides no answer of another."""
    answer = Answer()
    for place in places:
        part = _ASK[place](about)
        answer.leftovers |= part.leftovers
        answer.problems += part.problems
    return answer


def _aws(about: Target) -> Answer:
    from castai_stack.commands import audit_aws  # noqa: PLC0415 - a place left out loads nothing

    return audit_aws.leftovers(about)


def _kubernetes(about: Target) -> Answer:
    from castai_stack.commands import audit_kubernetes  # noqa: PLC0415

    return audit_kubernetes.leftovers(about)


def _castai(about: Target) -> Answer:
    answer = Answer()
    answer.ask(lambda: _registrations(about))
    return answer


def _registrations(about: Target) -> list[Leftover]:
    from castai_stack.castai.client import CastaiApi  # noqa: PLC0415
    from castai_stack.commands import castai_account  # noqa: PLC0415

    key = os.environ.get("CASTAI_API_KEY", "").strip()
    if not key:
        raise CommandError(
            "CAST AI: there is no API key; set CASTAI_API_KEY (the stack's own is encrypted), "
            "or leave this question out with --without castai"
        )
    with castai_account.asking():
        api = CastaiApi(os.environ.get("CASTAI_API_URL") or about.api_url, key)
    return [
        Leftover(
            "castai", "cluster", f"{cluster.id} {cluster.name}, {cluster.status}", "a registration"
        )
        for cluster in castai_account.registered(api, about)
    ]


_ASK: dict[str, Callable[[Target], Answer]] = {
    "aws": _aws,
    "kubernetes": _kubernetes,
    "castai": _castai,
}


def _report(stack: str, about: Target, answer: Answer, places: Sequence[str]) -> output.StackReport:
    leftovers = sorted(answer.leftovers)
    count = f"{len(leftovers)} leftovers" if len(leftovers) != 1 else "1 leftover"
    doubt = ", and not everything could be asked" if answer.problems else ""
    cluster = f"cluster {about.cluster} ({about.region}, account {about.account_id})"
    return output.StackReport(
        stack,
        [(one.place, one.kind, one.name, one.origin) for one in leftovers],
        {
            "cluster": about.cluster,
            "region": about.region,
            "accountId": about.account_id,
            "asked": places,
            "leftovers": [asdict(one) for one in leftovers],
        },
        answer.problems,
        f"{count} of {cluster}{doubt}; asked: {', '.join(places)}",
        "yellow" if leftovers or doubt else "green",
    )
