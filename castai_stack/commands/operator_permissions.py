"""Permissions of the operator of a stack: `python -m castai_stack operator-permissions`."""

import argparse
import json
from collections.abc import Sequence

import yaml

from castai_stack.access.modes import mappings
from castai_stack.commands import command_line, target
from castai_stack.permissions.operator import policy, requirements
from castai_stack.permissions.operator_kubernetes import cluster_role, kubernetes_requirements

NAME = "operator-permissions"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = command_line.parser(
        NAME,
        "Print the IAM policy, or the Kubernetes cluster role, that the operator of a stack needs. "
        "Asks no cloud and reads no secret.",
        ["Pulumi.prod.yaml", "Pulumi.prod.yaml --for preview --kubernetes"],
    )
    target.add_stack_files(parser, "Pulumi stack file, such as Pulumi.prod.yaml")
    target.add_format(parser, ("json", "yaml"), None)
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=("apply", "preview"),
        default="apply",
        help="what the operator does; a preview needs no write (default: %(default)s)",
    )
    parser.add_argument(
        "--kubernetes",
        action="store_true",
        help="print the Kubernetes cluster role instead of the IAM policy",
    )

    def run(options: argparse.Namespace) -> int:
        (path,) = target.stack_files(options, parser, least=1)
        settings = target.read_stack_file(path, unused={"agent"})
        apply = options.purpose == "apply"
        mapped_by = mappings(settings.access.mode, settings.cluster.authentication_mode)
        if options.kubernetes:
            needed = kubernetes_requirements(settings, aws_auth="aws-auth" in mapped_by)
            document = cluster_role(needed, apply=apply)
        else:
            entries = "access-entries" in mapped_by
            document = policy(requirements(settings, access_entries=entries), apply=apply)
        form = options.format or ("yaml" if options.kubernetes else "json")
        text = (
            yaml.safe_dump(document, sort_keys=False)
            if form == "yaml"
            else json.dumps(document, indent=2)
        )
        print(text.rstrip())  # noqa: T201 - a command
        return command_line.OK

    return command_line.execute(NAME, parser, run, arguments)
