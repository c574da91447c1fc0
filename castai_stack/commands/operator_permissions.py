"""Command: print the permissions that the operator of a stack needs."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from castai_stack.config import stack_file
from castai_stack.config.validation import SettingsError
from castai_stack.permissions.operator import policy, requirements
from castai_stack.permissions.operator_kubernetes import cluster_role, kubernetes_requirements


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the operator of a stack file needs, as documents to apply."""
    parser = argparse.ArgumentParser(
        prog="python -m castai_stack operator-permissions", description=main.__doc__
    )
    parser.add_argument("stack_file", type=Path, help="Pulumi stack file, such as Pulumi.prod.yaml")
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
    options = parser.parse_args(arguments)
    try:
        settings = stack_file.read(options.stack_file)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 2
    apply = options.purpose == "apply"
    mapped_by = settings.access.mapped_by(settings.cluster.authentication_mode)
    if options.kubernetes:
        needed = kubernetes_requirements(settings, aws_auth="aws-auth" in mapped_by)
        text = yaml.safe_dump(cluster_role(needed, apply=apply), sort_keys=False)
    else:
        entries = "access-entries" in mapped_by
        text = json.dumps(
            policy(requirements(settings, access_entries=entries), apply=apply), indent=2
        )
    print(text.rstrip())  # noqa: T201 - a command
    return 0
