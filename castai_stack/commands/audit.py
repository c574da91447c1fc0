"""Leftovers of connecting a cluster: `python -m castai_stack audit`.

Reads AWS, Kubernetes and CAST AI, and writes nothing.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from castai_stack.commands import command_line, output, target
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.leftovers import Answer, Leftover
from castai_stack.commands.target import Target
from castai_stack.kube.kubeconfig import FROM_EKS

Asked = tuple[str, Target, Answer]
"""A stack's name, which is empty for a single one, its cluster and the answer about it."""
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
        names = [target.stack_name(path) for path in paths] if len(paths) > 1 else [""]
        asked = [(name, one, audit(one, places)) for name, one in zip(names, about, strict=True)]
        (_print_json if options.format == "json" else _print_table)(places, asked)
        if any(answer.problems for *_, answer in asked):
            return command_line.FAILED
        left = any(answer.leftovers for *_, answer in asked)
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


def _print_json(places: Sequence[str], asked: Sequence[Asked]) -> None:
    documents = [
        {
            **({"stack": name} if name else {}),
            "cluster": about.cluster,
            "region": about.region,
            "accountId": about.account_id,
            "asked": places,
            "leftovers": [asdict(leftover) for leftover in sorted(answer.leftovers)],
            "problems": answer.problems,
        }
        for name, about, answer in asked
    ]
    output.line(json.dumps(documents if len(asked) > 1 else documents[0], indent=2))


def _print_table(places: Sequence[str], asked: Sequence[Asked]) -> None:
    many = len(asked) > 1
    rows = [
        (*([name] if many else []), one.place, one.kind, one.name, one.origin)
        for name, _, answer in asked
        for one in sorted(answer.leftovers)
    ]
    if rows:
        output.table(("STACK", "PLACE", "KIND", "NAME", "MADE BY")[not many :], rows)
    for name, about, answer in asked:
        lead = f"{NAME}: {name}: " if many else f"{NAME}: "
        for problem in answer.problems:
            output.line(f"{lead}{problem}", "red", error=True)
        number = len(answer.leftovers)
        cluster = f"cluster {about.cluster} ({about.region}, account {about.account_id})"
        count = f"{number} leftovers" if number != 1 else "1 leftover"
        doubt = ", and not everything could be asked" if answer.problems else ""
        output.line(
            f"{lead}{count} of {cluster}{doubt}; asked: {', '.join(places)}",
            "yellow" if number or doubt else "green",
        )
